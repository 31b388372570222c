"""The words of one memory in one FAISS index: put, removed and found by slot.

FAISS numbers words in the order they come. Two maps lead from slot to number and back, so that an
index which cannot replace a word may add it under a new number: the old one becomes stale, and is
removed from every answer.
"""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from index.faiss_factory import byte_count, import_faiss, innermost, through, transforms_of

_FEWEST_STALE = 32  # so that a memory of three words is not rebuilt all the time
# Where FAISS cannot leave out stale words, up to this many times more are fetched.
_FETCH_MORE = 4


class FaissMemory(ABC):
    """One memory of the batch. What differs is how a word is replaced; see `memory_for`.

    Args:
        index: a trained and empty FAISS index, from here on owned by this object.
        slots: int64 [n], none twice.
        words: their words, float32 [n, W].
        room: every slot to come is below it, until `make_room`.

    Cost: of every call that of FAISS, and O(slots named).
    """

    def __init__(self, index: Any, slots: np.ndarray, words: np.ndarray, room: int) -> None:
        self._index = index
        self._bind()
        self.count = 0  # words in FAISS, stale ones included
        self.stale = 0
        self.replaced = 0  # words since all were put in
        # The last entry of both maps is -1, for slot -1 and number -1.
        self._number_of = np.full(room + 1, -1, np.int64)
        self._slot_of = np.full(1, -1, np.int64)
        self._alive = np.empty(0, np.uint8)  # a bit for each number
        self._filter: Any = None  # FAISS's selector of them
        if len(slots):
            self._append(slots, words)

    @property
    def live(self) -> int:
        """How many words the memory holds."""
        return self.count - self.stale

    @property
    def nbytes(self) -> int:
        """Bytes of FAISS (see `byte_count`) and of the maps."""
        maps = self._number_of.nbytes + self._slot_of.nbytes + self._alive.nbytes
        return byte_count(self._index) + maps

    @property
    def scanned(self) -> int:
        """Words compared with a query that FAISS's counters leave out."""
        return 0

    @property
    def mostly_stale(self) -> bool:
        """Whether it is time to rebuild the index from the words."""
        return self.stale > max(self.live, _FEWEST_STALE)

    def make_room(self, room: int) -> None:
        """Allows slots below `room`."""
        if room >= len(self._number_of):
            self._number_of = _longer(self._number_of, room)

    def put(self, slots: np.ndarray, words: np.ndarray) -> None:
        """Puts words [M, W] at int64 slots [M]: each at most once, -1 skipped."""
        numbers = self._number_of[slots]
        if numbers.min(initial=0) >= 0:  # the usual case in a long run
            self._replace(numbers, slots, words)
            return
        known = numbers >= 0
        new = (slots >= 0) & ~known
        if known.any():
            self._replace(numbers[known], slots[known], words[known])
        if new.any():
            self._append(slots[new], words[new])

    def remove(self, slots: np.ndarray) -> None:
        """Forgets int64 slots [M]: each at most once, -1 and unknown ones skipped."""
        numbers = self._number_of[slots]
        known = numbers >= 0
        if known.any():
            self._forget(numbers[known])
            self._number_of[slots[known]] = -1

    def search(self, queries: np.ndarray, count: int) -> np.ndarray:
        """The slots FAISS finds for queries [Q, W], int64 [Q, >= count], -1 where it finds none."""
        if self.stale == 0:
            _, numbers = self._index.search(queries, count)
        elif (params := self._params()) is not None:
            _, numbers = self._index.search(queries, count, params=params)
        else:
            more = min(self.stale, _FETCH_MORE * count)
            _, numbers = self._index.search(queries, count + more)
        return self._slot_of[numbers]

    def misfit(self, words: np.ndarray) -> float | None:
        """How badly what was learned fits words [M, W] on average; None where FAISS cannot say."""
        return None

    def __getstate__(self) -> dict[str, Any]:
        # The rest holds addresses; FAISS copies and pickles the index itself.
        return {**vars(self), "_target": None, "_transforms": None, "_filter": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._bind()

    @abstractmethod
    def _replace(self, numbers: np.ndarray, slots: np.ndarray, words: np.ndarray) -> None:
        """Puts words in place of those with these numbers."""

    def _bind(self) -> None:
        """Looks up the parts of the FAISS index."""
        self._target = innermost(self._index)
        self._transforms = transforms_of(self._index)

    def _params(self) -> Any:
        """Search parameters that leave out stale words; None where FAISS has none."""
        if self._filter is None:
            selector = import_faiss().IDSelectorBitmap(self._alive)
            self._filter = self._filtering(selector)
        return self._filter

    def _filtering(self, selector: Any) -> Any:
        """Search parameters with a selector; None where FAISS takes none."""
        return None

    def _append(self, slots: np.ndarray, words: np.ndarray) -> None:
        start, end = self.count, self.count + len(slots)
        self._index.add(words)
        if end >= len(self._slot_of):
            room = max(end, 2 * len(self._slot_of))
            self._slot_of = _longer(self._slot_of, room)
            alive = np.full(room // 8 + 1, 255, np.uint8)
            alive[: len(self._alive)] = self._alive
            self._alive, self._filter = alive, None  # which pointed to the old bits
        self._slot_of[start:end] = slots
        self._number_of[slots] = np.arange(start, end)
        self.count = end

    def _forget(self, numbers: np.ndarray) -> None:
        self._slot_of[numbers] = -1
        np.bitwise_and.at(self._alive, numbers >> 3, ~(1 << (numbers & 7)).astype(np.uint8))
        self.stale += len(numbers)


class ListMemory(FaissMemory):
    """An inverted file: `update_vectors` moves a word to its list.

    If the probed lists hold fewer words than asked for, four times as many are probed, until there
    are enough.
    """

    def _bind(self) -> None:
        super()._bind()
        faiss = import_faiss()
        if self._target.direct_map.type == faiss.DirectMap.NoMap:
            self._target.set_direct_map_type(faiss.DirectMap.Array)

    def search(self, queries: np.ndarray, count: int) -> np.ndarray:
        slots = super().search(queries, count)
        if slots.min(initial=0) >= 0:
            return slots
        probes = self._target.nprobe
        while probes < self._target.nlist and _fewer(slots, min(count, self.live)):
            probes *= 4
            selector = import_faiss().IDSelectorBitmap(self._alive)
            params = through(self._index, self._lists(selector, probes))
            slots = self._slot_of[self._index.search(queries, count, params=params)[1]]
        return slots

    @property
    def lists(self) -> int:
        return self._target.nlist

    def set_probes(self, probes: int) -> None:
        """How many lists a query looks into."""
        probes = min(max(1, probes), self._target.nlist)
        if probes != self._target.nprobe:
            self._target.nprobe, self._filter = probes, None  # which has a number of its own

    def needed_probes(self, queries: np.ndarray, words: np.ndarray) -> np.ndarray:
        """How many lists queries [Q, W] have to look into before they find words [Q, k, W]."""
        order = self._target.quantizer.search(self._transformed(queries), self._target.nlist)[1]
        flat = self._transformed(words.reshape(-1, words.shape[2]))
        homes = self._target.quantizer.search(flat, 1)[1].reshape(words.shape[:2])
        return (order[:, None, :] == homes[:, :, None]).argmax(2) + 1

    def misfit(self, words: np.ndarray) -> float:
        """The mean distance to the nearest centroid, or |m| - m.c where products count."""
        words = self._transformed(words)
        near = self._target.quantizer.search(words, 1)[0]
        if self._target.metric_type == import_faiss().METRIC_L2:
            return float(near.mean(dtype=np.float64))
        return float((np.linalg.norm(words, axis=1) - near[:, 0]).mean(dtype=np.float64))

    def _replace(self, numbers: np.ndarray, slots: np.ndarray, words: np.ndarray) -> None:
        self._target.update_vectors(numbers, self._transformed(words))
        self.replaced += len(numbers)

    def _transformed(self, words: np.ndarray) -> np.ndarray:
        for transform in self._transforms:
            words = transform.apply(words)
        return words

    def _filtering(self, selector: Any) -> Any:
        return through(self._index, self._lists(selector, self._target.nprobe))

    def _lists(self, selector: Any, probes: int) -> Any:
        return import_faiss().SearchParametersIVF(sel=selector, nprobe=probes)


class CodeMemory(FaissMemory):
    """An array of codes, each compared with every query: a replaced word's code is overwritten."""

    @property
    def scanned(self) -> int:
        return self.count

    def _replace(self, numbers: np.ndarray, slots: np.ndarray, words: np.ndarray) -> None:
        codes = self._target.codes  # moves when words are added
        view = import_faiss().rev_swig_ptr(codes.data(), codes.size())
        view.reshape(self.count, -1)[numbers] = self._index.sa_encode(words)
        self.replaced += len(numbers)

    def _filtering(self, selector: Any) -> Any:
        faiss = import_faiss()
        if not isinstance(self._target, (faiss.IndexFlat, faiss.IndexScalarQuantizer)):
            return None
        return through(self._index, faiss.SearchParameters(sel=selector))


class AppendedMemory(FaissMemory):
    """Any other index: a replaced word stays behind as a stale one, the new one is added.

    A graph is searched through stale words too, which are left out of the answer; if the same few
    words are replaced over and over it finds little else. From other indexes more is fetched than
    asked for.
    """

    def _replace(self, numbers: np.ndarray, slots: np.ndarray, words: np.ndarray) -> None:
        self._forget(numbers)
        self._append(slots, words)
        self.replaced += len(numbers)

    def _filtering(self, selector: Any) -> Any:
        faiss = import_faiss()
        if not isinstance(self._target, faiss.IndexHNSW):
            return None
        width = self._target.hnsw.efSearch
        return through(self._index, faiss.SearchParametersHNSW(sel=selector, efSearch=width))


def memory_for(index: Any) -> type[FaissMemory]:
    """The class that replaces words in a FAISS index.

    By the exact types that were tested: a derived type may hold more.
    """
    faiss = import_faiss()
    kind = type(innermost(index))
    if kind in (faiss.IndexIVFFlat, faiss.IndexIVFPQ, faiss.IndexIVFScalarQuantizer):
        return ListMemory
    flat = (faiss.IndexFlat, faiss.IndexFlatL2, faiss.IndexFlatIP)
    if kind in (*flat, faiss.IndexPQ, faiss.IndexScalarQuantizer, faiss.IndexLSH):
        return CodeMemory
    return AppendedMemory


def _fewer(slots: np.ndarray, count: int) -> bool:
    """Whether a query [Q, >= count] found fewer than `count` slots."""
    return bool(((slots >= 0).sum(1) < count).any())


def _longer(numbers: np.ndarray, length: int) -> np.ndarray:
    """The map for `length` entries, and a -1 at the end."""
    longer = np.full(length + 1, -1, np.int64)
    longer[: len(numbers) - 1] = numbers[:-1]
    return longer
