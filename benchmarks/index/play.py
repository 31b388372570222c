"""Plays calls on a memory, takes the time of each, and compares with the truth along the way."""

import gc
import math
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from benchmarks.harness import Spread, ratio
from benchmarks.index.calls import ASKED, WRITES, Call
from benchmarks.index.rivals import Judged, Ours
from benchmarks.index.truth import Truth

TOP_K = 10
# Recall is looked at after so many calls, and its lowest value is that of so many looks together:
# 2,000 updates and 128 queries.
EVERY, WINDOW = 14, 4
_BESIDE = 2  # calls of exact search that are timed at a look
_POINTS = 16  # of the line that is kept of recall along the way


# Seconds. Those of the process do not grow while other work has the processor.
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}


@dataclass
class Track:
    """What was seen; `summary` makes numbers of it.

    Attributes:
        clock: what takes the time.
        seconds: of each call.
        puts: of each call, the part before the search; empty where the two are one.
        recalls: per effort, 0 for an index without, one number for each look.
        finds: per effort, seconds of a search, one number for each look.
        exact: seconds of a call of exact search, one number for each look.
        own: the median of the calls before it, or of their part before the search.
    """

    clock: Callable[[], float] = time.perf_counter
    seconds: list[float] = field(default_factory=list)
    puts: list[float] = field(default_factory=list)
    recalls: dict[int, list[float]] = field(default_factory=dict)
    finds: dict[int, list[float]] = field(default_factory=dict)
    own: list[float] = field(default_factory=list)
    exact: list[float] = field(default_factory=list)


def play(
    judged: Judged,
    truth: Truth,
    calls: Iterable[Call],
    *,
    clock: str = "wall",
    beside: Ours | None = None,
) -> Track:
    """Plays calls, one after the other.

    Args:
        judged: what is measured.
        truth: gets the same words. The calls may depend on it.
        calls: each of them is a step of a model.
        clock: a key of `CLOCKS`.
        beside: an exact index with as many words; it gets a few of the calls, so that its time is
            taken under the same load.
    """
    track = Track(clock=CLOCKS[clock])
    last: tuple[Call, Tensor] | None = None
    gc.collect()
    gc.disable()  # it would be counted as a long call
    try:
        for number, call in enumerate(calls, 1):
            found = _timed(judged, call, track)
            truth.remove(call.removed)
            truth.put(call.slots, call.words)
            last = call, found
            if number % EVERY == 0:
                _look(judged, truth, call, found, track)
                _compare(beside, call, track)
                gc.collect(0)
        if last and not track.recalls:  # a very short one
            _look(judged, truth, *last, track)
            _compare(beside, last[0], track)
    finally:
        gc.enable()
    return track


def recall_of(judged: Judged, truth: Truth, queries: Tensor) -> dict[int, float]:
    """Recall per effort, over many queries, a step's number of them at a time."""
    found = {}
    for effort in judged.efforts or (0,):
        if effort:
            judged.set_effort(effort)
        parts = queries.split(ASKED)
        recalls = [truth.recall(judged.find(p, TOP_K), p, TOP_K) * len(p) for p in parts]
        found[effort] = sum(recalls) / len(queries)
    return found


def least_effort(recalls: Sequence[dict[int, float]], target: float) -> int:
    """The least effort by which all of these reach a target; the greatest where none does."""
    good = [e for e in recalls[0] if all(each[e] >= target for each in recalls)]
    return min(good, default=max(recalls[0]))


def mean_recalls(track: Track) -> dict[int, float]:
    """Per effort, the mean over the looks."""
    return {effort: statistics.fmean(found) for effort, found in track.recalls.items()}


def summary(track: Track, *, target: float, effort: int = 0) -> dict[str, Any]:
    """The numbers of a runbook.

    Args:
        track: as `play` returns it.
        target: the recall that is asked for.
        effort: 0 for an index that sets its own.

    Returns:
        ``recall``, the mean; ``lowest``, of four looks in a row; ``below``, the longest stretch of
        updates that the recall of four looks was more than .1 below the target; ``series``; ``ms``
        of a call, with ``median``, ``mean``, ``p99`` and ``longest``; ``to_exact``, a `Spread` or
        None.
    """
    looks = track.recalls[effort]
    width = min(WINDOW, len(looks))
    means = [statistics.fmean(looks[i : i + width]) for i in range(len(looks) - width + 1)]
    step = math.ceil(len(means) / _POINTS)
    return {
        "recall": statistics.fmean(looks),
        "lowest": min(means),
        "below": _longest([mean < target - 0.1 for mean in means]) * EVERY * WRITES,
        "series": [round(mean, 3) for mean in means[::step]],
        "calls": len(track.seconds),
        "ms": _milliseconds(track, effort),
        "to_exact": _to_exact(track, effort),
    }


def _timed(judged: Judged, call: Call, track: Track) -> Tensor:
    """Plays one call."""
    start = track.clock()
    if len(call.removed):
        judged.remove(call.removed)
    if isinstance(judged, Ours) and len(call.slots):
        found = judged.put_and_find(call.slots, call.words, call.queries, TOP_K)
    else:
        if len(call.slots):
            judged.put(call.slots, call.words)
        track.puts.append(track.clock() - start)
        found = judged.find(call.queries, TOP_K)
    track.seconds.append(track.clock() - start)
    return found


def _look(judged: Judged, truth: Truth, call: Call, found: Tensor, track: Track) -> None:
    """Recall of the last call; where there are efforts, of its queries by each of them."""
    for effort in judged.efforts:
        judged.set_effort(effort)
        start = track.clock()
        at_effort = judged.find(call.queries, TOP_K)
        track.finds.setdefault(effort, []).append(track.clock() - start)
        recall = truth.recall(at_effort, call.queries, TOP_K)
        track.recalls.setdefault(effort, []).append(recall)
    if judged.efforts:
        judged.set_effort(judged.efforts[len(judged.efforts) // 2])
    else:
        track.recalls.setdefault(0, []).append(truth.recall(found, call.queries, TOP_K))


def _compare(beside: Ours | None, call: Call, track: Track) -> None:
    """The time of exact search for the last call, and of this one for the calls before it."""
    if beside is None or len(call.slots) == 0:
        return
    spent = []
    for _ in range(_BESIDE):
        start = track.clock()
        beside.put_and_find(call.slots, call.words, call.queries, TOP_K)
        spent.append(track.clock() - start)
    track.exact.append(statistics.fmean(spent))
    timed = track.puts if track.finds else track.seconds
    track.own.append(statistics.median(timed[-EVERY:]))


def _to_exact(track: Track, effort: int) -> Spread | None:
    if not track.exact:
        return None
    search = track.finds.get(effort, [0.0] * len(track.own))
    return ratio([a + b for a, b in zip(track.own, search, strict=True)], track.exact)


def _milliseconds(track: Track, effort: int) -> dict[str, float]:
    """Of a call; of one with efforts the longest is that of the updates, and a search."""
    if effort:
        search = statistics.median(track.finds[effort])
        seconds = [put + search for put in track.puts]
    else:
        seconds = track.seconds
    ordered = sorted(1e3 * each for each in seconds)
    return {
        "median": statistics.median(ordered),
        "mean": statistics.fmean(ordered),
        "p99": ordered[int(0.99 * (len(ordered) - 1))],
        "longest": ordered[-1],
    }


def _longest(flags: Sequence[bool]) -> int:
    """The length of the longest run of true ones."""
    longest = run = 0
    for flag in flags:
        run = run + 1 if flag else 0
        longest = max(longest, run)
    return longest
