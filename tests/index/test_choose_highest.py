"""Lists chosen by a bound and a sort of few: those that a sort of all finds."""

import numpy as np
import pytest

pytest.importorskip("numba")

from index.compiled import lean_jit
from index.kernels.highest import choose_highest
from index.kernels.lanes import LaneRoom


@lean_jit
def _call(values, lengths, budget, guess, room, order, chosen):
    return choose_highest(values, lengths, budget, guess, room, order, chosen)


def _chosen(values: np.ndarray, lengths: np.ndarray, budget: int, guess: int) -> list[int]:
    many = len(values)
    order, chosen = np.empty(many, np.int64), np.empty(many, np.int64)
    room = LaneRoom.of(values.dtype)
    count = _call(values, lengths, budget, guess, room, order, chosen)
    return chosen[:count].tolist()


def _expected(values: np.ndarray, lengths: np.ndarray, budget: int) -> list[int]:
    found, met = [], 0
    for one in np.argsort(-values, kind="stable").tolist():
        if met >= budget or not values[one] > -np.inf:
            break
        if lengths[one]:
            found.append(one)
            met += int(lengths[one])
    return found


@pytest.mark.parametrize("many", [1, 7, 16, 100, 128, 129, 1000, 5000])
@pytest.mark.parametrize("guess", [0, 3, 64, 400, 10_000])
def test_whatever_was_guessed_lists_come_best_first_until_they_have_enough(
    many: int, guess: int
) -> None:
    random = np.random.default_rng(many)
    for budget in (1, 40, 2000, 10**9):
        values = (random.permutation(many) ** 2).astype(np.float32)  # no two are equal
        lengths = random.integers(0, 60, many)
        values[random.random(many) < 0.2] = -np.inf
        found = _chosen(values, lengths, budget, guess)
        assert found == _expected(values, lengths, budget)


@pytest.mark.parametrize("value", [np.inf, 3e38, -3e38, 0.0, 1e-40])
def test_equal_and_extreme_scores_are_each_chosen_once(value: float) -> None:
    values, lengths = np.full(300, value, np.float32), np.ones(300, np.int64)
    values[10:20] = -np.inf
    for budget in (5, 200, 1000):
        found = _chosen(values, lengths, budget, 64)
        assert len(found) == len(set(found)) == min(budget, 290)
        assert not {*found} & {*range(10, 20)}


def test_infinite_scores_come_first() -> None:
    for high in (np.inf, 3e38):
        values, lengths = np.arange(40, dtype=np.float32), np.ones(40, np.int64)
        values[[3, 30]], values[7] = high, -3e38
        found = _chosen(values, lengths, 10**6, 64)
        assert sorted(found[:2]) == [3, 30] and found[-1] == 7
        assert sorted(found) == [*range(40)]


def test_what_is_no_number_is_no_list() -> None:
    values, lengths = np.arange(500, dtype=np.float32), np.ones(500, np.int64)
    values[100:400] = np.nan
    found = _chosen(values, lengths, 10**6, 64)
    assert sorted(found) == [*range(100), *range(400, 500)]
