"""An entry does what the function does, and there is one for each kind of arguments."""

from typing import Any, NamedTuple

import numpy as np
import pytest

pytest.importorskip("numba")
from index.compiled import lean_jit
from index.entries import Entries, entry_of


class Pair(NamedTuple):
    first: Any
    second: Any


@lean_jit
def total(pair, times):
    found = 0.0
    for i in range(len(pair.first)):
        found += pair.first[i] * pair.second[i]
    return times * found


def test_an_entry_does_what_the_function_does() -> None:
    ones = Pair(np.arange(4.0), np.ones(4))
    entry = entry_of(total, (ones, 2))
    assert entry(ones, 2) == total(ones, 2) == 12
    twos = Pair(np.arange(3.0), np.full(3, 2.0))
    assert entry_of(total, (twos, 5)) is entry
    assert entry(twos, 5) == 30


@pytest.mark.parametrize(
    "other",
    [
        Pair(np.arange(4.0, dtype=np.float32), np.ones(4)),
        Pair(np.arange(8.0)[::2], np.ones(4)),
        Pair(np.arange(4.0), np.broadcast_to(1.0, 4)),
    ],
    ids=["dtype", "order", "read-only"],
)
def test_other_kinds_have_other_entries(other: Pair) -> None:
    plain = Pair(np.arange(4.0), np.ones(4))
    entry = entry_of(total, (other, 1.0))
    assert entry is not entry_of(total, (plain, 1.0))
    assert entry(other, 1.0) == float((other.first * other.second).sum())
    assert entry_of(total, (plain, 1)) is not entry_of(total, (plain, 1.0))


def test_a_call_goes_by_the_entry_that_its_kind_was_first_called_with() -> None:
    entries, plain = Entries(), Pair(np.arange(4.0), np.ones(4))
    short = Pair(np.arange(4.0, dtype=np.float32), np.ones(4))
    for times in (2, 3):
        assert entries.call(total, (plain, times), np.float64) == 6 * times
        assert entries.call(total, (short, times), np.float32) == 6 * times
    assert entries._known[total, np.float64] is entry_of(total, (plain, 2))
    assert entries._known[total, np.float32] is entry_of(total, (short, 2))
