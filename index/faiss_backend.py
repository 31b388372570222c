"""FAISS behind the contract of this package: any factory string, on words that change."""

import copy
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from index.config import IndexConfig
from index.faiss_factory import Recipe, import_faiss
from index.faiss_memory import AppendedMemory, FaissMemory, ListMemory, memory_for
from index.neighbors import IndexStats, Neighbors
from index.recall_costs import LookCosts
from index.recall_looks import Look
from index.recall_tuner import RecallTuner
from index.stored import StoredIndex

_EXACT_BELOW = 4096
_WORDS_PER_CENTROID = 16
# Learned anew when a memory has grown by this factor,
_GROWTH = 2
# or when this share of the words was replaced and the error has grown by this factor.
_REPLACED, _WORSE = 0.5, 1.1
_SAMPLE = 1024  # words looked at for it
# Fetched for each word asked for, from an index that approximates the words.
_FETCH = 8
# The largest number in words for FAISS: sums of squares must not overflow in float32, since a NaN
# distance makes FAISS access a list that does not exist, which stops the process.
_LARGEST = 1e15

Made = tuple[FaissMemory, int, float | None]
"""The index of a memory, from how many words it was made, and how badly they fitted."""


class FaissIndex(StoredIndex):
    """One FAISS index for each memory, over the words in use.

    The kind ``"faiss"`` follows the number of words (see `Recipe`); ``"faiss:<factory string>"`` is
    what the string says: IVF1024,Flat, IVF256,SQ8, IVF64,PQ8, OPQ8,IVF64,PQ8, HNSW32, Flat, SQ8,
    PQ8, LSH and others. FAISS chooses the slots, in float32; scores are computed from the true
    words in the dtype of this index.

    Until there are enough words to learn from, all of them are compared, and `searching` says
    "exact". Enough are `exact_below`, 4096 unless given, but no fewer than the index has centroids
    to learn; of a factory string, unless given, at least 16 for each centroid, and no more than
    half the capacity if that suffices. After that a memory's index is rebuilt from its words

    - when it has twice as many words as when it was trained,
    - when they have drifted: with `refresh_after` once so many times the words it had then have
      been replaced; without it as soon as half of them have been and the words in use lie a tenth
      farther from the centroids of its inverted file than then, or if it has none, all of them,
    - when it holds more stale words than live ones: removed ones, and in an index whose words
      cannot be replaced (HNSW and all that is neither an inverted file nor a row of codes)
      replaced ones too, which a warning at construction says.

    This costs one pass of training and adding, O(1) for each word put since the last time: about
    1 us a word for the rule's inverted file. A factory string that asks for more centroids than
    there ever are words leaves the search exact.

    FAISS has no batch of indexes: here, and nowhere else in this package, a Python loop goes over
    the memories, at a few us each. On another device than the CPU every update and search waits
    for it and carries words and slots to and fro.

    An inverted file is searched for a recall: as many lists are probed as that takes, see
    `index.recall_tuner`, unless `probes` is given. Other indexes have no such target.

    Cost: update O(M) words, each compared with the centroids of an inverted file. Search what
    FAISS takes. Bytes: the words twice, here and as FAISS codes them, and for each its place: 16 B,
    in an inverted file 32 B.

    Raises:
        BackendMissingError: FAISS is not installed.
        ValueError: the factory string is not FAISS's, or does not fit word size, metric or options.
    """

    shared_options = frozenset({"probes", "recall", "exact_below", "refresh_after"})
    instead_of: ClassVar[Mapping[str, str]] = {
        "storage": "; FAISS codes words itself, as 'faiss:IVF1024,SQ8' or 'faiss:SQfp16' says",
    }

    def __init__(self, config: IndexConfig, **sizes: Any) -> None:
        super().__init__(config, **sizes)
        if memory_for(self._recipe.make(0)) is AppendedMemory:
            warnings.warn(
                f"index {self.config.kind!r}: FAISS can neither replace nor remove a word of this "
                "type: each update adds one, and the index is made anew when half is stale",
                stacklevel=4,
            )

    def _build(self) -> None:
        super()._build()
        self._recipe = Recipe.of(self.config, self.word_size)
        self._learns = self._recipe.learns()
        if self.config.refresh_after is not None and not self._learns:
            raise ValueError(f"refresh_after: not an option of index {self.config.kind!r}")
        self._fetch = _FETCH if self._recipe.lossy() else 1
        self._enough = self._words_needed()
        # All three are empty as long as no memory has enough words.
        self._memories: list[FaissMemory]
        self._learned: list[int]  # words each was made from; 0 where they are too few
        self._fit: list[float | None]  # how badly they fitted
        self._forget_tables()
        self._rebuilds = 0
        self._compared = 0.0
        self._has_lists = self._recipe.has_lists()
        if self._has_lists:
            self._tuner = RecallTuner.of(self.config)
        elif self.config.recall is not None:
            raise ValueError(f"recall: not an option of index {self.config.kind!r}")

    def _words_needed(self) -> int:
        least, given = self._recipe.least(), self.config.exact_below
        if given is not None or self._recipe.factory is None:
            return max(least, _EXACT_BELOW if given is None else given, 1)
        wanted = max(_EXACT_BELOW, _WORDS_PER_CENTROID * least)
        return max(least, min(wanted, self.capacity // 2))

    def resize(self, capacity: int) -> None:
        super().resize(capacity)
        self._enough = self._words_needed()

    @property
    def searching(self) -> str:
        return self.config.kind if any(self._learned) else "exact"

    @property
    def nbytes(self) -> int:
        return super().nbytes + sum(memory.nbytes for memory in self._memories)

    def stats(self) -> IndexStats:
        """As `IndexStats` says; `candidates` by FAISS's counters, which other threads share."""
        candidates = self._in_use if self.searching == "exact" else self._compared
        return super().stats()._replace(candidates=candidates, rebuilds=self._rebuilds)

    def copied(self, device: torch.device) -> Self:
        other = super().copied(device)
        other._memories = copy.deepcopy(self._memories)
        other._learned, other._fit = list(self._learned), list(self._fit)
        return other

    def _forget_tables(self) -> None:
        self._memories, self._learned, self._fit = [], [], []

    def _restore_tables(self) -> None:
        if self._in_use >= self._enough:
            self._start()

    def _take_tables(self, parts: Sequence[tuple[Any, Tensor]]) -> None:
        if not any(index._memories for index, _ in parts):
            self._restore_tables()
            return
        places = [(index, place) for index, memories in parts for place in memories.tolist()]
        self._set_all([self._copied_from(*place, b) for b, place in enumerate(places)])

    def _put_tables(self, memories: Tensor, other: "FaissIndex") -> None:
        if not self._memories:
            self._restore_tables()
            return
        for place, b in enumerate(memories.tolist()):
            made = self._copied_from(other, place, b)
            self._memories[b], self._learned[b], self._fit[b] = made

    def _copied_from(self, index: "FaissIndex", place: int, b: int) -> Made:
        """A copy of the index of a memory elsewhere, whose words memory `b` has; or a new one."""
        if not index._memories:
            return self._made(b)
        memory = copy.deepcopy(index._memories[place])
        memory.make_room(self._room)
        return memory, index._learned[place], index._fit[place]

    def _grow(self, slots: int) -> None:
        super()._grow(slots)
        for memory in self._memories:
            memory.make_room(self._room)

    def _update(self, slots: Tensor, words: Tensor) -> None:
        super()._update(slots, words)
        if not self._memories:
            if self._in_use >= self._enough:
                self._start()
            return
        places, vectors = slots.cpu().numpy(), self._for_faiss(words)
        for b, memory in enumerate(self._memories):
            memory.put(places[b], vectors[b])
            if self._worn(b):
                self._renew(b)
                self._rebuilds += 1

    def _remove(self, slots: Tensor) -> None:
        super()._remove(slots)
        if not self._memories:
            return
        places = slots.cpu().numpy()
        for b, memory in enumerate(self._memories):
            memory.remove(places[b])
            if memory.mostly_stale:
                self._renew(b)
                self._rebuilds += 1

    def _reset(self, rows: Tensor | None) -> None:
        super()._reset(rows)
        if rows is None or self._in_use < self._enough:
            self._forget_tables()
            return
        for b in rows.nonzero().flatten().tolist() if self._memories else ():
            self._renew(b)

    def _search(self, queries: Tensor, k: int) -> Neighbors:
        if self.searching == "exact":  # also when words were removed: FAISS counts in float32
            return self._exact(queries, k)
        count, vectors = min(k * self._fetch, self._in_use), self._for_faiss(queries)
        self._set_probes(queries, k)
        counters = import_faiss().cvar
        before = counters.indexIVF_stats.ndis + counters.hnsw_stats.ndis
        found = [m.search(v, count) for m, v in zip(self._memories, vectors, strict=True)]
        compared = counters.indexIVF_stats.ndis + counters.hnsw_stats.ndis - before
        asked = queries.shape[0] * queries.shape[1]
        scanned = sum(memory.scanned for memory in self._memories) * queries.shape[1]
        self._compared = (compared + scanned) / max(1, asked)
        width = max(slots.shape[1] for slots in found)
        together = np.full((len(found), queries.shape[1], width), -1)
        for row, slots in zip(together, found, strict=True):
            row[:, : slots.shape[1]] = slots
        return self._rescored(queries, torch.from_numpy(together).to(self.device), k)

    def _set_probes(self, queries: Tensor, k: int) -> None:
        """Has inverted files look into as many lists as the recall takes."""
        memories = self._memories
        inverted = [memory for memory in memories if isinstance(memory, ListMemory)]
        if self._tuner is None or not inverted:
            return

        def needed(memory: int, part: Tensor, slots: Tensor) -> Tensor:
            words = self._words[memory, 1 + slots.clamp_min(-1)]
            mine = memories[memory]
            if not isinstance(mine, ListMemory):
                return torch.ones(slots.shape)
            found = mine.needed_probes(self._for_faiss(part[0]), self._for_faiss(words))
            return torch.from_numpy(found)

        lists, asked = inverted[0].lists, queries.shape[0] * queries.shape[1]
        cost = asked * self.word_size * (lists + self._compared)
        costs = LookCosts(float(self.word_size * self._in_use))
        how = {"best": self.best_of, "needed": needed}
        given = {"cost": float(cost), "costs": lambda: costs}
        look = Look.of(self, self._tuner, queries, k, **given, **how)
        if look is not None:
            look.record()
        for memory in inverted:
            memory.set_probes(self._tuner.budget(k))

    def _worn(self, b: int) -> bool:
        """Whether the index of a memory should be rebuilt."""
        memory, learned = self._memories[b], self._learned[b]
        if memory.mostly_stale:
            return True
        if learned == 0:
            return memory.live >= self._enough
        if not self._learns:
            return False
        return memory.live >= _GROWTH * learned or self._drifted(b)

    def _drifted(self, b: int) -> bool:
        memory, fit, after = self._memories[b], self._fit[b], self.config.refresh_after
        if after is not None or fit is None:
            after = 1.0 if after is None else after
            return 0 < after * self._learned[b] <= memory.replaced
        if memory.replaced < _REPLACED * self._learned[b]:
            return False
        memory.replaced = 0
        sample = self._sample(b)
        worse = memory.misfit(sample) if len(sample) else None
        return worse is not None and worse > _WORSE * fit

    def _sample(self, b: int) -> np.ndarray:
        """At most `_SAMPLE` words of a memory, at even distances."""
        slots = self._slots(b)
        step = max(1, -(-len(slots) // _SAMPLE))
        return self._for_faiss(self._words[b, 1:][slots[::step]])

    def _slots(self, b: int) -> Tensor:
        """Where a memory has words."""
        return (self._penalty[b, 1 : 1 + self._in_use] == 0).nonzero().squeeze(1)

    def _start(self) -> None:
        """Makes the indexes of all memories."""
        self._set_all([self._made(b) for b in range(self.batch_size)])

    def _set_all(self, made: list[Made]) -> None:
        self._memories = [memory for memory, _, _ in made]
        self._learned = [learned for _, learned, _ in made]
        self._fit = [fit for _, _, fit in made]

    def _renew(self, b: int) -> None:
        """Rebuilds the index of a memory."""
        self._memories[b], self._learned[b], self._fit[b] = self._made(b)

    def _made(self, b: int) -> Made:
        """The index of a memory made from its words, how many it learned from, how they fit it."""
        slots = self._slots(b)
        words = self._for_faiss(self._words[b, 1:][slots])
        if len(slots) < self._enough:
            index, learned = self._recipe.make_flat(), 0
        else:
            index, learned = self._recipe.make(len(slots)), len(slots)
            if not index.is_trained:
                index.train(words)
        memory = memory_for(index)(index, slots.cpu().numpy(), words, self._room)
        return memory, learned, memory.misfit(self._sample(b)) if learned else None

    def _for_faiss(self, vectors: Tensor) -> np.ndarray:
        """Vectors as FAISS takes them: float32 on the CPU, and none too large."""
        if self.config.metric != "cosine":  # of the cosine they are divided by their lengths
            vectors = vectors.clamp(-_LARGEST, _LARGEST)
        return vectors.to("cpu", torch.float32).contiguous().numpy()
