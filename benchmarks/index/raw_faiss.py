"""FAISS as a careful user would call it by hand: the yardstick for the indexes of this package."""

from typing import Any

import numpy
import torch
from torch import Tensor

from index import IndexStats, Neighbors
from index.bench.traffic import Setting
from index.faiss_factory import import_faiss

# FAISS warns below 39 training words for each list, and uses no more than 256.
_TRAINING_WORDS_PER_LIST = 64


class RawFaiss:
    """An IndexIVFFlat for each memory in a Python loop, with `update_vectors` over an array map.

    It checks nothing and keeps words in FAISS only. Words and queries are scaled to length 1 here,
    in torch, so that inner products are cosines. It works on memories that are full: words are
    replaced, none is added or removed.

    Args:
        setting: B and W.
        lists: inverted lists of each memory.
        probes: lists that a query looks into.

    Raises:
        BackendMissingError: faiss is not installed.
    """

    def __init__(self, setting: Setting, *, lists: int, probes: int) -> None:
        faiss: Any = import_faiss()
        self._faiss = faiss
        # FAISS counts threads apart from torch where the two do not share an OpenMP library.
        faiss.omp_set_num_threads(torch.get_num_threads())
        self._indexes: list[Any] = []
        for _ in range(setting.batch_size):
            coarse = faiss.IndexFlatIP(setting.word_size)
            index = faiss.IndexIVFFlat(coarse, setting.word_size, lists, faiss.METRIC_INNER_PRODUCT)
            index.nprobe = probes
            index.cp.seed = setting.seed + 1
            index.cp.min_points_per_centroid = 1  # small memories: no warnings
            self._indexes.append((coarse, index))  # FAISS does not keep the quantiser alive
        self._lists, self._probes, self._setting = lists, probes, setting

    def load(self, words: Tensor) -> None:
        """Trains on a sample and adds all words, [B, N, W]."""
        count = words.shape[1]
        sample = torch.arange(min(count, _TRAINING_WORDS_PER_LIST * self._lists)).mul(count)
        sample = sample.div(len(sample), rounding_mode="floor")
        for (_, index), mine in zip(self._indexes, words, strict=True):
            scaled = _scaled(mine)
            index.train(numpy.ascontiguousarray(scaled[sample.numpy()]))
            index.add(scaled)
            index.set_direct_map_type(self._faiss.DirectMap.Array)

    def update(self, slots: Tensor, words: Tensor) -> None:
        """Replaces the words at slots [B, M], none twice in a row, by words [B, M, W]."""
        ids, vectors = slots.numpy(), _scaled(words)
        for (_, index), mine, new in zip(self._indexes, ids, vectors, strict=True):
            index.update_vectors(mine, new)

    def search(self, queries: Tensor, k: int) -> Neighbors:
        """The k best of the lists probed for queries [B, Q, W], best first, -1 where fewer are."""
        found = [
            index.search(mine, k)
            for (_, index), mine in zip(self._indexes, _scaled(queries), strict=True)
        ]
        scores, slots = (torch.from_numpy(numpy.stack(part)) for part in zip(*found, strict=True))
        return Neighbors(slots, scores.masked_fill(slots < 0, -torch.inf))

    def stats(self) -> IndexStats:
        """Bytes of a word, its id and its place in the map; candidates as if lists were equal."""
        sizes = torch.tensor([index.ntotal for _, index in self._indexes])
        held = int(sizes.sum()) * (4 * self._setting.word_size + 16)
        probed = float(sizes.double().mean()) * min(1.0, self._probes / self._lists)
        return IndexStats("faiss", sizes, probed, None, 0, 0, held)


def _scaled(vectors: Tensor) -> numpy.ndarray:
    return torch.nn.functional.normalize(vectors, dim=-1).numpy()
