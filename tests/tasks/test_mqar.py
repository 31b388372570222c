"""MQAR: tokens by hand, every query's answer found in the inputs, places and gaps of queries."""

import pytest
import torch
from torch import Tensor

from sam.errors import ConfigError
from sam.tasks import MQAR, Batch
from sam.tasks.mqar import NOISE_TOKENS


def tokens_of(batch: Batch, row: int) -> list[int]:
    assert torch.equal(batch.inputs.sum(2), torch.ones(batch.mask.shape))
    return batch.inputs[:, row].argmax(1).tolist()


def check_answers(task: MQAR, batch: Batch, pairs: int) -> None:
    """Every scored step asks for a key of a pair, and its target is the value beside that."""
    for row in range(batch.inputs.shape[1]):
        tokens = tokens_of(batch, row)
        keys, values = tokens[0 : 2 * pairs : 2], tokens[1 : 2 * pairs : 2]
        assert len({*keys}) == pairs and max(keys) < task.num_keys
        value_of = {key: value - task.num_keys for key, value in zip(keys, values, strict=True)}
        assert all(0 <= value < task.num_values for value in value_of.values())
        asked = [t for t in range(len(tokens)) if batch.mask[t, row]]
        assert asked[0] >= 2 * pairs
        for t in asked:
            assert int(batch.targets[t, row]) == value_of[tokens[t]]
        for t in {*range(2 * pairs, len(tokens))} - {*asked}:
            assert tokens[t] >= task.num_keys + task.num_values


@pytest.mark.parametrize("pairs", [1, 8, 64])
def test_every_key_is_asked_for_once(pairs: int, generator: torch.Generator) -> None:
    task = MQAR()
    batch = task.sample(5, generator=generator, level=pairs)
    assert batch.inputs.shape == (3 * pairs, 5, 128)
    check_answers(task, batch, pairs)
    for row in range(5):
        tokens = tokens_of(batch, row)
        assert sorted(tokens[2 * pairs :]) == sorted(tokens[: 2 * pairs : 2])
        assert pairs < 8 or tokens[2 * pairs :] != tokens[: 2 * pairs : 2]


@pytest.mark.parametrize(("queries", "times"), [(2, {0, 1}), (11, {2, 3}), (12, {3})])
def test_queries_spread_over_the_keys(
    queries: int, times: set[int], generator: torch.Generator
) -> None:
    task = MQAR(queries=queries, distractors=2)
    batch = task.sample(4, generator=generator, level=4)
    assert batch.inputs.shape == (8 + 3 * queries, 4, 128 + NOISE_TOKENS)
    assert batch.mask.sum(0).tolist() == [queries] * 4
    check_answers(task, batch, 4)
    for row in range(4):
        tokens = tokens_of(batch, row)
        asked = [tokens[t] for t in range(8, len(tokens)) if batch.mask[t, row]]
        assert {asked.count(key) for key in tokens[:8:2]} == times


def places(power: float, generator: torch.Generator) -> Tensor:
    """Mean place of the queries after the pairs, as a fraction of the steps there, of one batch."""
    task = MQAR(distractors=9, gap_power=power)
    batch = task.sample(300, generator=generator, level=10)
    asked = batch.mask[20:].float()
    return (asked * torch.linspace(0, 1, 100).unsqueeze(1)).sum() / asked.sum()


def test_the_power_decides_how_near_queries_come(generator: torch.Generator) -> None:
    assert abs(float(places(1.0, generator)) - 0.5) < 0.03
    assert float(places(0.01, generator)) < 0.3


def test_measures_tell_right_answers_by_gap() -> None:
    task = MQAR(distractors=1, num_keys=2, num_values=2, min_pairs=1, max_pairs=1, queries=2)
    # key 1, value 0, a query at gap 1, one at gap 19
    tokens = torch.tensor([1, 2, 1, *[4] * 17, 1])
    mask = torch.zeros(21, dtype=torch.bool)
    mask[[2, 20]] = True
    inputs = torch.nn.functional.one_hot(tokens, task.input_size).float()
    rows = [part.unsqueeze(1) for part in (inputs, torch.zeros_like(tokens), mask)]
    outputs = torch.zeros(21, 1, 2)
    outputs[20, 0, 1] = 1.0  # the far one is wrong
    found = task.measures(outputs, Batch(*rows, {}))
    assert {name: values.tolist() for name, values in found.items()} == {
        "gap < 16 right %": [100.0],
        "gap < 64 right %": [0.0],
    }


def test_gaps_of_a_batch_are_those_in_its_tokens(generator: torch.Generator) -> None:
    task = MQAR()
    batch = task.sample(3, generator=generator, level=20)
    right = torch.nn.functional.one_hot(batch.targets, 64).float()
    found = task.measures(right, batch)
    assert [*found] == ["gap < 16 right %", "gap < 64 right %"]
    for row in range(3):
        tokens = tokens_of(batch, row)
        gaps = [t - tokens.index(tokens[t]) - 1 for t in range(40, 60)]
        for most, name in zip((16, 64), found, strict=True):
            among = [gap for gap in gaps if most // 4 % 16 <= gap < most]
            value = float(found[name][row])
            assert value == 100.0 if among else value != value


def test_bad_settings_are_named(generator: torch.Generator) -> None:
    with pytest.raises(ConfigError, match="max_pairs: expected at most num_keys=64, got 65"):
        MQAR(max_pairs=65)
    with pytest.raises(ConfigError, match="gap_power: expected above 0, got 0"):
        MQAR(gap_power=0.0)
    with pytest.raises(ConfigError, match="distractors: expected a whole number >= 0, got -1"):
        MQAR(distractors=-1)
    with pytest.raises(ConfigError, match="queries: expected a whole number >= 1, got 0"):
        MQAR(queries=0)
    with pytest.raises(ValueError, match="level: expected at most num_keys=64, got 65"):
        MQAR().sample(1, generator=generator, level=65)
