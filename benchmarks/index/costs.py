"""What comparing costs: ``python -m benchmarks.index.costs``, some minutes, prints and writes.

Times an exact search, and one in lists at two budgets, in turns, over word sizes, words in use,
metrics and queries: from the two budgets follows the cost of a word in a list, and what a search in
lists costs besides. The constants of `index.hashed` and `index.auto` are from here. Writes
index_costs.json.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness import RESULTS, circumstances, write_json
from benchmarks.tables.markdown import field, table
from index import IndexConfig, VectorIndex, make_index

FILE = "index_costs.json"
SIZES, WORDS = (32, 128, 784), (1024, 4096, 16384, 65536)
ASKED = ((8, 4), (1, 32))  # memories, queries of each
PROBES, K, ROUNDS = (2, 16), 4, 9
_COLUMNS = (
    field("metric", "metric"),
    field("word size", "word_size"),
    field("words", "words", "{:,}"),
    field("memories", "batch_size"),
    field("queries each", "queries"),
    field("exact us", "exact_us", "{:.0f}"),
    field("lists besides us", "besides_us", "{:.0f}"),
    field("a word in a list, x exact", "list_cost", "{:.1f}"),
)


def _cpu_time(run: Callable[[], Any]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def measure(metric: Any, word_size: int, words: int, batch_size: int, queries: int) -> dict:
    """One point of the grid."""
    torch.manual_seed(0)
    given = torch.randn(1, words, word_size).expand(batch_size, -1, -1)
    asked = torch.randn(batch_size, queries, word_size)
    sizes: Any = {"batch_size": batch_size, "capacity": words, "word_size": word_size}

    def made(**options: Any) -> VectorIndex:
        index = make_index(IndexConfig(metric=metric, **options), **sizes)
        index.load(given)
        index.search(asked, K)
        return index

    lists = [made(kind="ivf", exact_below=0, probes=probes) for probes in PROBES]
    indexes = [made(kind="exact"), *lists]
    rounds = [[_cpu_time(lambda i=i: i.search(asked, K)) for i in indexes] for _ in range(ROUNDS)]
    exact, few, many = (statistics.median(times) for times in zip(*rounds, strict=True))
    met = [index.stats().candidates for index in lists]
    each = (many - few) / max(1.0, met[1] - met[0])
    return {
        "metric": metric,
        "word_size": word_size,
        "words": words,
        "batch_size": batch_size,
        "queries": queries,
        "exact_us": 1e6 * exact,
        "besides_us": 1e6 * (few - each * met[0]),
        "list_cost": each * words / exact,
    }


def grid() -> Iterator[dict]:
    """All points that take a moderate time."""
    for metric in ("cosine", "l2"):
        for word_size in SIZES:
            for words in WORDS:
                for batch_size, queries in ASKED:
                    if word_size * words <= 2**24:
                        yield measure(metric, word_size, words, batch_size, queries)


def main(arguments: Sequence[str]) -> None:
    """Measures, writes, prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.index.costs", description=__doc__)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder to write to")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    results = circumstances("benchmarks.index.costs", arguments)
    results["entries"] = list(grid())
    write_json(options.out / FILE, results)
    print(table(_COLUMNS, results["entries"]))
    print(options.out / FILE)


if __name__ == "__main__":
    main(sys.argv[1:])
