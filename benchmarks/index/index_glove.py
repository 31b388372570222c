"""The index benchmark on real words: recall and time per query on GloVe, by the cosine."""

import time
from collections.abc import Sequence
from typing import Any

from benchmarks.harness import Lap, Measured, Report, ratio, spread, take_turns
from benchmarks.index.index_room import family_of
from benchmarks.index.index_words import Glove
from index import BackendMissingError, VectorIndex, make_index
from index.bench.comparison import EXACT, search_all
from index.recall_measure import recall_at_k
from index.spelling import parse_index

TOP_K = 10
# The probes are what one turns up until recall is good enough.
INDEXES = (
    EXACT,
    *(f"faiss:IVF512,Flat[probes={probes}]" for probes in (8, 16, 32, 64)),
    *(f"ivf[probes={probes}]" for probes in (8, 16, 32, 64)),
    *(f"lsh[tables=16,probes={probes}]" for probes in (8, 24, 48)),
    *(f"product[probes={probes}]" for probes in (16, 64, 128)),
)
# As many queries at once as a model with 8 memories and 4 heads has.
_AT_ONCE = 32
# Queries that are timed; recall is that of all.
_TIMED = 256
# Stored cosines were summed in double precision.
_ROUNDING = 1e-5


def measure(glove: Glove, specs: Sequence[str], *, rounds: int, report: Report) -> dict[str, Any]:
    """Recall@10 and milliseconds per query of each index, in turns.

    Args:
        glove: one memory, its queries and their exact answers.
        specs: as `index.spelling.parse_index` reads them; exact search is always measured.
        rounds: turns of each.
        report: takes a line about each index that is left out.

    Returns:
        Sizes, and ``indexes`` with ``build_seconds``, ``ms_per_query``, ``to_exact``,
        ``recall_1``, ``recall_k``, ``candidates`` and bytes.

    Raises:
        ValueError: a spec cannot be read, or an index refuses its options.
    """
    indexes, built = {}, {}
    for spec in dict.fromkeys((EXACT, *specs)):
        start = time.perf_counter()
        try:
            indexes[spec] = _loaded(glove, spec)
        except BackendMissingError as error:
            report(f"{spec}: left out; {error}")
            continue
        built[spec] = time.perf_counter() - start
    things = {name: _timed(glove, index) for name, index in indexes.items()}
    times = {name: phases["total"] for name, phases in take_turns(things, rounds=rounds).items()}
    words, count = glove.words.shape[1], min(_TIMED, glove.queries.shape[1])
    records = []
    for name, index in indexes.items():
        found = search_all(index, glove.queries, TOP_K, at_once=_AT_ONCE)
        first, all_k = (
            float(recall_at_k(found, glove.truth, k, eps=_ROUNDING).mean()) for k in (1, TOP_K)
        )
        stats = index.stats()
        records.append(
            {
                "name": name,
                "family": family_of(name),
                "build_seconds": built[name],
                "ms_per_query": spread([1e3 * seconds / count for seconds in times[name]]),
                "to_exact": ratio(times[name], times[EXACT]),
                "recall_1": first,
                "recall_k": all_k,
                "candidates": stats.candidates,
                "nbytes": stats.nbytes,
                "extra_bytes_per_word": stats.nbytes / words - 4 * glove.words.shape[2],
            }
        )
    sizes = {"memory_size": words, "word_size": glove.words.shape[2], "top_k": TOP_K}
    return sizes | {"queries": glove.queries.shape[1], "at_once": _AT_ONCE, "indexes": records}


def _loaded(glove: Glove, spec: str) -> VectorIndex:
    _, count, word_size = glove.words.shape
    index = make_index(parse_index(spec), batch_size=1, capacity=count, word_size=word_size)
    index.load(glove.words)
    return index


def _timed(glove: Glove, index: VectorIndex) -> Measured:
    queries = glove.queries[:, :_TIMED]

    def run(lap: Lap) -> None:
        search_all(index, queries, TOP_K, at_once=_AT_ONCE)
        lap("search")

    return run
