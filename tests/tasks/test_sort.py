"""Priority sort, against NumPy's own sort."""

import numpy as np
import pytest
import torch

from sam.errors import ConfigError
from sam.tasks import PrioritySort


def test_channels_of_two_vectors_of_one_bit(generator: torch.Generator) -> None:
    task = PrioritySort(min_items=1, max_items=2, bits=1, keep=1.0)
    batch = task.sample(1, generator=generator, level=2)
    (a, p, _), (b, q, _) = batch.inputs[:2, 0].tolist()
    assert batch.inputs[:, 0].tolist() == [[a, p, 0], [b, q, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]]
    assert batch.targets[3:, 0].tolist() == ([[a], [b]] if p > q else [[b], [a]])
    assert batch.mask[:, 0].tolist() == [False, False, False, True, True]


def test_answer_is_the_highest_in_descending_order(generator: torch.Generator) -> None:
    batch = PrioritySort().sample(100, generator=generator)
    assert batch.inputs.shape == (37, 100, 10)
    assert batch.mask.sum(0).tolist() == [16] * 100
    for sequence in range(100):
        shown = batch.inputs[:20, sequence].numpy()
        order = np.argsort(-shown[:, 8], kind="stable")[:16]
        np.testing.assert_array_equal(batch.targets[21:, sequence].numpy(), shown[order, :8])


def test_priorities_fill_the_interval(generator: torch.Generator) -> None:
    priority = PrioritySort().sample(2000, generator=generator).inputs[:20, :, 8]
    assert -1.0 <= float(priority.min()) < -0.99
    assert 0.99 < float(priority.max()) <= 1.0
    assert abs(float(priority.mean())) < 0.02


@pytest.mark.parametrize(("items", "answered"), [(1, 1), (4, 4), (5, 4), (10, 8), (20, 16)])
def test_steps(items: int, answered: int, generator: torch.Generator) -> None:
    batch = PrioritySort().sample(2, generator=generator, level=items)
    assert batch.inputs.shape[0] == items + 1 + answered
    assert batch.mask.sum(0).tolist() == [answered] * 2
    assert batch.slices["items"].tolist() == [items] * 2


def test_answer_length_is_not_raised_by_rounding() -> None:
    assert PrioritySort(keep=0.55).answer_length(100) == 55
    assert PrioritySort(keep=0.1).answer_length(3) == 1


def test_range_for_a_curriculum() -> None:
    assert PrioritySort().levels == (20, 20)
    assert PrioritySort().start_level == 20
    task = PrioritySort(min_items=1)
    assert (task.levels, task.start_level) == ((1, 20), 4)


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"keep": 0.0}, "keep"),
        ({"keep": 1.5}, "keep"),
        ({"keep": float("nan")}, "keep"),
        ({"keep": "most"}, "keep"),
        ({"max_items": 10}, "min_items"),
        ({"bits": -1}, "bits"),
    ],
)
def test_bad_settings_are_named(settings: dict[str, object], field: str) -> None:
    with pytest.raises(ConfigError, match=f"^{field}: expected .* got"):
        PrioritySort(**settings)
