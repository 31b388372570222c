"""Batch rows shared among threads: every row once, errors passed on, and nobody left running."""

import threading
import time

import pytest

from sam.fast.threads import in_threads
from tests.fast.compiled_and_plain import threads


@pytest.mark.parametrize("count", [1, 2, 3, 5, 9])
@pytest.mark.parametrize("rows", [1, 2, 7, 8])
def test_every_row_is_taken_once_in_parts_of_like_size(count, rows):
    parts = []
    with threads(count):
        in_threads(lambda lo, hi: parts.append((lo, hi)), rows)
    parts.sort()
    assert len(parts) == min(count, rows)
    assert [row for lo, hi in parts for row in range(lo, hi)] == list(range(rows))
    sizes = [hi - lo for lo, hi in parts]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(("count", "parts"), [(1, 4), (2, 4), (3, 4), (5, 5)])
def test_parts_have_no_more_rows_than_wanted(count, parts):
    taken = []
    with threads(count):
        in_threads(lambda lo, hi: taken.append((lo, hi)), 13, 4)
    taken.sort()
    assert [row for lo, hi in taken for row in range(lo, hi)] == list(range(13))
    assert max(hi - lo for lo, hi in taken) <= 4
    assert len(taken) == parts


def test_parts_run_at_the_same_time():
    together = threading.Barrier(3, timeout=30)
    with threads(3):
        in_threads(lambda lo, hi: together.wait(), 6)


@pytest.mark.parametrize("wrong", [0, 2])
def test_an_error_waits_for_the_others_and_is_passed_on(wrong):
    done = []

    def run(lo, hi):
        if lo == wrong:
            raise KeyError(lo)
        time.sleep(0.05)
        done.append(lo)

    with threads(2), pytest.raises(KeyError, match=str(wrong)):
        in_threads(run, 4)
    assert done == [2 - wrong]


def test_of_two_errors_the_first_part_s_is_raised():
    def run(lo, hi):
        raise KeyError(lo)

    with threads(2), pytest.raises(KeyError, match="0"):
        in_threads(run, 4)
