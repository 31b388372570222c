"""Both forms of associative recall: rows by hand, and the right answer found in the inputs."""

import pytest
import torch
from torch import Tensor

from sam.errors import ConfigError
from sam.tasks import KeyValueRecall, NextItemRecall


def records(inputs: Tensor, count: int, rows: int, bits: int) -> list[list[list[float]]]:
    """Cuts the remembered part of one sequence [T, I] into records without their delimiters."""
    cut = inputs[: count * (1 + rows)].view(count, 1 + rows, -1)
    return cut[:, 1:, :bits].tolist()


def test_rows_of_two_items_of_one_vector(generator: torch.Generator) -> None:
    task = NextItemRecall(item_length=1, bits=2, max_items=3)
    batch = task.sample(1, generator=generator, level=2)
    first, second = (batch.inputs[row, 0, :2].tolist() for row in (1, 3))
    assert batch.inputs[:, 0].tolist() == [
        [0, 0, 1, 0],
        [*first, 0, 0],
        [0, 0, 1, 0],
        [*second, 0, 0],
        [0, 0, 0, 1],
        [*first, 0, 0],  # of two items only the first has a next one
        [0, 0, 0, 1],
        [0, 0, 0, 0],
    ]
    assert batch.targets[:, 0].tolist() == [[0, 0]] * 7 + [second]
    assert batch.mask[:, 0].tolist() == [False] * 7 + [True]


@pytest.mark.parametrize("items", [2, 5, 20])
def test_answer_is_the_item_after_the_query(items: int, generator: torch.Generator) -> None:
    batch = NextItemRecall().sample(50, generator=generator, level=items)
    assert batch.inputs.shape == (4 * items + 8, 50, 8)
    queried = set()
    for sequence in range(50):
        shown = records(batch.inputs[:, sequence], items, 3, 6)
        assert len({str(item) for item in shown}) == items
        query = batch.inputs[4 * items + 1 : 4 * items + 4, sequence, :6].tolist()
        place = shown.index(query)
        queried.add(place)
        assert batch.targets[-3:, sequence].tolist() == shown[place + 1]
    assert items - 1 not in queried
    if items <= 5:
        assert queried == set(range(items - 1))


def test_rows_of_one_pair_of_one_vector(generator: torch.Generator) -> None:
    task = KeyValueRecall(item_length=1, bits=2, min_pairs=1, max_pairs=1)
    batch = task.sample(1, generator=generator)
    key, value = batch.inputs[1, 0, :2].tolist(), batch.inputs[2, 0, :2].tolist()
    assert batch.inputs[:, 0].tolist() == [
        [0, 0, 1, 0],
        [*key, 0, 0],
        [*value, 0, 0],
        [0, 0, 0, 1],
        [*key, 0, 0],
        [0, 0, 0, 1],
        [0, 0, 0, 0],
    ]
    assert batch.targets[:, 0].tolist() == [[0, 0]] * 6 + [value]


@pytest.mark.parametrize("pairs", [1, 4, 30])
def test_answer_is_the_value_of_the_key(pairs: int, generator: torch.Generator) -> None:
    batch = KeyValueRecall().sample(50, generator=generator, level=pairs)
    assert batch.inputs.shape == (7 * pairs + 8, 50, 8)
    queried = set()
    for sequence in range(50):
        shown = records(batch.inputs[:, sequence], pairs, 6, 6)
        keys, values = [pair[:3] for pair in shown], [pair[3:] for pair in shown]
        assert len({str(key) for key in keys}) == pairs
        query = batch.inputs[7 * pairs + 1 : 7 * pairs + 4, sequence, :6].tolist()
        place = keys.index(query)
        queried.add(place)
        assert batch.targets[-3:, sequence].tolist() == values[place]
    assert len(queried) > 1 or pairs == 1


@pytest.mark.parametrize("task", [NextItemRecall(), KeyValueRecall()])
def test_eighteen_bits_are_scored(
    task: NextItemRecall | KeyValueRecall, generator: torch.Generator
) -> None:
    batch = task.sample(4, generator=generator)
    scored = batch.mask.unsqueeze(2).expand_as(batch.targets)
    assert scored.sum((0, 2)).tolist() == [18] * 4
    assert not batch.targets[~scored].any()


def test_a_single_item_has_no_next_one(generator: torch.Generator) -> None:
    with pytest.raises(ValueError, match="level: expected at least 2, got 1"):
        NextItemRecall().sample(1, generator=generator, level=1)
    with pytest.raises(ConfigError, match="min_items: expected a whole number >= 2, got 1"):
        NextItemRecall(min_items=1)


def test_more_items_than_there_are_different_ones(generator: torch.Generator) -> None:
    with pytest.raises(ConfigError, match=r"max_items: expected at most 2\^2=4.* got 6"):
        NextItemRecall(item_length=1, bits=2)
    with pytest.raises(ConfigError, match="max_pairs: expected at most"):
        KeyValueRecall(item_length=1, bits=2)
    full = NextItemRecall(item_length=1, bits=2, max_items=4)
    assert full.sample(3, generator=generator, level=4).inputs.shape[1] == 3
    with pytest.raises(ValueError, match="level: expected at most 4 different items"):
        full.sample(3, generator=generator, level=5)
