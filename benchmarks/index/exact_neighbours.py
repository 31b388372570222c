"""Compiled exact search beside its torch form: ``python -m benchmarks.index.exact_neighbours``.

For growing numbers of words and of neighbours, in the same process and rounds, by the public call:
which loops an index takes in compiled form depends on both. Both forms must find the same scores.
Writes exact_neighbours.json.
"""

import argparse
import gc
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness import (
    circumstances,
    positive,
    ratio,
    repeated,
    results_folder,
    spread,
    take_turns,
    write_json,
)
from index import IndexConfig, make_index
from index.metric import Metric


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """What is searched, in float32."""

    metric: Metric
    words: int
    queries: int
    k: int
    word_size: int = 32


METRICS: tuple[Metric, ...] = ("cosine", "l2")
SEARCHES = tuple(
    Search(metric=metric, words=words, queries=queries, k=k)
    for metric in METRICS
    for words in (100, 1000, 5000, 50_000)
    for queries in (1, 4, 32)
    for k in (1, 10, 100, 300, 1000, 5000)
    if k <= words
)
QUICK = tuple(search for search in SEARCHES if search.words == 1000 and search.queries == 4)


def measure(search: Search, *, rounds: int) -> dict[str, Any]:
    """Milliseconds of both forms, and how many times as long the compiled one takes.

    Args:
        search: sizes.
        rounds: turns of each.

    Returns:
        The sizes, ``compiled_ms`` and ``torch_ms`` (spreads), ``times_as_long`` (spread of the
        ratio round by round) and ``largest_difference`` of the scores.
    """
    generator = torch.Generator().manual_seed(0)
    words = torch.randn(1, search.words, search.word_size, generator=generator)
    queries = torch.randn(1, search.queries, search.word_size, generator=generator)
    # A short search is repeated until a turn is long enough for the clock.
    repeats = max(1, 2**16 // (search.queries * search.words))
    calls, scores = {}, {}
    for form in ("compiled", "torch"):
        config = IndexConfig(metric=search.metric, compiled=form == "compiled")
        index = make_index(config, batch_size=1, capacity=search.words, word_size=search.word_size)
        index.load(words)
        scores[form] = index.search(queries, search.k).scores
        calls[form] = repeated(lambda index=index: index.search(queries, search.k), repeats)
    times = {name: taken["search"] for name, taken in take_turns(calls, rounds=rounds).items()}
    milliseconds = {name: spread([1e3 * t / repeats for t in times[name]]) for name in times}
    return asdict(search) | {
        "compiled_ms": milliseconds["compiled"],
        "torch_ms": milliseconds["torch"],
        "times_as_long": ratio(times["compiled"], times["torch"]),
        "largest_difference": (scores["compiled"] - scores["torch"]).abs().max().item(),
    }


def summary(results: dict[str, Any]) -> str:
    """One line per search."""
    lines = ["metric   words queries     k  compiled ms  torch ms  times as long"]
    for entry in results["searches"]:
        long = entry["times_as_long"]
        lines.append(
            f"{entry['metric']:6} {entry['words']:7} {entry['queries']:7} {entry['k']:5} "
            f"{entry['compiled_ms'].median:12.3f} {entry['torch_ms'].median:9.3f}  "
            f"{long.median:.2f} ({long.low:.2f}-{long.high:.2f})"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> None:
    """Measures, writes, prints."""
    name = "benchmarks.index.exact_neighbours"
    parser = argparse.ArgumentParser(prog=f"python -m {name}", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a look: 1,000 words, 3 rounds")
    parser.add_argument("--rounds", type=positive, help="turns of each, default 11")
    parser.add_argument("--out", type=Path, help="folder to write to")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    gc.freeze()  # what is collected before each turn is what the searches left
    rounds = options.rounds or (3 if options.quick else 11)
    results = circumstances(name, arguments)
    searches = QUICK if options.quick else SEARCHES
    results["searches"] = [measure(search, rounds=rounds) for search in searches]
    gc.unfreeze()
    folder = results_folder(options.out, quick=options.quick)
    path = folder / "exact_neighbours.json"
    write_json(path, results)
    print(summary(results))
    print(path)


if __name__ == "__main__":
    main(sys.argv[1:])
