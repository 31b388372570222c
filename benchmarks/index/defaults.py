"""Judges indexes as they come, without an option set: ``python -m benchmarks.index.defaults``.

One memory of real or awkward words for each set, metric and kind of index. Recall@10 against an
exact search: when the words were just put; while half of the slots get other words, 36 at a call
with 32 queries; while all of them get words from elsewhere. Milliseconds a call, beside exact
search in turns; bytes a word. An hour for all; writes index_defaults.json, record by record.

    python -m benchmarks.index.defaults --sets glove mnist --kinds auto ivf --metrics cosine
    python -m benchmarks.index.defaults --recall .8 .9 .95 .99       # targets, not the default one
    python -m benchmarks.index.defaults --kinds 'raw faiss' hnswlib --recall .9 .95
    python -m benchmarks.index.defaults --sets million --calls 500   # of each kind of change
    python -m benchmarks.index.defaults --keep                       # goes on where it was cut
"""

import argparse
import itertools
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple, get_args

import torch

from benchmarks.harness import RESULTS, Report, positive
from benchmarks.index.calls import Asker, Queries, churn, moved
from benchmarks.index.datasets import SETS, USUAL, WordSet, load_set, of_metrics
from benchmarks.index.goals import shortfalls
from benchmarks.index.play import (
    CLOCKS,
    Track,
    least_effort,
    mean_recalls,
    play,
    recall_of,
    summary,
)
from benchmarks.index.records import Records, read
from benchmarks.index.rivals import RIVALS, Judged, Ours, make_judged
from benchmarks.index.truth import Truth
from benchmarks.tables.defaults_table import records_table
from index import BackendMissingError, IndexConfig
from index.bench.comparison import EXACT
from index.metric import Metric

FILE = "index_defaults.json"
KINDS = ("auto", "ivf", "product", "lsh", "faiss")
_HAS_RECALL = "recall" in {one.name for one in fields(IndexConfig)}
KEYS = ("set", "words", "metric", "kind", "target", "queries")
# What the default option asks for, and what is asked of the others unless told.
DEFAULT_TARGET = 0.9


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


def state(judged: Judged) -> dict[str, Any]:
    """What an index says of itself: the fields of `IndexStats`, as JSON has them."""
    if not isinstance(judged, Ours):
        return {}
    stats = judged.index.stats()._asdict()
    for name, value in stats.items():
        if isinstance(value, torch.Tensor):
            stats[name] = value.tolist()
        elif hasattr(value, "_asdict"):
            stats[name] = value._asdict()
    return stats


def run(options: argparse.Namespace, records: Records, report: Report) -> None:
    """Measures what was asked for and adds a record for each; says what is left out."""
    if options.recall and not _HAS_RECALL:
        report("recall: this version's IndexConfig has none; indexes run with their defaults")
    for name in options.sets:
        try:
            words = load_set(name, most=options.words, seed=options.seed, folder=options.data)
        except (OSError, BackendMissingError) as error:
            report(f"{name}: left out; {error}")
            continue
        about = {
            "queries": options.queries,
            "seed": options.seed,
            "most": options.calls,
            "clock": options.clock,
        }
        for metric, kind in itertools.product(of_metrics(options.metrics, words), options.kinds):
            key = {"set": name, "words": words.size, "metric": metric, "kind": kind}
            targets = targets_of(kind, options.recall)
            if options.keep:
                targets = [
                    each
                    for each in targets
                    if not records.has(**key, target=each, queries=options.queries)
                ]
            try:
                for record in measure(words, metric, kind, targets, **about):
                    records.add(record)
                    report(line(record))
            except BackendMissingError as error:
                report(f"{kind}: left out; {error}")


def targets_of(kind: str, given: Sequence[float] | None) -> list[float | None]:
    """The recalls to ask an index for: those given, or None where it has but its default."""
    asked = kind in RIVALS or (_HAS_RECALL and kind != EXACT)
    return [*given] if given and asked else [None]


def line(record: dict[str, Any]) -> str:
    """A record in a line."""
    churned, drifted = record["churn"], record["drift"]
    asked = "" if record["target"] is None else f" at {record['target']:g}"
    times = churned["to_exact"].median if churned["to_exact"] else float("nan")
    return (
        f"{record['set']} {record['metric']} {record['kind']}{asked}: recall "
        f"{record['fresh']['recall']:.3f} fresh, {churned['recall']:.3f} in churn (lowest "
        f"{churned['lowest']:.3f}), {churned['after']:.3f} after; {drifted['recall']:.3f} in drift "
        f"(lowest {drifted['lowest']:.3f}), {drifted['after']:.3f} after; "
        f"{churned['ms']['median']:.2f} ms a call ({times:.2f} x exact), longest "
        f"{max(churned['ms']['longest'], drifted['ms']['longest']):.0f} ms; "
        f"{record['bytes_per_word']:.0f} bytes a word"
    )


def parser() -> argparse.ArgumentParser:
    """The command line, without what only one of the two scripts has."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.index.defaults",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--sets", nargs="+", choices=[*SETS], default=USUAL, help="default most")
    made.add_argument(
        "--kinds", nargs="+", default=KINDS, help=f"of indexes, or {', '.join(RIVALS)}"
    )
    made.add_argument("--metrics", nargs="+", choices=get_args(Metric), help="default the set's")
    made.add_argument("--recall", type=float, nargs="+", help="targets; default the index's own")
    made.add_argument("--queries", choices=get_args(Queries), default="held_out")
    made.add_argument("--words", type=positive, help="of a memory, where the set has more")
    made.add_argument("--calls", type=positive, help="of a change or runbook; default all")
    made.add_argument("--clock", choices=[*CLOCKS], default="wall", help="cpu on a busy machine")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--threads", type=positive, default=1, help="threads torch may use")
    made.add_argument("--data", type=Path, help="folder with ann, mnist, omniglot")
    made.add_argument("--keep", action="store_true", help="do not repeat what the file has")
    made.add_argument("--out", type=Path, default=RESULTS, help="folder to write to")
    return made


def report(line: str) -> None:
    """To the terminal at once: some lines are minutes apart."""
    print(line, flush=True)


def main(arguments: Sequence[str]) -> int:
    """Measures, writes, prints; 1 after a mistake of the user's, reported in one line."""
    options = parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    try:
        records = Records(options.out / FILE, "benchmarks.index.defaults", arguments, KEYS)
        run(options, records, report)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    report(records_table(options.out))
    for shortfall in shortfalls(read(options.out / FILE)):
        report(shortfall)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
