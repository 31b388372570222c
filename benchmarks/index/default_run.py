"""What `benchmarks.index.defaults` measures of one index on one set of words."""

import itertools
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch

from benchmarks.index.calls import Asker, Queries, churn, moved
from benchmarks.index.datasets import WordSet
from benchmarks.index.goals import DEFAULT_TARGET
from benchmarks.index.play import (
    Track,
    least_effort,
    mean_recalls,
    play,
    recall_of,
    summary,
)
from benchmarks.index.rivals import Judged, Ours, make_judged, state, warm_up
from benchmarks.index.truth import Truth
from index import IndexConfig
from index.bench.comparison import EXACT
from index.metric import Metric


def measure(
    words: WordSet,
    metric: Metric,
    kind: str,
    targets: Sequence[float | None],
    *,
    queries: Queries = "held_out",
    seed: int = 0,
    most: int | None = None,
    clock: str = "wall",
) -> Iterator[dict[str, Any]]:
    """Yields a record for each target; a library with efforts runs only once for all of them.

    Args:
        words: the set.
        metric: as `IndexConfig.metric`.
        kind: of an index, or one of `RIVALS`.
        targets: recalls that are asked for; None for the default of the index.
        queries: which.
        seed: of slots and queries.
        most: calls of the churn, and of the drift; all of them unless told.
        clock: a key of `play.CLOCKS`.

    Raises:
        BackendMissingError: the library is not installed.
    """
    about = {
        "set": words.name,
        "words": words.size,
        "word_size": words.words.shape[1],
        "metric": metric,
        "kind": kind,
        "queries": queries,
        "clock": clock,
    }
    seen = None
    for target in targets:
        if seen is None or not seen.judged.efforts:
            seen = _seen(words, metric, kind, target, queries, seed, most, clock)
        yield about | _record(seen, target)


class _Seen(NamedTuple):
    """What was seen of an index: recall per effort, 0 without, and what it said of itself."""

    judged: Judged
    fresh: dict[int, float]
    churn: Track
    after_churn: dict[int, float]
    drift: Track
    after_drift: dict[int, float]
    said: tuple[dict[str, Any], dict[str, Any], dict[str, Any]]
    build_seconds: float
    seconds: float
    words: int


def _seen(
    words: WordSet,
    metric: Metric,
    kind: str,
    target: float | None,
    queries: Queries,
    seed: int,
    most: int | None,
    clock: str,
) -> _Seen:
    generator = torch.Generator().manual_seed(seed)
    sizes = {"capacity": words.size, "word_size": words.words.shape[1]}
    warm_up(kind, metric)
    start = time.perf_counter()
    judged = make_judged(kind, metric, target, **sizes)
    slots, first = torch.arange(words.size), words.words[: words.size]
    judged.put(slots, first)
    built = time.perf_counter() - start
    truth = Truth(words.size, metric, first)
    truth.put(slots, first)
    exact = Ours(IndexConfig(kind=EXACT, metric=metric), **sizes)
    exact.put(slots, first)
    ask = Asker(words, truth, generator, queries)
    elsewhere = Asker(words.moved(), truth, generator, queries)
    fresh, said = recall_of(judged, truth, ask.to_judge()), state(judged)
    changes = itertools.islice(churn(words, truth, ask, generator), most)
    churned = play(judged, truth, changes, clock=clock, beside=exact)
    after_churn, said_then = recall_of(judged, truth, ask.to_judge()), state(judged)
    changes = itertools.islice(moved(words, truth, ask, generator), most)
    drifted = play(judged, truth, changes, clock=clock, beside=exact)
    then = elsewhere if most is None else ask  # a drift that is cut short ends among old words
    after_drift = recall_of(judged, truth, then.to_judge())
    return _Seen(
        judged,
        fresh,
        churned,
        after_churn,
        drifted,
        after_drift,
        (said, said_then, state(judged)),
        built,
        time.perf_counter() - start,
        words.size,
    )


def _record(seen: _Seen, target: float | None) -> dict[str, Any]:
    goal, effort = DEFAULT_TARGET if target is None else target, 0
    if seen.judged.efforts:
        states = [seen.fresh, seen.after_churn, mean_recalls(seen.churn)]
        effort = least_effort(states, goal)
    fresh, churned, drifted = seen.said
    return {
        "target": target,
        "effort": effort,
        "fresh": {"recall": seen.fresh[effort]} | fresh,
        "churn": summary(seen.churn, target=goal, effort=effort)
        | {"after": seen.after_churn[effort]}
        | churned,
        "drift": summary(seen.drift, target=goal, effort=effort)
        | {"after": seen.after_drift[effort]}
        | drifted,
        "bytes_per_word": seen.judged.nbytes() / seen.words,
        "build_seconds": seen.build_seconds,
        "seconds": seen.seconds,
    }
