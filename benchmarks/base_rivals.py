"""What libraries reach on the words of a base: ``python -m benchmarks.base_rivals``.

Clustered words as in `benchmarks.base_memory`, the same for all; 32 queries a call, as a step with
8 memories and 4 heads asks; the 4 nearest are wanted. Each index of FAISS, in memory, takes the
least effort that finds nine tenths of them: lists looked into, or words kept in view in a graph;
candidates of short codes are compared with the true words, as many as that takes. Inverted files
that find their lists by a graph get the centroids of the base `ivf`. A base, mapped from its files,
has chosen its effort when it was built. All take turns with a step of an LSTM cell. Writes
base_rivals.json; with ``--add`` sizes in the file stay.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmarks.base_made import WORD_SIZE, made, words_of
from benchmarks.base_memory import BATCH, QUERIES, K, lstm_step
from benchmarks.harness import (
    RESULTS,
    circumstances,
    marked,
    positive,
    ratio,
    repeated,
    spread,
    take_turns,
    write_json,
)
from benchmarks.index.play import CLOCKS
from index.base.exact_scan import best_rows
from index.bench.word_sources import QUERY_NOISE, copies
from index.faiss_factory import graph_of, import_faiss, rule
from index.metric import unit

SIZES, BASES = (10**5, 10**6, 10**7), ("ivf", "product", "faiss")
RECALL, CALLS, MEASURED = 0.9, 64, 16  # calls in a turn, and calls that recall is measured with
FILE = "base_rivals.json"
_EFFORTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
_AGAIN = (4, 8, 16, 32)  # candidates for each neighbor, where codes are short
_SAMPLE = 64  # words that each centroid is learned from
_MOST_TRAINED = 10**6  # words, above which FAISS takes longer than minutes to learn, or for a graph


class Rival(NamedTuple):
    """An index that was built, and asked with the least effort that is enough."""

    name: str
    seconds: float  # to build
    nbytes: int
    effort: int | str  # lists or words in view; candidates compared with true words
    recall: float
    search: Callable[[np.ndarray], Any]


def factories(count: int, lists: int) -> Iterator[str]:
    """Strings of FAISS for so many words, where the base has so many lists."""
    if count <= _MOST_TRAINED:
        yield f"IVF{rule(count)[0]},Flat"
    yield f"IVF{lists}_HNSW32,Flat"
    yield f"IVF{lists}_HNSW32,SQ8"
    yield f"IVF{lists}_HNSW32,PQ16x4fs,RFlat"
    if count <= _MOST_TRAINED:
        yield "HNSW16,Flat"
        yield "HNSW32,Flat"


def rival(
    factory: str, words: np.ndarray, calls: np.ndarray, true: np.ndarray, centroids: np.ndarray
) -> Rival:
    """An index of FAISS over unit words [n, W], with its least effort for calls [c, q, W].

    Lists that a graph finds are those of the centroids [n, W], which need not be learned again; of
    fewer lists as many of them, drawn at random.
    """
    faiss = import_faiss()
    started = time.perf_counter()
    index = faiss.index_factory(words.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
    if not index.is_trained:
        inverted = faiss.extract_index_ivf(index)
        inverted.cp.niter, inverted.cp.min_points_per_centroid = 6, 1
        inverted.cp.max_points_per_centroid = _SAMPLE
        if "_HNSW" in factory:
            some = np.random.default_rng(1).permutation(len(centroids))[: inverted.nlist]
            inverted.quantizer.add(centroids[np.sort(some)])
        order = np.random.default_rng(0).permutation(len(words))
        index.train(words[order[: _SAMPLE * min(inverted.nlist, 2**13)]])
    index.add(words)
    seconds = time.perf_counter() - started
    nbytes = len(faiss.serialize_index(index))
    recall, effort, again = 0.0, 1, 1
    for again in _AGAIN if factory.endswith("RFlat") else (1,):
        before = 0.0
        for effort in _EFFORTS:
            _set_effort(index, effort, again)
            recall = recall_of([index.search(call, K)[1] for call in calls[:MEASURED]], true)
            if recall >= RECALL or (again > 1 and recall < before + 0.002):
                break
            before = recall
        if recall >= RECALL:
            break
    told = effort if again == 1 else f"{effort}, {again} K"
    name = f"faiss {factory}"
    return Rival(name, seconds, nbytes, told, recall, lambda call: index.search(call, K))


def _set_effort(index: Any, effort: int, again: int) -> None:
    faiss = import_faiss()
    if hasattr(index, "k_factor"):
        index.k_factor = again
    inverted = faiss.try_extract_index_ivf(index)
    if inverted is None:
        if (graph := graph_of(index)) is not None:
            graph.efSearch = max(K, effort)
        return
    inverted.nprobe = effort
    quantizer = faiss.downcast_index(inverted.quantizer)
    if hasattr(quantizer, "hnsw"):
        quantizer.hnsw.efSearch = max(16, 2 * effort)


def own(
    folder: Path, kind: str, count: int, dtype: str, calls: np.ndarray, true: np.ndarray
) -> Rival:
    """A base, searched as a state searches it."""
    base, record = made(folder, kind, count, dtype)
    root_eps = torch.zeros(())

    def search(call: np.ndarray) -> Any:
        near = base.nearest(torch.from_numpy(call), K, root_eps)
        return near.scores, near.slots.numpy()

    recall = recall_of([search(call)[1] for call in calls[:MEASURED]], true)
    effort = base.tables.get("budget", base.tables.get("probes", 0))
    seconds = record["build_seconds"]
    return Rival(f"base {kind}", seconds, base.nbytes, int(effort), recall, search)


def recall_of(found: list[np.ndarray], true: np.ndarray) -> float:
    """The share of true neighbors [m, K] that were found by the first calls."""
    slots = np.concatenate(found)
    return float((slots[:, :, None] == true[:, None, :]).any(1).mean())


def true_neighbors(words: Tensor, queries: Tensor) -> np.ndarray:
    """The true K best of unit words [n, W] for queries [m, W]."""
    best, rows = queries.new_full((len(queries), K), -torch.inf), torch.full((len(queries), K), -1)
    for start in range(0, len(words), 2**18):
        near = (queries @ words[start : start + 2**18].T).topk(K)
        both = torch.cat((best, near.values), 1), torch.cat((rows, near.indices + start), 1)
        best, rows = best_rows(*both, K)
    return rows.numpy()


def measure(options: argparse.Namespace, count: int, folder: Path) -> Iterator[dict[str, Any]]:
    """A record for each index of so many words."""
    words = torch.cat([unit(piece, torch.zeros(())) for piece in words_of(count)])
    generator = torch.Generator().manual_seed(1)
    asked = torch.randint(count, (CALLS, BATCH * QUERIES), generator=generator)
    queries = unit(copies(words[asked], QUERY_NOISE, generator=generator), torch.zeros(()))
    true = true_neighbors(words, queries[:MEASURED].flatten(0, 1))
    calls, rivals = queries.numpy(), []
    tables: Any = made(folder, "ivf", count, options.dtype)[0]._opened.tables
    centroids = (tables.hashed.centroids + tables.hashed.center[0]).numpy()
    for kind in options.index:
        rivals.append(own(folder, kind, count, options.dtype, calls, true))
        print(f"{count:,} {rivals[-1].name}: {rivals[-1].seconds:.0f} s", flush=True)
    for factory in options.factory or factories(count, len(centroids)):
        rivals.append(rival(factory, words.numpy(), calls, true, centroids))
        print(f"{count:,} {rivals[-1].name}: {rivals[-1].seconds:.0f} s", flush=True)

    def all_calls(one: Rival) -> Callable[[], None]:
        def run() -> None:
            for call in calls:
                one.search(call)

        return run

    things = {one.name: repeated(all_calls(one), 1) for one in rivals}
    things["lstm"] = repeated(lstm_step(), CALLS)
    times = take_turns(things, rounds=options.rounds, clock=CLOCKS[options.clock])
    cell = times["lstm"]["search"]
    for one in rivals:
        taken = times[one.name]["search"]
        yield {
            "words": count,
            "index": one.name,
            "build_seconds": one.seconds,
            "bytes_a_word": one.nbytes / count,
            "effort": one.effort,
            "recall": one.recall,
            "call_ms": spread([1e3 * t / CALLS for t in taken]),
            "times_lstm_cell": ratio(taken, cell),
            "clock": options.clock,
        }


def line(one: dict[str, Any]) -> str:
    """What an index took."""
    times = f"{one['call_ms'].median:.3f} ms, {one['times_lstm_cell'].median:.1f} cells"
    return f"{one['words']:>11,} {one['index']:32} {times}, recall {one['recall']:.3f}"


def main(arguments: Sequence[str]) -> None:
    """Measures, writes, prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.base_rivals", description=__doc__)
    parser.add_argument("--words", type=positive, nargs="+", default=SIZES, help="numbers of words")
    parser.add_argument("--index", nargs="*", default=BASES, help="kinds of bases")
    parser.add_argument("--factory", nargs="+", help="strings of FAISS, default a list of them")
    parser.add_argument("--dtype", default="float16", help="how bases keep words")
    parser.add_argument("--rounds", type=positive, default=15, help="turns of each")
    parser.add_argument("--threads", type=positive, default=1, help="threads of torch and FAISS")
    parser.add_argument("--clock", choices=[*CLOCKS], default="wall", help="cpu on a busy machine")
    parser.add_argument("--folder", type=Path, help="where bases are left, and found again")
    parser.add_argument("--add", action="store_true", help="to the sizes in the file of results")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder to write to")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    import_faiss().omp_set_num_threads(options.threads)
    file = options.out / FILE
    results = circumstances("benchmarks.base_rivals", arguments)
    results["calls"] = {"queries": BATCH * QUERIES, "k": K, "word_size": WORD_SIZE}
    told = json.loads(file.read_text()) if options.add else {"found": []}
    before = marked(told["found"], told) if options.add else []
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as name:
        for count in options.words:
            found = marked([*measure(options, count, options.folder or Path(name))], results)
            print("\n".join(map(line, found)), flush=True)
            new = {(one["words"], one["index"]) for one in found}
            before = [one for one in before if (one["words"], one["index"]) not in new] + found
            results["found"] = sorted(before, key=lambda one: one["words"])
            write_json(file, results)
    print(file)


if __name__ == "__main__":
    main(sys.argv[1:])
