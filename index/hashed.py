"""An index that looks a query up in a few lists of words and compares only those."""

import functools
from collections.abc import Callable
from types import ModuleType
from typing import ClassVar, ParamSpec, TypeVar

import numpy as np
import torch
from torch import Tensor

from index.contents import Contents
from index.drift import Drift
from index.exact_exchanges import ExactExchanges
from index.given import Vectors
from index.hashed_files import restore_table, table_content
from index.hashing import Choices, Hash, Size
from index.inverted_lists import InvertedLists
from index.list_budget import COMPILED_K, budget_of, least_words, look_costs, search_cost
from index.list_costs import LOOKED_UP, Load, Rest, lists_from, lists_pay, wide_cost
from index.list_exchange import ListExchanges
from index.list_fit import Fit
from index.list_glance import glance_plainly
from index.list_search import completed, search_lists
from index.neighbors import IndexStats, Neighbors, empty_neighbors
from index.recall_looks import Look
from index.recall_tuner import RecallTuner
from index.stored import StoredIndex
from index.table_building import WORD_SCORES, begun_tables, learned_tables
from index.table_filling import Filling, begins_with

P = ParamSpec("P")
T = TypeVar("T")
# An update of at least so many slots a memory, and of a fourth of them, rebuilds the tables.
_BULK_FROM, _BULK_SHARE = 1024, 4
# How much a search counts in what is known of words met beyond the budget.
_SEEN = 0.1


def _lasting(method: Callable[P, T]) -> Callable[P, T]:
    """Tables that are changed in inference mode must be fit to be changed outside of it too."""

    @functools.wraps(method)
    def changed(*args: P.args, **kwargs: P.kwargs) -> T:
        with torch.inference_mode(False), torch.no_grad():
            return method(*args, **kwargs)

    return changed


class HashedIndex(StoredIndex):
    """An index with lists of words. Its backends differ in `hash_type` only.

    With fewer slots in use than `exact_below` every word is compared. From then on tables are kept.
    Where the config does not say it, it is the number of words from which lists pay: 2^18 / W, at
    least 512, under l2 half as many, without compiled forms twice as many (`index.list_costs`);
    with `probes` 256, and 0 in `lsh`.

    A search looks into one list after another, nearest first, until it has met enough words: with
    `probes` as many as so many lists have on the mean, and else as many as were needed for the
    recall, which the index watches itself; see `index.recall_tuner`. A memory with few words is
    searched whole, and so are all where that is cheaper.

    Tables are rebuilt, and what was learned from the words is learned anew, after an update of
    many words, and, unless the hash adapts itself (`Hash.grows`), when the slots in use have
    doubled or shrunk to an eighth, or when the words have drifted:

        - when of the n words in use at least n / 2 were replaced since, and the last n / 8 fit
          worse, by a quarter, than those that it was learned from;
        - when all were replaced, if nothing tells how well they fit;
        - with `refresh_after` instead when so many times n words were replaced.

    Those of a hash that adapts itself are made anew, some words at a time, when many words came
    that lie far from all centroids (`index.list_fit`).

    Cost, without a loop over the memories: an update of M slots takes the hash and O(M (L + W)) a
    memory in compiled form, else O(words in the lists that change); a search the hash and O(words
    met W) a query. Building tables takes O(n) with the hash's cost, amortised O(1) of it for each
    word written. The looks at recall take O(n W) for a query now and then, a tenth of all. Away
    from the CPU updates and searches wait for the device. Bytes: the words, some 12 L a word, and
    with L = 1 a second copy of the words, in the order of the lists, unless `copies` is false: as
    they are kept, or of unit words a quarter of that, as codes (`index.kernels.code_loops`).

    The compiled form (`index.kernels`) works by the same rules on the same tables, and either may
    go on where the other stopped. Only where two numbers are equal to rounding, such as the
    distances of two centroids, may they choose differently, and where `ivf` has so many lists that
    the compiled form looks for those of words in groups.
    """

    shared_options = StoredIndex.shared_options | {
        "storage",
        "tables",
        "buckets",
        "probes",
        "recall",
        "exact_below",
        "refresh_after",
    }
    hash_type: ClassVar[type[Hash]]
    """How words are hashed, and the rule for the sizes of the tables."""
    _has_compiled_step = True
    _always_measured: ClassVar[bool] = False
    """Whether a number of probes leaves it to the measured costs from where on there are tables."""

    @property
    def searching(self) -> str:
        return self.answers(self._in_use)

    def answers(self, slots: int) -> str:
        """What `searching` says with so many slots in use, as far as they alone decide."""
        return "exact" if slots < self.exact_below else self.hash_type.name

    @property
    def exact_below(self) -> int:
        """With fewer slots in use there are no tables."""
        if self.config.exact_below is not None:
            return self.config.exact_below
        if self.config.probes is not None and not self._always_measured:
            return self.hash_type.exact_below
        how = {"l2": self.config.metric == "l2", "compiled": self._kernels() is not None}
        return lists_from(self.word_size, on_cpu=self.device.type == "cpu", **how)

    def size(self, slots: int) -> Size:
        """Tables and lists with so many slots in use."""
        slots, config = _power_of_two(slots), self.config
        rule = self.hash_type.rule(slots)
        lists, length = rule.lists, config.bucket_size
        if config.buckets is not None:  # of the full memory
            full = self.hash_type.rule(_power_of_two(self.capacity))
            lists = self.hash_type.possible(-(-config.buckets * rule.lists // full.lists))
            length = length or max(1, slots // lists)
        elif length is not None:
            lists = max(1, slots // length)
        return Size(config.tables or rule.tables, lists, length)

    def _occupancy(self) -> Tensor:
        return super()._occupancy() if self._lists is None else self._lists.words_in().clone()

    def _build(self) -> None:
        self._rebuilds = 0
        self._rest, self._load = Rest(), Load()
        self.numbers_asked = 0  # of all queries of a search
        self._lists: InvertedLists | None = None
        self._alike = False  # whether all memories have the same words, while they are loaded
        super()._build()
        self._tuner, self._has_lists = RecallTuner.of(self.config), True
        self._forget_tables()

    def _forget_tables(self) -> None:
        self._lists = None
        self._hash: Hash | None = None
        self._drift: Drift | None = None
        self._filling: Filling | None = None  # while there are words in no list
        self._fit: Fit | None = None  # once words were put after the tables were made
        self._beyond = 1.0  # words met, times the budget: more where lists are long
        self._sized_for = 0

    @_lasting
    def _grow(self, slots: int) -> None:
        super()._grow(slots)
        if self._lists is not None:
            self._lists.set_stride(1 + self._room)

    def _update(self, slots: Tensor, words: Tensor) -> None:
        kept = self._storage.encode(words)
        self._keep(self._rows(slots), kept)
        self._insert(slots, self._storage.decode(kept))

    @_lasting
    def _insert(self, slots: Tensor, words: Tensor) -> None:
        """Puts words, which are stored already, as they are kept, into the tables."""
        bulk = slots.shape[1] >= _BULK_FROM and slots.shape[1] * _BULK_SHARE >= self._in_use
        made = self._rebuilds
        tables = self._ready(bulk)
        self._rest.written(slots.shape[1])
        if tables is None or self._rebuilds > made or slots.shape[1] == 0:
            return  # tables just made have all words
        self._load.write(slots.numel())
        self._put_words(slots.contiguous(), words.contiguous())

    def _put_words(self, slots: Tensor, words: Tensor) -> None:
        """Puts words [B, M, W] into the lists chosen for them; the slot -1 is skipped."""
        lists, hashed, real = self._lists, self._hash, slots >= 0
        assert lists is not None and hashed is not None
        if self._kernels() is not None:
            error = hashed.put(lists, self._flat, slots, words)
        else:
            choices = hashed.choices(words)
            numbers, kept = lists.number(choices.lists).flatten(0, 1), real.flatten()
            lists.move(self._rows(slots)[kept], numbers[kept], self._flat)
            error = choices.error
        put, error = int(real.sum()), None if error is None else (error * real).sum()
        self._written(put, error, slots)

    @_lasting
    def _fill_on(self) -> None:
        """Fills tables that are not full yet with some more words."""
        assert self._filling is not None
        if self._filling.go_on(self):
            self._filling = None

    def _choose(self, hashed: Hash) -> Callable[[Tensor], Choices]:
        """What finds the lists of words, in the form to be used now."""
        return hashed.choices if self._kernels() is None else hashed.assigned

    def _written(self, count: int, error: Tensor | None, slots: Tensor | None = None) -> None:
        """Adapts tables to so many words written or removed, of all memories together.

        Args:
            count: how many.
            error: how badly they fit, if the hash says it.
            slots: of some of those that were put, [B, M]; -1 is skipped.
        """
        lists, hashed, drift = self._lists, self._hash, self._drift
        if lists is None or hashed is None:
            return
        if self._tuner is not None:
            cost = float(count * self.word_size * min(hashed.scores, WORD_SCORES))
            self._tuner.count(cost, count / self.batch_size)
        if hashed.grows and self.config.refresh_after is None:
            due = count >= hashed.until_upkeep
            hashed.maintain(lists, self._flat, count, compiled=self._kernels() is not None)
            if slots is not None and self._fills_slowly and self._filling is None:
                self._fit = self._fit or Fit(self)
                if self._fit.is_lost(self, slots, count, look=due):
                    self._rebuild(_power_of_two(self._in_use), at_once=False)
        elif drift is not None and drift.due(count, error):
            self._rebuild(self._sized_for)

    @_lasting
    def _remove(self, slots: Tensor) -> None:
        super()._remove(slots)
        self._rest.written(slots.shape[1])
        if self._lists is not None:
            rows = self._rows(slots)[slots.flatten() >= 0]
            self._lists.remove(rows)
            self._load.write(len(rows))
            self._written(len(rows), None)

    def _reset(self, rows: Tensor | None) -> None:
        if rows is None:
            self._allocate(0)
            self._forget_tables()
            self._rest = Rest()
            if self._tuner is not None:
                self._tuner.forget()
            return
        if self._lists is not None:
            self._lists.clear(rows, 1 + self._in_use)
        super()._reset(rows)

    def _put_tables(self, memories: Tensor, other: "HashedIndex") -> None:
        if self._lists is None:  # made when they are next needed
            return
        mask = torch.zeros(self.batch_size, dtype=torch.bool, device=self.device)
        mask[memories] = True
        self._lists.clear(mask, 1 + self._in_use)
        used = other._in_use
        there = mask.unsqueeze(1) & (self._penalty[:, 1 : 1 + used] == 0)
        slots = torch.arange(used, device=self.device).masked_fill(~there, -1)
        self._insert(slots, self._storage.decode(self._words[:, 1 : 1 + used]))

    def _compiled_step(
        self, kernels: ModuleType, slots: np.ndarray, vectors: Tensor, k: int
    ) -> Neighbors:
        count = slots.shape[1]
        if self._lists is None and self._needs_no_tables(count):
            self._rest.written(count)
            return super()._compiled_step(kernels, slots, vectors, k)
        self._insert(torch.from_numpy(slots), vectors[:, :count])
        return self._padded_to(self._search(vectors[:, count:], min(k, self._in_use)), k)

    def exchanges(self, writes: int, queries: int, k: int) -> ListExchanges | None:
        """See `VectorIndex.exchanges`."""
        self._in_use = self._slot_bound()
        fits = k <= min(COMPILED_K, self._in_use)
        return ListExchanges.of(self, writes, queries, k) if fits else None

    def _needs_no_tables(self, written: int) -> bool:
        """Whether an exchange that writes so many words only compares all of them."""
        in_use = self._in_use
        return self._rest.lasts(in_use, written) or self.answers(in_use) == "exact"

    def exact_exchanges(self, writes: int) -> ExactExchanges | None:
        """See `VectorIndex.exact_exchanges`."""
        return ExactExchanges.of(self, writes)

    @_lasting
    def pack_lists(self) -> None:
        """Makes room in the lists for further words."""
        if self._lists is not None:
            self._lists.make_room()

    @_lasting
    def count_exchanges(
        self, written: int, searches: int, queries: int, cost: float, slots: np.ndarray
    ) -> None:
        """Counts what `ListExchanges` has done.

        Args:
            written: words put into lists, of all memories together.
            searches: how many, with so many queries each, of all memories together.
            cost: of the searches, in multiplications.
            slots: of the words that were put last, [B, M]; -1 is skipped.
        """
        if self._tuner is not None:
            self._tuner.count(cost)
        if written:
            self._load.write(written)
            self._written(written, None, torch.from_numpy(slots))
        if searches:
            self._load.search(queries, searches)

    def _search(self, queries: Tensor, k: int) -> Neighbors:
        tables = self._ready()
        if tables is None or self._filling is not None or queries.shape[1] == 0:
            if self._filling is not None:
                self._candidates = self._in_use
                self._fill_on()
            return self._exact(queries, k)
        lists, hashed = tables
        self._load.search(queries.shape[0] * queries.shape[1])
        budget, look = budget_of(self, lists, hashed, queries, k)
        if self.may_do_without:
            if not self.pays(budget, hashed, queries.shape[1], k):
                return self._without(queries, k, look)
            self._rest = Rest()
        budget = budget if look is None else max(budget, look.words or 0)
        if self._is_compiled(k):
            found = self._search_compiled(lists, hashed, queries.contiguous(), k, budget)
        else:
            scores, rows, self._candidates = search_lists(
                lists, hashed, self._flat, queries, k, budget, self.config.metric
            )
            found = completed(self, lists, queries, self._neighbors(scores, rows))
        self.saw(self._candidates, budget)
        if look is not None:
            look.record(found)
        else:
            self._glance(lists, hashed, queries, found)
        return found

    def _without(self, queries: Tensor, k: int, look: Look | None) -> Neighbors:
        """A search where lists do not pay, which may give them up."""
        found, self._candidates = self._exact(queries, k), self._in_use
        if look is not None:
            look.record_true(found, look_costs(self, queries.shape[1], k).each)
        sure = self._tuner is not None and self._tuner.is_sure(k)
        if sure and self._rest.is_due(self._in_use):
            self._rest.begin(self._in_use)
            self._forget_tables()
        return found

    def _glance(
        self, lists: InvertedLists, hashed: Hash, queries: Tensor, found: Neighbors
    ) -> None:
        """Glances at some of the searches, at what they had to meet for what they found."""
        tuner, k = self._tuner, found.slots.shape[2]
        if tuner is None or not tuner.is_sure(k):
            return
        budget = max(least_words(self, lists, k), tuner.budget(k))
        if tuner.glances.due(search_cost(self, queries.numel(), budget)):
            if self._is_compiled(k):
                needed = hashed.glanced(lists, found)
            else:
                given = lists, hashed, queries, found.slots, budget
                needed = glance_plainly(*given, int(self._first_row[-1]))
            if needed is not None:
                tuner.glance(k, needed)

    def saw(self, met: float, budget: int) -> None:
        """Notes how many words a query has met, in place of those of a budget."""
        self._candidates = met
        self._beyond += _SEEN * (met / budget - self._beyond)

    @property
    def may_do_without(self) -> bool:
        """Whether every word is compared where lists do not pay: unless the config says how."""
        return self._tuner is not None and self.config.exact_below is None

    def _is_compiled(self, k: int) -> bool:
        """Whether lists are searched for k neighbors in compiled form."""
        return k <= COMPILED_K and self._kernels() is not None

    def pays(self, budget: int, hashed: Hash, queries: int, k: int) -> bool:
        """Whether lists are the faster way to that many words, for so many queries a memory."""
        met = int(min(budget, self._in_use) * max(1.0, self._beyond))
        self.numbers_asked = self.batch_size * queries * self.word_size
        sizes = met, hashed.scores, self.numbers_asked, self._in_use
        how = {"l2": self.config.metric == "l2", "compiled": self._is_compiled(k)}
        codes = self._lists is not None and self._lists.holds_codes
        cost = hashed.word_cost * wide_cost(self.word_size, codes=codes)
        cost *= LOOKED_UP if self.config.copies is False else 1.0
        return lists_pay(*sizes, queries=queries, cost=cost, written=self._load.written, **how)

    def _search_compiled(
        self, lists: InvertedLists, hashed: Hash, queries: Tensor, k: int, budget: int
    ) -> Neighbors:
        arrays, l2 = lists.arrays(self._flat), self.config.metric == "l2"
        found = empty_neighbors(queries, k)
        met, short = hashed.find(queries, arrays, budget, l2, found)
        self._candidates = met / max(1, queries.shape[0] * queries.shape[1])
        return completed(self, lists, queries, found) if short else found

    def _ready(self, rebuild: bool = False) -> tuple[InvertedLists, Hash] | None:
        """Tables that fit the slots in use, or None while those are few."""
        few = not self._in_use or self.answers(self._in_use) == "exact"  # nothing to learn from
        if few or self._rest.lasts(self._in_use):
            if self._lists is not None:
                self._forget_tables()
            return None
        fits = self._fits(self._sized_for)
        if rebuild or not fits or self._lists is None or self._hash is None:
            return self._rebuild(_power_of_two(self._in_use), at_once=rebuild)
        return self._lists, self._hash

    def _fits(self, sized_for: int) -> bool:
        """Whether tables made for so many slots still serve those in use."""
        slots = _power_of_two(self._in_use)
        return self.hash_type.grows or sized_for // 8 < slots <= sized_for

    def load(self, words: Vectors) -> None:
        """As `VectorIndex.load`; of words that are the same for all memories it learns once."""
        given = words if isinstance(words, Tensor) and words.dim() == 3 else None
        self._alike = given is not None and given.stride(0) == 0 and given.shape[1] >= self._in_use
        try:
            super().load(words)
        finally:
            self._alike = False

    @_lasting
    def _rebuild(self, slots: int, *, at_once: bool = True) -> tuple[InvertedLists, Hash]:
        """Learns a hash from the words in use and builds tables with all of them, or begins it."""
        begun = self._fills_slowly and not at_once
        if begun:
            built = begun_tables(self, begins_with(self))
        else:
            built = learned_tables(self, slots, alike=self._alike)
        # Assigned last: if there is not enough memory the tables stay as they were.
        self._lists, self._hash, self._drift = built
        self._filling, self._fit = Filling(self._in_use) if begun else None, None
        self._beyond = 1.0
        self._sized_for = slots
        self._rebuilds += 1
        if not begun:
            built.hash.settle(built.lists, self._flat, compiled=self._kernels() is not None)
        if self._tuner is not None:
            self._tuner.forget()
        return built.lists, built.hash

    @property
    def _fills_slowly(self) -> bool:
        """Whether tables may be filled by and by: where comparing every word may do instead."""
        by_writes = self.config.refresh_after is not None
        grows = self.hash_type.grows and not by_writes
        return grows and self.may_do_without and self._kernels() is not None

    def _table_content(self) -> dict[str, Tensor]:
        return table_content(self)

    @_lasting
    def _restore_table(self, given: Contents) -> None:
        restore_table(self, given)

    def stats(self) -> IndexStats:
        """See `IndexStats`; candidates are those of the last search."""
        lists, found = self._lists, super().stats()._replace(rebuilds=self._rebuilds)
        if lists is None:
            return found
        held = int(lists.words_in().sum()) * lists.tables
        fill = held / max(1, int(lists.rooms.sum()))
        return found._replace(candidates=self._candidates, fill=fill)


def _power_of_two(slots: int) -> int:
    """Slots rounded up to a power of two, at least 32."""
    return 1 << max(5, (slots - 1).bit_length())
