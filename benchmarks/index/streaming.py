"""Judges indexes while words come and go: ``python -m benchmarks.index.streaming``.

Runbooks as of the streaming track of big-ann-benchmarks: regions inserted one after another,
deleted, replaced by others, a sliding window. And as of a model: slots replaced in place and read
at once, and words that drift from one kind to another. Recall@10 along the way, milliseconds a call
(36 words and 32 queries), bytes; our indexes with default options, FAISS, hnswlib and usearch with
the least effort that reaches the same recall. Hours for all; writes index_streaming.json, record by
record.

    python -m benchmarks.index.streaming --quick                      # 5,000 words
    python -m benchmarks.index.streaming --sets glove --runbooks insert window
    python -m benchmarks.index.streaming --kinds ivf 'raw faiss' --recall .9 .95
    python -m benchmarks.index.streaming --keep                       # goes on where it was cut
"""

import argparse
import itertools
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch

from benchmarks.harness import Report
from benchmarks.index import calls, defaults
from benchmarks.index.datasets import WordSet, load_set, of_metrics
from benchmarks.index.goals import DEFAULT_TARGET, shortfalls
from benchmarks.index.play import Track, least_effort, mean_recalls, play, summary
from benchmarks.index.records import Records, read
from benchmarks.index.rivals import RIVALS, make_judged, state, targets_of, warm_up
from benchmarks.index.truth import Truth
from benchmarks.tables.streaming_table import records_table
from index import BackendMissingError
from index.metric import Metric

FILE = "index_streaming.json"
KINDS = ("exact", *defaults.KINDS, *RIVALS)
SETS, SIZE, QUICK_SIZE = ("glove", "mnist", "omniglot"), 50000, 5000
KEYS = ("runbook", "set", "words", "metric", "kind", "target")
# By name the calls, and whether the memory is full when they begin.
RUNBOOKS: dict[str, tuple[calls.Runbook, bool]] = {
    "insert": (calls.insert, False),
    "delete": (calls.delete, True),
    "replace": (calls.replace, True),
    "window": (calls.window, False),
    "in_place": (calls.in_place, True),
    "drift": (calls.drift, True),
}
# The metric by which a set is usually searched.
_USUAL: dict[str, Metric] = {"glove": "cosine", "mnist": "l2", "omniglot": "l2"}


def measure(
    runbook: str,
    words: WordSet,
    metric: Metric,
    kind: str,
    targets: Sequence[float | None],
    *,
    seed: int = 0,
    most: int | None = None,
    clock: str = "wall",
) -> Iterator[dict[str, Any]]:
    """Yields a record for each target; a library with efforts plays only once for all of them.

    Args:
        runbook: a key of `RUNBOOKS`.
        words: the set.
        metric: as `IndexConfig.metric`.
        kind: of an index, or one of `RIVALS`.
        targets: recalls that are asked for; None for the default of the index.
        seed: of slots and queries.
        most: calls; all of the runbook unless told.
        clock: a key of `play.CLOCKS`.

    Raises:
        BackendMissingError: the library is not installed.
    """
    seen = None
    for target in targets:
        if seen is None or not seen.efforts:
            seen = _seen(runbook, words, metric, kind, target, seed, most, clock)
        goal = DEFAULT_TARGET if target is None else target
        effort = least_effort([mean_recalls(seen.track)], goal) if seen.efforts else 0
        yield {
            "runbook": runbook,
            "set": words.name,
            "words": words.size,
            "word_size": words.words.shape[1],
            "metric": metric,
            "kind": kind,
            "target": target,
            "effort": effort,
            "clock": clock,
            "bytes_per_word": seen.bytes_per_word,
            "seconds": seen.seconds,
        } | (summary(seen.track, target=goal, effort=effort) | seen.said)


class _Seen(NamedTuple):
    """What was seen of an index while it played a runbook."""

    efforts: tuple[int, ...]
    track: Track
    bytes_per_word: float
    seconds: float
    said: dict[str, Any]


def _seen(
    runbook: str,
    words: WordSet,
    metric: Metric,
    kind: str,
    target: float | None,
    seed: int,
    most: int | None,
    clock: str,
) -> _Seen:
    warm_up(kind, metric)
    start = time.perf_counter()
    calls_of, full = RUNBOOKS[runbook]
    size = words.size
    judged = make_judged(kind, metric, target, capacity=size, word_size=words.words.shape[1])
    truth = Truth(size, metric, words.words)
    if full:
        slots = torch.arange(size)
        judged.put(slots, words.words[:size])
        truth.put(slots, words.words[:size])
    generator = torch.Generator().manual_seed(seed)
    ask = calls.Asker(words, truth, generator, "near" if runbook == "drift" else "both")
    changes = itertools.islice(calls_of(words, truth, ask, generator), most)
    track = play(judged, truth, changes, clock=clock)
    held = max(1, int(truth.held.sum()))
    seconds = time.perf_counter() - start
    return _Seen(judged.efforts, track, judged.nbytes() / held, seconds, state(judged))


def run(options: argparse.Namespace, records: Records, report: Report) -> None:
    """Measures what was asked for and adds a record for each; says what is left out."""
    most = options.words or (QUICK_SIZE if options.quick else SIZE)
    for name in options.sets:
        try:
            words = load_set(name, most=most, seed=options.seed, folder=options.data)
        except (OSError, BackendMissingError) as error:
            report(f"{name}: left out; {error}")
            continue
        wanted: list[Metric] = options.metrics or [_USUAL.get(name, words.metrics[0])]
        metrics = of_metrics(wanted, words)
        about = {"seed": options.seed, "most": options.calls, "clock": options.clock}
        for runbook, metric, kind in itertools.product(options.runbooks, metrics, options.kinds):
            key = {"runbook": runbook, "set": name, "words": words.size}
            key |= {"metric": metric, "kind": kind}
            targets = targets_of(kind, options.recall)
            if options.keep:
                targets = [each for each in targets if not records.has(**key, target=each)]
            try:
                for record in measure(runbook, words, metric, kind, targets, **about):
                    records.add(record)
                    report(line(record))
            except BackendMissingError as error:
                report(f"{kind}: left out; {error}")


def line(record: dict[str, Any]) -> str:
    """A record in a line."""
    asked = "" if record["target"] is None else f" at {record['target']:g}"
    effort = f" effort {record['effort']}" if record["effort"] else ""
    ms = record["ms"]
    return (
        f"{record['runbook']} {record['set']} {record['metric']} {record['kind']}{asked}{effort}: "
        f"recall {record['recall']:.3f} (lowest {record['lowest']:.3f}), {ms['median']:.2f} ms a "
        f"call, mean {ms['mean']:.2f}, longest {ms['longest']:.0f}; "
        f"{record['bytes_per_word']:.0f} bytes a word; {record['seconds']:.0f} s"
    )


def parser() -> argparse.ArgumentParser:
    """The command line of `defaults`, with runbooks."""
    made = defaults.parser()
    made.prog, made.description = "python -m benchmarks.index.streaming", __doc__
    made.set_defaults(kinds=KINDS, sets=SETS)
    made.add_argument("--runbooks", nargs="+", choices=[*RUNBOOKS], default=[*RUNBOOKS])
    made.add_argument("--quick", action="store_true", help=f"{QUICK_SIZE:,} words, not {SIZE:,}")
    return made


def main(arguments: Sequence[str]) -> int:
    """Measures, writes, prints; 1 after a mistake of the user's, reported in one line."""
    options = parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    try:
        records = Records(options.out / FILE, "benchmarks.index.streaming", arguments, KEYS)
        run(options, records, defaults.report)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    defaults.report(records_table(options.out))
    for shortfall in shortfalls(read(options.out / FILE)):
        defaults.report(shortfall)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
