"""How the FAISS index of a memory is made: factory strings, training, sizes.

FAISS is imported when an index is made, not by `import index`. It must come after torch, which this
package imports first; in the other order two OpenMP pools spin against each other and a call takes
ten times as long.
"""

import importlib
import math
import re
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from index.config import IndexConfig
from index.errors import BackendMissingError
from index.metric import Metric

_INSTALL = "pip install 'sparse-access-memory[faiss]'"
# Of k-means, which is run often here: against FAISS's 256 samples for each centroid and 10
# iterations it takes a sixth of the time, with .03 less recall@8 on 65,536 clustered words.
_SAMPLES = 64
_ITERATIONS = 6
_OPQ_ITERATIONS = 10  # of 50, and half a minute for 10,000 words
_GRAPH_PROBES = 64
# OPQ clusters inside, with a minimum of words per centroid that cannot be set.
_OPQ_LEAST = 39 * 256
# Refused: they cannot add after the first time, lose content in a copy, have ids of their own, or
# compute exact scores, as this package does itself.
_UNFIT = ("IndexNSG", "IndexNNDescent", "IndexLattice", "IndexIDMap", "IndexRefine")
# Codebooks a part of an index may have.
_CODEBOOKS = ("pq", "refine_pq", "rq", "lsq", "prq", "plsq")


def import_faiss() -> ModuleType:
    """Imports FAISS.

    Raises:
        BackendMissingError: it is not installed.
    """
    try:
        return importlib.import_module("faiss")
    except ImportError as error:
        raise BackendMissingError(
            f"faiss: expected an installed package, got {error}; {_INSTALL}"
        ) from error


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """How the FAISS index of a memory is made.

    With a factory string it is that index. Without one it follows the number n of words: an
    inverted file "IVF<lists>,Flat" with about sqrt(n) lists and 4 probes, from 2^17 words on
    2 sqrt(n) and 8, from 2^19 words on 4 sqrt(n) and 16; lists are powers of two.

    Attributes:
        factory: a FAISS factory string; None for the rule.
        metric: how words score; cosine as the inner product of divided words.
        word_size: W.
        probes: lists that a search looks into, or efSearch of a graph; None for the rule's number
            of lists, and 64 for a graph.
        seed: of k-means.

    Raises:
        BackendMissingError: FAISS is not installed.
        ValueError: FAISS does not understand the string, it does not fit the word size or the
            metric, its index cannot follow a memory, or it has no use for `probes`.
    """

    factory: str | None
    metric: Metric
    word_size: int
    probes: int | None
    seed: int

    def __post_init__(self) -> None:
        import_faiss()
        if self.factory is None:
            return
        made = self.make(0)
        inner = innermost(made)
        if type(inner).__name__.startswith(_UNFIT):
            raise self._refused(f"{type(inner).__name__} is of no use for words that change")
        ivf, graph = lists_of(made), graph_of(made)
        if (ivf is not None and ivf.nlist < 1) or (graph is not None and _links(graph) < 4):
            raise self._refused("too few lists or links")  # FAISS would stop the process
        if self.probes is not None and ivf is None and graph is None:
            raise ValueError(f"probes: not an option of index 'faiss:{self.factory}'")

    @classmethod
    def of(cls, config: IndexConfig, word_size: int) -> "Recipe":
        """The recipe that a configuration asks for."""
        _, colon, factory = config.kind.partition(":")
        return cls(
            factory=factory if colon else None,
            metric=config.metric,
            word_size=word_size,
            probes=config.probes,
            seed=config.seed,
        )

    def has_lists(self) -> bool:
        """Whether it is an inverted file whose words can be replaced."""
        return lists_of(self.make(0)) is not None

    def make(self, count: int) -> Any:
        """An empty FAISS index, to be trained on `count` words, with `probes` and quick k-means."""
        lists, probes = rule(count)
        index = self._parsed(f"IVF{lists},Flat" if self.factory is None else self.factory)
        ivf, graph = lists_of(index), graph_of(index)
        if ivf is not None:
            ivf.nprobe = probes if self.probes is None else self.probes
        if graph is not None:
            graph.efSearch = _GRAPH_PROBES if self.probes is None else self.probes
        for part in _learning(index):
            if hasattr(part, "cp"):
                part.cp.seed = self.seed
                part.cp.niter = _ITERATIONS
                part.cp.max_points_per_centroid = _SAMPLES
                part.cp.min_points_per_centroid = 1  # below it FAISS writes to stderr
            if hasattr(part, "do_polysemous_training"):
                part.do_polysemous_training = False  # takes long, for a search that is not used
            if hasattr(part, "niter_pq"):
                part.niter = _OPQ_ITERATIONS
        return index

    def make_flat(self) -> Any:
        """An empty FAISS index that compares every word: for a memory with few of them."""
        return self._parsed("Flat")

    def least(self) -> int:
        """The fewest words FAISS can train this index on: one for each centroid it learns."""
        if self.factory is None:
            return 1  # the rule's lists follow the words
        index = self.make(0)
        if index.is_trained:
            return 1
        needed, ivf = [1], lists_of(index)
        if ivf is not None and not hasattr(import_faiss().downcast_index(ivf.quantizer), "pq"):
            needed.append(ivf.nlist)
        if transforms_of(index):
            needed.append(self.word_size)  # axes to learn
        for part in _learning(index):
            if hasattr(part, "niter_pq"):
                needed.append(_OPQ_LEAST)
            elif hasattr(part, "ksub"):
                needed.append(part.ksub)
            elif hasattr(part, "nbits") and hasattr(part.nbits, "at"):
                needed += [2 ** part.nbits.at(i) for i in range(part.nbits.size())]
        return max(needed)

    def learns(self) -> bool:
        """Whether the index learns from the words, so that it may become out of date."""
        return self.factory is None or not self.make(0).is_trained

    def lossy(self) -> bool:
        """Whether FAISS approximates the words, so that more must be fetched than asked for."""
        return self.factory is not None and not _keeps_words(self.make(0))

    def _parsed(self, factory: str) -> Any:
        faiss = import_faiss()
        metrics = [faiss.METRIC_L2 if self.metric == "l2" else faiss.METRIC_INNER_PRODUCT]
        if self.metric == "cosine":  # of unit words l2 gives the same order, and LSH knows only l2
            metrics.append(faiss.METRIC_L2)
        reason = f"a metric other than {self.metric}"
        for metric in metrics:
            try:
                index = faiss.index_factory(self.word_size, factory, metric)
            except (RuntimeError, MemoryError) as error:
                reason = re.split(r"\.cpp:\d+: ", str(error))[-1]
                continue
            if index.metric_type == metric:
                return index
        raise self._refused(reason)

    def _refused(self, got: str) -> ValueError:
        return ValueError(
            f"kind: expected after 'faiss:' a FAISS factory string for word_size={self.word_size} "
            f"and metric {self.metric!r}, got {self.factory!r}: {got}"
        )


def rule(count: int) -> tuple[int, int]:
    """Lists and probes for a memory of `count` words; see `Recipe`."""
    factor, probes = (1, 4) if count < 2**17 else (2, 8) if count < 2**19 else (4, 16)
    return factor * 2 ** math.floor(math.log2(max(1, count)) / 2 + 0.5), probes


def innermost(index: Any) -> Any:
    """The index itself, without transforms of the words before it."""
    faiss = import_faiss()
    index = faiss.downcast_index(index)
    return faiss.downcast_index(index.index) if hasattr(index, "chain") else index


def transforms_of(index: Any) -> list[Any]:
    """The transforms of the words before the innermost index."""
    if not hasattr(index, "chain"):
        return []
    chain = range(index.chain.size())
    return [import_faiss().downcast_VectorTransform(index.chain.at(i)) for i in chain]


def through(index: Any, params: Any) -> Any:
    """Search parameters of the innermost index as those of the whole."""
    if not hasattr(index, "chain"):
        return params
    return import_faiss().SearchParametersPreTransform(index_params=params)


def lists_of(index: Any) -> Any:
    """The inverted file in an index, or None."""
    inner = innermost(index)
    return inner if isinstance(inner, import_faiss().IndexIVF) else None


def graph_of(index: Any) -> Any:
    """The HNSW graph in an index, or None."""
    inner = innermost(index)
    return inner.hnsw if isinstance(inner, import_faiss().IndexHNSW) else None


def _links(graph: Any) -> int:
    """Links of a word in the lowest level of a graph."""
    upto = graph.cum_nneighbor_per_level
    return upto.at(1) if upto.size() > 1 else 0


def byte_count(index: Any) -> int:
    """Bytes of an index: codes of the words, ids and centroids of lists, links of a graph.

    Spare room in FAISS's lists and learned codebooks are left out.
    """
    faiss = import_faiss()
    index = innermost(index)
    if isinstance(index, faiss.IndexIVF):
        each = index.code_size + 2 * np.dtype(np.int64).itemsize
        return index.ntotal * each + byte_count(index.quantizer)
    if isinstance(index, faiss.IndexHNSW):
        links = index.hnsw.neighbors.size() * 4 + index.hnsw.offsets.size() * 8
        return links + byte_count(index.storage)
    if hasattr(index, "codes"):
        return index.ntotal * index.code_size
    return 0


def _learning(index: Any) -> list[Any]:
    """The parts of an index that learn from words: itself, its transforms, codebooks, centroids."""
    faiss = import_faiss()
    inner = innermost(index)
    parts = [inner, *transforms_of(index)]
    if isinstance(inner, faiss.IndexIVF):
        parts.append(faiss.downcast_index(inner.quantizer))
    if isinstance(inner, faiss.IndexHNSW):
        parts.append(faiss.downcast_index(inner.storage))
    books = [getattr(part, name) for part in parts for name in _CODEBOOKS if hasattr(part, name)]
    return parts + [book for book in books if book is not None]


def _keeps_words(index: Any) -> bool:
    faiss = import_faiss()
    kept = (faiss.IndexFlat, faiss.IndexIVFFlat, faiss.IndexHNSWFlat)
    return not transforms_of(index) and isinstance(innermost(index), kept)
