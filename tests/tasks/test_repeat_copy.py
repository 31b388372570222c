"""Repeat copy: channels by hand, the number of repeats as it is shown, and evaluations."""

import pytest
import torch

from sam.errors import ConfigError
from sam.tasks import RepeatCopy


def test_channels_of_two_vectors_three_times(generator: torch.Generator) -> None:
    task = RepeatCopy(bits=2, min_repeats=3, max_repeats=3)
    batch = task.sample(1, generator=generator, level=2)
    (a, b), (c, d) = batch.inputs[:2, 0, :2].tolist()
    silent = [[0, 0, 0, 0]] * 7
    shown = [[a, b, 0, 0], [c, d, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]  # one number only: shown as 0
    assert batch.inputs[:, 0].tolist() == shown + silent
    answer = [[a, b, 0], [c, d, 0]] * 3 + [[0, 0, 1]]
    assert batch.targets[4:, 0].tolist() == answer
    assert not batch.targets[:4].any()
    assert batch.mask[:, 0].tolist() == [False] * 4 + [True] * 7
    assert {name: values.tolist() for name, values in batch.slices.items()} == {
        "length": [2],
        "repeats": [3],
    }


def test_repeats_are_shown_with_mean_0_and_variance_1() -> None:
    task = RepeatCopy()
    shown = torch.tensor([task.shown(n) for n in range(1, 11)], dtype=torch.float64)
    assert abs(float(shown.mean())) < 1e-12
    assert abs(float(shown.var(correction=0)) - 1) < 1e-12
    assert abs(task.shown(10) - 4.5 / 2.8723) < 1e-4


def test_length_and_repeats_are_drawn_from_their_ranges(generator: torch.Generator) -> None:
    task = RepeatCopy(max_length=3, min_repeats=2, max_repeats=4)
    seen = set()
    for _ in range(200):
        batch = task.sample(2, generator=generator)
        (length,), (repeats,) = (values.unique().tolist() for values in batch.slices.values())
        assert batch.inputs.shape == (length + 2 + length * repeats + 1, 2, 10)
        seen.add((length, repeats))
    assert seen == {(length, repeats) for length in (1, 2, 3) for repeats in (2, 3, 4)}


def test_evaluation_takes_other_repeats(generator: torch.Generator) -> None:
    task = RepeatCopy(eval_repeats=20)
    (batch,) = task.evaluation(4, generator=generator, levels=(2,), count=4)
    assert batch.slices["repeats"].tolist() == [20] * 4
    assert float(batch.inputs[3, 0, 9]) == pytest.approx(task.shown(20))
    assert int(task.sample(1, generator=generator).slices["repeats"]) <= 10


def test_bad_settings_are_named() -> None:
    with pytest.raises(ConfigError, match="min_repeats: expected at most max_repeats=2, got 3"):
        RepeatCopy(min_repeats=3, max_repeats=2)
    for name in ("min_repeats", "max_repeats", "eval_repeats"):
        with pytest.raises(ConfigError, match=f"{name}: expected a whole number >= 1, got 0"):
            RepeatCopy(**{name: 0})
