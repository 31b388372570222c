"""What known indexes need for the searches of a full memory alone.

    python -m benchmarks.full_memory_searches --memory-size 65536 1048576

A SAM runs on a full memory (`benchmarks.full_memory`) and its queries are kept. FAISS and
hnswlib get the words of one of its memories, and all queries of a step at once: less than a step
asks, since there the memories differ, and words change. Each takes the least effort that has a
recall of `--recall` for those queries. Its searches are timed in turns with the LSTMCell loop,
nothing else of a step with them. Writes full_memory_searches.json.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.base_rivals import recall_of
from benchmarks.full_memory import LSTM, SIZES, FullMemory
from benchmarks.harness import (
    RESULTS,
    Lap,
    circumstances,
    positive,
    ratio,
    spread,
    take_turns,
    write_json,
)
from benchmarks.workload import Workload
from index import Audit, IndexConfig, Neighbors, make_index
from index.faiss_factory import import_faiss

K = 4
_PROBES = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
_WIDTHS = (8, 16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
_LINKS, _BUILD = 16, 80  # of graphs
Find = Callable[[np.ndarray], np.ndarray]


class _Queries(Audit):
    """Keeps the queries of each search."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def record(self, searched: Any, queries: Tensor, k: int, found: Neighbors) -> None:
        self.seen.append(queries.detach().clone())


def words_and_queries(workload: Workload, size: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Words [N, W] of the first memory and queries [steps, B H, W], all of length 1.

    The queries are those of the last steps.
    """
    full = FullMemory(workload, size, "ivf")
    state = full.state
    chunks = -(-steps // workload.steps)
    with torch.no_grad():
        for _ in range(4):  # until the memory is as the model writes it
            _, state = full.model(full.inputs, state)
        with _Queries() as queries:
            for _ in range(chunks):
                _, state = full.model(full.inputs, state)
    asked = torch.stack(queries.seen[-steps:]).flatten(1, 2)
    return _unit(state.memory.words.words[0]), _unit(asked)


def _unit(vectors: Tensor) -> np.ndarray:
    return torch.nn.functional.normalize(vectors, dim=-1).numpy().copy()


def searches(
    words: np.ndarray, wanted: float
) -> Iterator[tuple[str, Sequence[int], Callable[[int], Find]]]:
    """By name the efforts to try, and what makes a search of one; each is built when it is due.

    `ivf` finds its effort itself.
    """
    sizes = {"capacity": len(words), "word_size": words.shape[1]}
    own = make_index(IndexConfig(kind="ivf", recall=wanted), **sizes)
    own.load(words)
    yield "ivf", (0,), lambda _: lambda queries: np.asarray(own.search(queries, K)[0])
    faiss: Any = import_faiss()
    faiss.omp_set_num_threads(1)
    count, width = words.shape
    lists = 1 << round(np.log2(6 * count**0.5))
    codes = f"PQ{width // 2}x4fs"
    centroids = None  # learned once
    for factory in (f"IVF{lists},Flat", f"IVF{lists},SQ8", f"IVF{lists},{codes},RFlat"):
        index = faiss.index_factory(width, factory, faiss.METRIC_INNER_PRODUCT)
        inverted = faiss.extract_index_ivf(index)
        inverted.cp.min_points_per_centroid = 1  # no warnings
        if centroids is not None:
            inverted.quantizer.add(centroids)
        chosen = np.random.default_rng(0).permutation(count)[: 40 * lists]
        index.train(words[chosen])
        centroids = inverted.quantizer.reconstruct_n(0, lists)
        index.add(words)
        yield f"faiss {factory}", _PROBES, partial(_lists, faiss, index)
    graph = faiss.IndexHNSWFlat(width, _LINKS, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction = _BUILD
    graph.add(words)
    yield f"faiss HNSW{_LINKS}", _WIDTHS, partial(_graph, graph)
    if find_spec("hnswlib") is None:
        return
    other: Any = import_module("hnswlib").Index("ip", width)
    other.init_index(count, ef_construction=_BUILD, M=_LINKS)
    other.set_num_threads(1)
    other.add_items(words)
    yield f"hnswlib M={_LINKS}", _WIDTHS, partial(_hnswlib, other)


def _lists(faiss: Any, index: Any, probes: int) -> Find:
    faiss.ParameterSpace().set_index_parameter(index, "nprobe", probes)
    if isinstance(index, faiss.IndexRefineFlat):
        index.k_factor = 64  # times k words are compared by their own numbers
    return lambda queries: index.search(queries, K)[1]


def _graph(graph: Any, width: int) -> Find:
    graph.hnsw.efSearch = width
    return lambda queries: graph.search(queries, K)[1]


def _hnswlib(graph: Any, width: int) -> Find:
    graph.set_ef(width)
    return lambda queries: graph.knn_query(queries, K, num_threads=1)[0].astype(np.int64)


def least_effort(
    efforts: Sequence[int],
    make: Callable[[int], Find],
    queries: np.ndarray,
    truth: np.ndarray,
    wanted: float,
) -> tuple[int, float, Find]:
    """The least effort with the recall, or the greatest of all; with its recall and search."""
    make(efforts[0])(queries[0])
    found: list[tuple[int, float, Find]] = []
    for effort in efforts:
        find = make(effort)
        reached = recall_of([find(step) for step in queries], truth)
        found.append((effort, reached, find))
        if reached >= wanted:
            break
    return found[-1]


def measure(workload: Workload, size: int, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Of each index effort, recall, seconds of building, and time to that of the LSTMCell loop."""
    words, queries = words_and_queries(workload, size, options.steps)
    flat: Any = import_faiss().IndexFlatIP(words.shape[1])
    flat.add(words)
    truth = flat.search(queries.reshape(-1, words.shape[1]), K)[1]
    begin = time.perf_counter()
    for name, efforts, make in searches(words, options.recall):
        built = time.perf_counter() - begin
        effort, reached, find = least_effort(efforts, make, queries, truth, options.recall)

        def timed(lap: Lap, find: Find = find) -> None:
            for step in queries:
                find(step)
            lap("search")

        things = {LSTM: workload.lstm_cell_loop().timed, name: timed}
        times = take_turns(things, rounds=options.rounds)
        found = [seconds / len(queries) for seconds in times[name]["total"]]
        loop = [seconds / workload.steps for seconds in times[LSTM]["total"]]
        yield {
            "memory_size": size,
            "index": name,
            "effort": effort,
            "recall": reached,
            "build_seconds": built,
            "ms_per_step": spread([1e3 * seconds for seconds in found]),
            "to_lstm": ratio(found, loop),
        }
        begin = time.perf_counter()


def main(arguments: Sequence[str]) -> int:
    """Measures, writes after each index, prints."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.full_memory_searches",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--memory-size", type=positive, nargs="+", default=SIZES, help="N")
    parser.add_argument("--recall", type=float, default=0.9, help="at 4, of the model's queries")
    parser.add_argument("--steps", type=positive, default=40, help="whose queries are searched")
    parser.add_argument("--rounds", type=positive, default=9)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder to write to")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    results = circumstances("benchmarks.full_memory_searches", arguments)
    results |= {"recall": options.recall, "k": K, "searches": []}
    path = options.out / "full_memory_searches.json"
    for size in sorted(options.memory_size):
        for entry in measure(Workload(steps=20), size, options):
            results["searches"].append(entry)
            write_json(path, results)
            print(
                f"{entry['index']}, N = {size}: effort {entry['effort']}, recall "
                f"{entry['recall']:.3f}, {entry['ms_per_step'].median:.2f} ms, "
                f"{entry['to_lstm'].median:.1f} x LSTMCell",
                flush=True,
            )
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
