"""Exact search beside one product and one top-k: ``python -m benchmarks.exact_scan``.

Many queries share one memory of many words, or a batch of memories each answer the queries of a
few heads, as in a step of SAM. Both ways search the same words in the same process and rounds, and
must find the same. Writes exact_scan_1.json, named by the number of threads.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

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
from index.scan import scan


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """What is searched, by inner products, in float32."""

    batch_size: int
    words: int
    word_size: int
    queries: int
    k: int = 8


SHARED = tuple(Search(batch_size=1, words=2**20, word_size=w, queries=32) for w in (32, 64))
STEPS = tuple(
    Search(batch_size=8, words=2**exponent, word_size=w, queries=4)
    for w in (32, 64)
    for exponent in (6, 8, 10, 12, 14, 16, 17)
)
QUICK = (Search(batch_size=1, words=2**17, word_size=64, queries=32), STEPS[2])


def measure(search: Search, *, rounds: int) -> dict[str, Any]:
    """Milliseconds of both ways, how many times as fast `scan` is, and whether they agree.

    Args:
        search: sizes.
        rounds: turns of each.

    Returns:
        The sizes, ``plain_ms`` and ``scan_ms`` (spreads), ``times_as_fast`` (spread of the ratio
        round by round), ``same_slots`` (fraction of places with the same slot; ties and rounding
        may differ) and ``largest_difference`` of the scores.
    """
    generator = torch.Generator().manual_seed(0)
    words = torch.randn(search.batch_size, search.words, search.word_size, generator=generator)
    queries = torch.randn(search.batch_size, search.queries, search.word_size, generator=generator)
    penalty = torch.zeros(search.batch_size, search.words)

    def plain() -> tuple[Tensor, Tensor]:
        return (queries @ words.transpose(1, 2)).topk(search.k)

    def ours() -> tuple[Tensor, Tensor]:
        return scan(words, penalty, queries, search.k, "dot")

    # A short search is repeated until a turn is long enough for the clock.
    repeats = max(1, 2**17 // (search.batch_size * search.words))
    things = {"plain": repeated(plain, repeats), "scan": repeated(ours, repeats)}
    times = {name: taken["search"] for name, taken in take_turns(things, rounds=rounds).items()}
    milliseconds = {name: spread([1e3 * t / repeats for t in times[name]]) for name in times}
    (true_scores, true_slots), (scores, slots) = plain(), ours()
    return asdict(search) | {
        "plain_ms": milliseconds["plain"],
        "scan_ms": milliseconds["scan"],
        "times_as_fast": ratio(times["plain"], times["scan"]),
        "same_slots": (slots == true_slots).double().mean().item(),
        "largest_difference": (scores - true_scores).abs().max().item(),
    }


def summary(results: dict[str, Any]) -> str:
    """One line per search."""
    lines = [f"threads: {results['threads']}", "memories  words  size  queries  plain ms  ours ms"]
    for entry in results["searches"]:
        fast = entry["times_as_fast"]
        lines.append(
            f"{entry['batch_size']:8} {entry['words']:6} {entry['word_size']:5} "
            f"{entry['queries']:8} {entry['plain_ms'].median:9.3f} {entry['scan_ms'].median:8.3f}"
            f"  {fast.median:.2f} times as fast ({fast.low:.2f}-{fast.high:.2f}), "
            f"same slots {entry['same_slots']:.4f}"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> None:
    """Measures, writes, prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.exact_scan", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a look: 2 searches, 3 rounds")
    parser.add_argument("--threads", type=positive, default=1, help="threads torch may use")
    parser.add_argument("--rounds", type=positive, help="turns of each, default 21")
    parser.add_argument("--out", type=Path, help="folder to write to")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    rounds = options.rounds or (3 if options.quick else 21)

    results = circumstances("benchmarks.exact_scan", arguments)
    searches = QUICK if options.quick else (*SHARED, *STEPS)
    results["searches"] = [measure(search, rounds=rounds) for search in searches]
    folder = results_folder(options.out, quick=options.quick)
    path = folder / f"exact_scan_{options.threads}.json"
    write_json(path, results)
    print(summary(results))
    print(path)


if __name__ == "__main__":
    main(sys.argv[1:])
