"""FAISS, hnswlib and usearch with one memory, as a careful user calls them.

They have no recall to ask for but an effort, which a search takes and an update does not depend on.
"""

import importlib
from typing import Any

import numpy as np
import torch
from torch import Tensor

from index import BackendMissingError
from index.faiss_factory import import_faiss
from index.metric import Metric

_INSTALL = "pip install 'sparse-access-memory[bench]'"
# Links of a word in a graph, as the papers and both libraries have them, and the effort of adding.
_LINKS, _BUILD = 16, 128
_GRAPH_EFFORTS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 512)
_PROBES = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
# FAISS compares all words below this many, and learns from so many words for each list, in rounds.
_EXACT_BELOW, _SAMPLES, _ROUNDS = 1024, 128, 10


class RawLists:
    """FAISS's IndexIVFFlat; trained anew at twice the words.

    Places are kept in an array, the fastest, while slots come in order and none is removed, and
    then in a hash table.

    Args:
        metric: as `IndexConfig.metric`.
        capacity: slots.
        word_size: W.
        lists: there are about so many times the square root of the words.
    """

    efforts: tuple[int, ...] = _PROBES

    def __init__(self, metric: Metric, *, capacity: int, word_size: int, lists: int = 4) -> None:
        self._faiss: Any = import_faiss()
        self._faiss.omp_set_num_threads(torch.get_num_threads())
        self._metric: Metric = metric
        self._words = np.zeros((capacity, word_size), np.float32)
        self._held = np.zeros(capacity, bool)
        self._probes, self._trained_on, self._times = _PROBES[0], 0, lists
        self._index: Any = None

    def put(self, slots: Tensor, words: Tensor) -> None:
        places, new = slots.numpy(), _scaled(words, self._metric)
        known = self._held[places]
        self._words[places] = new
        self._held[places] = True
        if int(self._held.sum()) >= 2 * max(self._trained_on, _EXACT_BELOW // 2):
            self._train()
            return
        if self._index is None:
            return
        if known.any():
            self._index.update_vectors(places[known], new[known])
        if not known.all():
            self._add(places[~known], new[~known])

    def remove(self, slots: Tensor) -> None:
        self._held[slots.numpy()] = False
        if self._index is not None:
            self._index.set_direct_map_type(self._faiss.DirectMap.Hashtable)
            self._index.remove_ids(slots.numpy())

    def find(self, queries: Tensor, k: int) -> Tensor:
        asked = _scaled(queries, self._metric)
        if self._index is not None:
            return torch.from_numpy(self._index.search(asked, k)[1])
        held = self._held.nonzero()[0]
        if len(held) == 0:
            return torch.full((len(queries), k), -1)
        _, found = self._faiss.knn(asked, self._words[held], k, metric=self._kind())
        return torch.from_numpy(np.where(found < 0, -1, held[found]))

    def set_effort(self, effort: int) -> None:
        self._probes = effort
        if self._index is not None:
            self._index.nprobe = effort

    def nbytes(self) -> int:
        """Words, ids and places as FAISS holds them; without the copy that training takes."""
        return int(self._held.sum()) * (4 * self._words.shape[1] + 8 + 16)

    def _kind(self) -> Any:
        faiss = self._faiss
        return faiss.METRIC_L2 if self._metric == "l2" else faiss.METRIC_INNER_PRODUCT

    def _train(self) -> None:
        """Learns lists from the words held, and adds them."""
        faiss, width = self._faiss, self._words.shape[1]
        held = self._held.nonzero()[0]
        lists = round(self._times * len(held) ** 0.5)
        flat = faiss.IndexFlatL2 if self._metric == "l2" else faiss.IndexFlatIP
        self._coarse = flat(width)  # FAISS does not keep it alive
        self._index = faiss.IndexIVFFlat(self._coarse, width, lists, self._kind())
        self._index.cp.niter, self._index.cp.min_points_per_centroid = _ROUNDS, 1
        chosen = np.random.default_rng(0).permutation(held)[: _SAMPLES * lists]
        self._index.train(self._words[chosen])
        self._index.set_direct_map_type(faiss.DirectMap.Array)
        self._add(held, self._words[held])
        self._index.nprobe = self._probes
        self._trained_on = len(held)

    def _add(self, places: np.ndarray, words: np.ndarray) -> None:
        faiss, index = self._faiss, self._index
        start = index.ntotal
        if np.array_equal(places, np.arange(start, start + len(places))) and (
            index.direct_map.type == faiss.DirectMap.Array
        ):
            index.add(words)
            return
        index.set_direct_map_type(faiss.DirectMap.Hashtable)
        index.add_with_ids(words, places)


class Hnswlib:
    """hnswlib's graph: a word is replaced by adding under the same label."""

    efforts: tuple[int, ...] = _GRAPH_EFFORTS

    def __init__(self, metric: Metric, *, capacity: int, word_size: int) -> None:
        space = "l2" if metric == "l2" else "ip"
        self._graph: Any = _imported("hnswlib").Index(space=space, dim=word_size)
        self._graph.init_index(capacity, M=_LINKS, ef_construction=_BUILD, random_seed=1)
        self._graph.set_num_threads(torch.get_num_threads())
        self._metric: Metric = metric
        self._width, self._held = word_size, np.zeros(capacity, bool)

    def put(self, slots: Tensor, words: Tensor) -> None:
        self._held[slots.numpy()] = True
        self._graph.add_items(_scaled(words, self._metric), slots.numpy())

    def remove(self, slots: Tensor) -> None:
        self._held[slots.numpy()] = False
        for slot in slots.tolist():
            self._graph.mark_deleted(slot)

    def find(self, queries: Tensor, k: int) -> Tensor:
        count = min(k, int(self._held.sum()))
        found = torch.full((len(queries), k), -1)
        if count:
            labels, _ = self._graph.knn_query(_scaled(queries, self._metric), count)
            found[:, :count] = torch.from_numpy(labels.astype("int64"))
        return found

    def set_effort(self, effort: int) -> None:
        self._graph.set_ef(effort)

    def nbytes(self) -> int:
        """Words, links of the lowest level and labels."""
        return len(self._held) * (4 * self._width + 8 * _LINKS + 4 + 8)


class Usearch:
    """usearch's graph: a word is replaced by removing and adding it."""

    efforts: tuple[int, ...] = _GRAPH_EFFORTS

    def __init__(self, metric: Metric, *, capacity: int, word_size: int) -> None:
        self._graph: Any = _imported("usearch.index").Index(
            ndim=word_size,
            metric="l2sq" if metric == "l2" else "ip",
            dtype="f32",
            connectivity=_LINKS,
            expansion_add=_BUILD,
        )
        self._metric: Metric = metric
        self._held = np.zeros(capacity, bool)

    def put(self, slots: Tensor, words: Tensor) -> None:
        places = slots.numpy()
        known = places[self._held[places]]
        if len(known):
            self._graph.remove(known)
        self._held[places] = True
        self._graph.add(places, _scaled(words, self._metric), threads=torch.get_num_threads())

    def remove(self, slots: Tensor) -> None:
        self._held[slots.numpy()] = False
        self._graph.remove(slots.numpy())

    def find(self, queries: Tensor, k: int) -> Tensor:
        found = torch.full((len(queries), k), -1)
        if self._held.any():
            matches = self._graph.search(_scaled(queries, self._metric), k, threads=1)
            keys = np.atleast_2d(matches.keys).astype("int64")
            counts = np.atleast_1d(matches.counts)[:, None]
            keys = np.where(np.arange(keys.shape[1]) < counts, keys, -1)
            found[:, : keys.shape[1]] = torch.from_numpy(keys)
        return found

    def set_effort(self, effort: int) -> None:
        self._graph.expansion_search = effort

    def nbytes(self) -> int:
        return int(self._graph.memory_usage)


def _scaled(vectors: Tensor, metric: Metric) -> np.ndarray:
    if metric == "cosine":
        vectors = torch.nn.functional.normalize(vectors, dim=-1)
    return vectors.contiguous().numpy()


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise BackendMissingError(
            f"{name}: expected an installed package, got {error}; {_INSTALL}"
        ) from error
