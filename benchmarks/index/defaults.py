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
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import torch

from benchmarks.harness import RESULTS, Report, positive
from benchmarks.index.calls import Queries
from benchmarks.index.datasets import SETS, USUAL, load_set, of_metrics
from benchmarks.index.default_run import measure
from benchmarks.index.goals import shortfalls
from benchmarks.index.play import CLOCKS
from benchmarks.index.records import Records, read
from benchmarks.index.rivals import HAS_RECALL, RIVALS, targets_of
from benchmarks.tables.defaults_table import records_table
from index import BackendMissingError
from index.metric import Metric

FILE = "index_defaults.json"
KINDS = ("auto", "ivf", "product", "lsh", "faiss")
KEYS = ("set", "words", "metric", "kind", "target", "queries")


def run(options: argparse.Namespace, records: Records, report: Report) -> None:
    """Measures what was asked for and adds a record for each; says what is left out."""
    if options.recall and not HAS_RECALL:
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
