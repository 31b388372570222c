"""The needle: steps by hand, parts that make up the whole, and how much of it is drawn."""

import pytest
import torch

from sam.errors import ConfigError
from sam.tasks import Batch, Needle


def held_out(task: Needle, distance: int, count: int = 2) -> list[Batch]:
    generator = torch.Generator().manual_seed(3)
    return list(task.evaluation(2, generator=generator, levels=(distance,), count=count))


def test_steps_of_a_distance_of_two(generator: torch.Generator) -> None:
    batch = Needle(bits=2, lead=0).sample(1, generator=generator, level=2)
    fact = batch.targets[-1, 0].tolist()
    noise = batch.inputs[1:3, 0, :2].tolist()
    assert batch.inputs[:, 0].tolist() == [
        [*fact, 1, 0],
        [*noise[0], 0, 0],
        [*noise[1], 0, 0],
        [0, 0, 0, 1],
        [0, 0, 0, 0],
    ]
    assert batch.targets[:, 0].tolist() == [[0, 0]] * 4 + [fact]
    assert batch.mask[:, 0].tolist() == [False] * 4 + [True]
    assert batch.starts is None
    assert batch.slices["distance"].tolist() == [2]


def test_the_fact_comes_after_at_most_lead_steps(generator: torch.Generator) -> None:
    task = Needle(lead=3)
    seen = set()
    for _ in range(60):
        batch = task.sample(4, generator=generator, level=5)
        marks = batch.inputs[:, :, 8]
        assert torch.equal(marks.sum(0), torch.ones(4))
        (before,) = marks.argmax(0).unique().tolist()
        assert len(batch.inputs) == before + 5 + 3
        assert torch.equal(batch.inputs[before, :, :8], batch.targets[-1])
        seen.add(before)
    assert seen == {0, 1, 2, 3}


def test_noise_is_as_random_as_the_fact(generator: torch.Generator) -> None:
    batch = Needle(lead=0).sample(50, generator=generator, level=200)
    noise = batch.inputs[1:201, :, :8]
    assert abs(float(noise.mean()) - 0.5) < 0.01
    assert not batch.inputs[1:201, :, 8:].any()


@pytest.mark.parametrize("part", [1, 7, 31, 32, 33])
def test_parts_make_up_one_sequence(part: int) -> None:
    parts = held_out(Needle(part=part, lead=0), 29)  # 32 steps
    assert [len(one.inputs) for one in parts] == [part] * (32 // part) + [32 % part] * (
        32 % part > 0
    )
    whole = [torch.cat([getattr(one, name) for one in parts]) for name in Batch._fields[:3]]
    assert whole[0][0, :, 8].tolist() == [1, 1]
    assert whole[0][:, :, 9].nonzero().tolist() == [[30, 0], [30, 1]]
    assert whole[2].nonzero().tolist() == [[31, 0], [31, 1]]
    assert torch.equal(whole[1][31], whole[0][0, :, :8])
    if part < 32:
        starts = torch.cat([one.starts for one in parts if one.starts is not None])
        assert starts.nonzero().tolist() == [[0, 0], [0, 1]]
    else:
        assert parts[0].starts is None


def test_a_million_steps_are_drawn_part_by_part() -> None:
    parts = Needle().evaluation(
        1, generator=torch.Generator().manual_seed(0), levels=(10**6,), count=1
    )
    assert next(iter(parts)).inputs.shape == (1000, 1, 10)  # the rest is not drawn
    (last,) = held_out(Needle(part=5000), 4900, count=1)
    assert 4903 <= len(last.inputs) <= 4911


def test_bad_settings_are_named() -> None:
    with pytest.raises(ConfigError, match="part: expected a whole number >= 1, got 0"):
        Needle(part=0)
    with pytest.raises(ConfigError, match="lead: expected a whole number >= 0, got -1"):
        Needle(lead=-1)
    with pytest.raises(ConfigError, match="min_distance: expected at most max_distance=3, got 4"):
        Needle(min_distance=4, max_distance=3)
