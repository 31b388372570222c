"""Rows shared among threads: every row once, errors passed on, and nobody left running."""

import ctypes
import os
import sys
import threading
import time

import pytest
import torch

from index import openmp
from index import threads as shared
from index.openmp import Team, torch_team
from index.threads import in_threads
from tests.forks import forked
from tests.torch_threads import threads

in_team = pytest.mark.skipif(torch_team() is None, reason="torch's threads are not known here")


@pytest.fixture(params=[pytest.param("team", marks=in_team), "pool"])
def _whose(request, monkeypatch):
    """Torch's threads, or our own."""
    if request.param == "pool":
        monkeypatch.setattr(shared, "torch_team", lambda: None)


pytestmark = pytest.mark.usefixtures("_whose")


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


@pytest.mark.parametrize(("count", "parts"), [(1, 4), (2, 4), (3, 6), (5, 5)])
def test_parts_have_no_more_rows_than_wanted_and_are_as_many_for_each_thread(count, parts):
    taken = []
    with threads(count):
        in_threads(lambda lo, hi: taken.append((lo, hi)), 13, 4)
    taken.sort()
    assert [row for lo, hi in taken for row in range(lo, hi)] == list(range(13))
    assert max(hi - lo for lo, hi in taken) <= 4
    assert len(taken) == parts


@pytest.mark.parametrize("count", [1, 3])
def test_no_rows_are_no_calls(count):
    with threads(count):
        in_threads(lambda lo, hi: pytest.fail("called"), 0)


@pytest.mark.parametrize("count", [2, 3])
def test_parts_run_at_the_same_time(count):
    together = threading.Barrier(count, timeout=30)
    with threads(count):
        in_threads(lambda lo, hi: together.wait(), 6)


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad])
def test_all_threads_are_in_the_caller_s_modes(mode):
    together, seen = threading.Barrier(2, timeout=30), []

    def modes():
        return torch.is_inference_mode_enabled(), torch.is_grad_enabled()

    def run(lo, hi):
        together.wait()
        seen.append(modes())

    with threads(2), mode():
        in_threads(run, 2)
        assert seen == [modes()] * 2


@pytest.mark.parametrize("wrong", [0, 2])
@pytest.mark.parametrize("kind", [KeyError, KeyboardInterrupt])
def test_an_error_waits_for_the_others_and_is_passed_on(wrong, kind):
    done = []

    def run(lo, hi):
        if lo == wrong:
            raise kind(lo)
        time.sleep(0.05)
        done.append(lo)

    with threads(2), pytest.raises(kind, match=str(wrong)):
        in_threads(run, 4)
    assert done == [2 - wrong]


def test_of_two_errors_the_first_part_s_is_raised():
    together = threading.Barrier(2, timeout=30)

    def run(lo, hi):
        together.wait()
        raise KeyError(lo)

    with threads(2), pytest.raises(KeyError, match="0"):
        in_threads(run, 4)


def test_a_thread_that_comes_late_finds_its_part_taken():
    first, taken = threading.Event(), []

    def run(lo, hi):
        if lo == 0:
            assert first.wait(30)  # held up until all others are done
        taken.append(lo)
        if len(taken) == 3:
            first.set()

    with threads(2):
        in_threads(run, 8, 2)
    assert taken == [2, 4, 6, 0]


@pytest.mark.parametrize("count", [2, 3])
def test_calls_inside_of_each_other(count):
    rows = []

    def run(lo, hi):
        in_threads(lambda a, b: rows.extend(range(lo + a, lo + b)), hi - lo)

    with threads(count):
        in_threads(run, 12)
    assert sorted(rows) == list(range(12))


def test_torch_inside_of_a_call_and_around_it():
    numbers = torch.arange(300_000, dtype=torch.float64)
    sums = {}

    def run(lo, hi):
        sums[lo] = float((numbers.sqrt() ** 2).sum().round())

    with threads(3):
        for _ in range(3):
            expected = float((numbers.sqrt() ** 2).sum().round())
            in_threads(run, 3)
            assert sums == dict.fromkeys(range(3), expected)


def test_threads_that_begin_calls_of_their_own():
    found = []

    def begin():
        with threads(2):
            in_threads(lambda lo, hi: found.append((lo, hi)), 4)

    others = [threading.Thread(target=begin) for _ in range(3)]
    for other in others:
        other.start()
    for other in others:
        other.join(30)
    assert sorted(found) == [(0, 2)] * 3 + [(2, 4)] * 3


@pytest.mark.parametrize("_whose", [pytest.param("team", marks=in_team)], indirect=True)
def test_a_team_is_as_large_as_torch_s_and_stays():
    team = torch_team()
    assert team is not None
    seen = []
    together = threading.Barrier(3, timeout=30)

    def work():
        together.wait()
        seen.append(threading.get_native_id())

    with threads(3):
        assert team.has(3)
        assert not team.has(2)
        for _ in range(2):
            team.run(work, 3)
    assert len(set(seen)) == 3
    assert sorted(seen[:3]) == sorted(seen[3:])


@pytest.mark.skipif(
    sys.platform != "linux" or "LD_PRELOAD" in os.environ, reason="torch is linked in another way"
)
@pytest.mark.parametrize("_whose", [pytest.param("team", marks=in_team)], indirect=True)
def test_it_is_the_library_that_torch_itself_calls():
    found = {
        ctypes.cast(library.GOMP_parallel, ctypes.c_void_p).value
        for library in openmp._libraries()
        if hasattr(library, "GOMP_parallel")
    }
    assert len(found) == 1


@pytest.mark.parametrize("torch_has_it", [False, True])
def test_without_such_a_library_there_is_no_team(monkeypatch, torch_has_it):
    monkeypatch.setattr(torch.backends.openmp, "is_available", lambda: torch_has_it)
    monkeypatch.setattr(openmp, "_libraries", lambda: iter([object()]))
    assert torch_team.__wrapped__() is None


def test_with_few_rows_for_many_threads_not_all_of_them_come(monkeypatch):
    used = []
    monkeypatch.setattr(Team, "run", lambda team, work, count: used.append(count))
    with threads(6):
        in_threads(lambda lo, hi: None, 2)
        assert not used
        in_threads(lambda lo, hi: None, 3)
    assert used == ([] if shared.torch_team() is None else [6])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_forked_process_has_threads_of_its_own():
    def taken():
        rows = []
        in_threads(lambda lo, hi: rows.extend(range(lo, hi)), 4)
        return sorted(rows)

    with threads(2):
        assert taken() == [0, 1, 2, 3]
        child = forked(lambda: 0 if taken() == [0, 1, 2, 3] else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
