"""An index that looks a query up in a few buckets of words and compares only those."""

from functools import partial
from types import ModuleType
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from index.buckets import Buckets, whole_blocks
from index.drift import Drift
from index.hashing import Hash, LearnInputs, Size
from index.kmeans import SCORES_AT_ONCE
from index.neighbors import IndexStats, Neighbors
from index.rescore import best_candidates
from index.stored import StoredIndex

# An update of at least so many slots a memory, and of a fourth of them, rebuilds the tables.
_BULK_FROM, _BULK_SHARE = 1024, 4


class HashedIndex(StoredIndex):
    """An index with buckets. Its backends differ in `hash_type` only.

    With fewer slots in use than `exact_below` every word is compared. From then on tables are kept,
    sized for the slots in use: they are rebuilt when those have doubled, or shrunk to an eighth,
    or were mostly replaced by one update. What was learned from the words is learned anew

        - when of the n words in use at least n / 2 were replaced since, and the last n / 8 fit
          worse, by a quarter, than those that it was learned from;
        - when at least n / 4 were replaced since, and n / 64 words found all their buckets full;
        - with `refresh_after` instead when so many times n words were replaced.

    Cost, without a loop over the memories and, away from the CPU, without waiting for the device
    except to rebuild tables: an update of M slots takes the hash and O(M (L + W)) a memory, a
    search the hash and O(Q L P size W). Building tables takes O(n) with the hash's cost, amortised
    O(1) of it for each word written. Bytes: the words, 4 L (places + slots), and with L = 1 a
    second copy of the words, in the order of the buckets.

    In compiled form (`index.kernels`) an exchange is two calls of loops around one matrix product,
    by the same rules in the same tables: a word goes to the same place, and either form may go on
    where the other stopped. Only where two numbers are equal to rounding, such as the sides of a
    hyperplane or the distances of two centroids, may they choose differently. Of words that compete
    for a block of places the first one given takes the first free place.
    """

    shared_options = StoredIndex.shared_options | {
        "tables",
        "buckets",
        "bucket_size",
        "probes",
        "exact_below",
        "refresh_after",
    }
    hash_type: ClassVar[type[Hash]]
    """How words are hashed, and the rule for the sizes of the tables."""
    _has_compiled_step = True

    @property
    def searching(self) -> str:
        return self.answers(self._in_use)

    def answers(self, slots: int) -> str:
        """What `searching` says with so many slots in use."""
        given = self.config.exact_below
        few = slots < (self._exact_below() if given is None else given)
        return "exact" if few else self.hash_type.name

    def _exact_below(self) -> int:
        """Where the config does not say it."""
        return self.hash_type.exact_below

    def size(self, slots: int) -> Size:
        """Tables, buckets, places and probes with so many slots in use."""
        slots, config = _power_of_two(slots), self.config
        rule = self.hash_type.rule(slots)
        buckets = rule.buckets
        if config.buckets is not None:  # of the full memory
            full = self.hash_type.rule(_power_of_two(self.capacity))
            buckets = self.hash_type.possible(-(-config.buckets * rule.buckets // full.buckets))
        return Size(
            tables=config.tables or rule.tables,
            buckets=buckets,
            bucket_size=whole_blocks(config.bucket_size or rule.spare * slots / buckets),
            probes=config.probes or rule.probes,
        )

    def _build(self) -> None:
        self._rebuilds = 0
        super()._build()

    def _allocate(self, room: int) -> None:
        super()._allocate(room)
        self._forget_tables()

    def _forget_tables(self) -> None:
        self._buckets: Buckets | None = None
        self._hash: Hash | None = None
        self._sized_for = 0
        self._probed: Tensor | None = None

    def _update(self, slots: Tensor, words: Tensor) -> None:
        rows = self._rows(slots)
        self._put(rows, words)
        bulk = self._is_bulk(slots.shape[1])
        if not bulk and (kernels := self._kernels()):
            self._compiled_step(kernels, slots.contiguous().numpy(), words.contiguous(), 1)
            return
        tables = self._ready(bulk)
        if tables is None or bulk:
            return
        buckets, hashed = tables
        choices = hashed.choices(words)
        real = slots >= 0
        lost = buckets.put(rows, real, words, choices.first, choices.others)
        if choices.error is not None:
            error, count = (choices.error * real).sum(), real.sum()
            if self._drift.due(len(real), real.shape[1], error, count, lost):
                self._rebuild(self._sized_for)

    def _is_bulk(self, count: int) -> bool:
        """Whether an update of so many slots rebuilds the tables."""
        return count >= _BULK_FROM and count * _BULK_SHARE >= self._in_use

    def _compiled_step(
        self, kernels: ModuleType, slots: np.ndarray, vectors: Tensor, k: int
    ) -> Neighbors:
        count, l2 = slots.shape[1], self.config.metric == "l2"
        bulk = self._is_bulk(count)
        tables = self._ready(bulk)
        if tables is None:
            return super()._compiled_step(kernels, slots, vectors, k)
        if bulk:  # the tables were built with the new words
            slots, vectors = slots[:, :0], vectors[:, count:].contiguous()
        found, done = kernels.exchange(*tables, self._flat, slots, vectors, k, l2)
        report = len(slots), slots.shape[1], done.error, done.num_words, done.lost
        if slots.size and tables[1].learned and self._drift.due(*report):
            tables = self._rebuild(self._sized_for)
            queries = vectors[:, count:].contiguous()
            found, done = kernels.exchange(*tables, self._flat, slots[:, :0], queries, k, l2)
        if done.probes.size:
            self._probed = torch.from_numpy(done.probes)
        return found

    def _remove(self, slots: Tensor) -> None:
        super()._remove(slots)
        if self._buckets is not None:
            self._buckets.remove(self._rows(slots))

    def _reset(self, rows: Tensor | None) -> None:
        if rows is None:
            self._allocate(0)
            return
        if self._buckets is not None:
            self._buckets.clear(rows, 1 + self._in_use)
        super()._reset(rows)

    def _search(self, queries: Tensor, k: int) -> Neighbors:
        if kernels := self._kernels():
            none = np.empty((self.batch_size, 0), np.int64)
            return self._compiled_step(kernels, none, queries.contiguous(), k)
        tables = self._ready()
        if tables is None:
            return self._exact(queries, k)
        buckets, hashed = tables
        probes = hashed.probes(queries)
        self._probed, numbers = probes, buckets.number(probes)
        found = best_candidates(
            partial(buckets.look, words=self._flat),
            numbers,
            numbers.shape[1] * buckets.size,
            queries,
            k,
            repeats=buckets.tables,
            metric=self.config.metric,
        )
        return self._neighbors(*found)

    def _ready(self, rebuild: bool = False) -> tuple[Buckets, Hash] | None:
        """Tables that fit the slots in use, or None while those are few."""
        if not self._in_use or self.searching == "exact":  # there is nothing to learn from
            self._forget_tables()
            return None
        slots = _power_of_two(self._in_use)
        fits = self._sized_for // 8 < slots <= self._sized_for
        if rebuild or not fits or self._buckets is None or self._hash is None:
            return self._rebuild(slots)
        return self._buckets, self._hash

    def _rebuild(self, slots: int) -> tuple[Buckets, Hash]:
        """Learns a hash from the words in use and builds tables with all of them."""
        size, used, metric = self.size(slots), self._in_use, self.config.metric
        generator = torch.Generator().manual_seed(self.config.seed)
        count = self.hash_type.sample_size(size, metric)
        chosen = torch.randperm(used, generator=generator)[:count]
        chosen = (chosen + 1).to(self.device)
        occupied = self._penalty == 0
        sample = self._words.index_select(1, chosen), occupied.index_select(1, chosen)
        words = self._words[:, 1 : 1 + used]
        hashed = self.hash_type.learn(size, LearnInputs(metric, *sample, words, generator))
        buckets = Buckets(self.batch_size, size.tables, size.buckets, size.bucket_size, self._flat)
        self._fill(buckets, hashed, used, occupied[:, 1 : 1 + used])
        # Assigned last: if there is not enough memory the tables stay as they were.
        self._buckets, self._hash, self._sized_for = buckets, hashed, slots
        self._probed = None  # buckets that are gone
        self._rebuilds += 1
        return buckets, hashed

    def _fill(self, buckets: Buckets, hashed: Hash, used: int, real: Tensor) -> None:
        """Puts all words in use into fresh tables."""
        step = max(1, SCORES_AT_ONCE // (self.batch_size * hashed.scores))
        words = self._words[:, 1 : 1 + used]
        pieces = zip(words.split(step, 1), real.split(step, 1), strict=True)
        first, errors = zip(*(_first_choices(hashed, *piece) for piece in pieces), strict=True)
        fit = torch.stack(errors).sum() / real.sum().clamp_min(1)
        self._drift = Drift(fit, used, self.config.refresh_after)
        slots = torch.arange(used, device=self.device).expand(self.batch_size, -1)
        left = buckets.fill(self._rows(slots), real, words, torch.cat(first, 1))
        most = int(left.sum(1).max())
        order = left.to(torch.int8).argsort(dim=1, descending=True, stable=True)
        for slots in order[:, :most].split(step, 1) if most and hashed.spills else ():
            words = self._words.gather(1, (slots + 1).unsqueeze(2).expand(-1, -1, self.word_size))
            choices, some = hashed.choices(words), left.gather(1, slots)
            rows = self._rows(slots.masked_fill(~some, -1))
            buckets.put(rows, some, words, choices.first, choices.others)

    def stats(self) -> IndexStats:
        """See `IndexStats`; candidates are those of the last search."""
        buckets = self._buckets
        if buckets is None or self.searching == "exact":
            return super().stats()._replace(rebuilds=self._rebuilds)
        taken = float(buckets.taken()) / buckets.places
        used = torch.arange(self._in_use, device=self.device).expand(self.batch_size, -1)
        rows = self._rows(used)[(self._penalty[:, 1 : 1 + self._in_use] == 0).view(-1)]
        candidates = torch.zeros((), device=self.device)
        if self._probed is not None:
            rows_found = buckets.look(buckets.number(self._probed), self._flat)[0]
            candidates = (rows_found != 0).sum(1).float().mean()
        return IndexStats(
            searching=self.searching,
            occupancy=self.occupancy,
            candidates=float(candidates),
            fill=taken,
            unplaced=int(buckets.unplaced(rows).sum()),
            rebuilds=self._rebuilds,
            nbytes=self.nbytes,
        )


def _power_of_two(slots: int) -> int:
    """Slots rounded up to a power of two, at least 32."""
    return 1 << max(5, (slots - 1).bit_length())


def _first_choices(hashed: Hash, words: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """Buckets of words [B, M, W], and how badly the real ones fit in all."""
    choices = hashed.choices(words)
    error = words.new_zeros(()) if choices.error is None else (choices.error * real).sum()
    return choices.first, error
