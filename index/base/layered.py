"""An index over a base: what a memory wrote lies over words that it shares with the others."""

from typing import Any, Self

import torch
from torch import Tensor

from index import checks
from index.audit import is_audited
from index.base import layered_files, layered_rows
from index.base.adapted import VectorStore, as_base
from index.base.interface import Base
from index.base.merge import Layers, merge, most_hidden
from index.base.slot_map import SlotMap
from index.base.whole_exchange import WholeExchange
from index.config import IndexConfig
from index.contents import Contents
from index.errors import ShapeError
from index.given import Vectors
from index.metric import full_width
from index.neighbors import IndexStats, Neighbors, empty_neighbors
from index.stored import StoredIndex
from index.vector_index import VectorIndex

# Where memories hide words of the base, 2 k or so many are asked for: a model goes on asking for
# words that it has read. Then so many times as many for queries that are left with fewer than k.
_AT_FIRST, _TIMES = 12, 4


class LayeredIndex(VectorIndex):
    """B memories over one base of n words: slots 0 .. n-1 are the base's until a memory writes.

    A word put to one of those slots, or its removal, hides that word of the base from this memory
    alone. `reset` forgets all words of a memory, those of the base included; `begin` has it see the
    base again and nothing else, as a new index does.

    What the memories wrote lies in an index of the kind that the config says, the overlay, at
    places handed out in the order in which slots come: so bytes follow the most slots that a memory
    has written since it began, never n nor the capacity.

    A search asks the base once for all B Q queries, the overlay for each memory, and merges by
    score. Exact if both are.

    Args:
        config, batch_size, capacity, word_size, device, dtype: as `VectorIndex`.
        base: of the same word size and metric, with at most `capacity` words; or a `VectorStore`.
        overlay: the class registered for the config's kind.

    Raises:
        ShapeError: the base has another word size, or more words than the capacity.
        ValueError: it was made for another metric.

    Cost: a new index and `begin` O(B). An update O(B M) beside what the overlay does. A search that
    of the base for B Q queries and k words, 2 k or 12 where memories hide some, and more only for
    those queries whose nearest words are hidden; and that of the overlay.
    """

    shared_options = frozenset(IndexConfig.__slots__) - {"kind", "metric", "seed", "norm_eps"}

    def __init__(
        self,
        config: IndexConfig,
        *,
        base: Base | VectorStore,
        overlay: type[VectorIndex],
        **sizes: Any,
    ) -> None:
        self.base, self._overlay_type = as_base(base), overlay
        super().__init__(config, **sizes)

    @property
    def options_class(self) -> type | None:  # type: ignore[override]
        return self._overlay_type.options_class

    def _build(self) -> None:
        base, metric = self.base, self.config.metric
        if base.word_size != self.word_size:
            raise ShapeError(
                f"base: expected words of word_size={self.word_size}, got {base.word_size}"
            )
        if base.num_words > self.capacity:
            raise ShapeError(
                f"base: expected at most capacity={self.capacity} words, got {base.num_words}"
            )
        if base.metric != metric:
            raise ValueError(f"base: expected one of metric {metric!r}, got {base.metric!r}")
        self._overlay = self._made_overlay(self.batch_size)
        self._map = SlotMap(self.batch_size, self.device)
        with torch.inference_mode(False):
            every = torch.zeros(self.batch_size, dtype=torch.bool, device=self.device)
        self._hides_all = every  # memories that see nothing of the base
        self._recount()
        self._in_use, self._whole = len(base), WholeExchange()

    def _made_overlay(self, batch_size: int) -> VectorIndex:
        sizes: dict[str, Any] = {"capacity": self.capacity, "word_size": self.word_size}
        kind: dict[str, Any] = {"device": self.device, "dtype": self.dtype}
        return self._overlay_type(self.config, batch_size=batch_size, **sizes, **kind)

    def begin(self, rows: Tensor | None = None) -> None:
        """Has some memories, or all, see the base and nothing of their own.

        Args:
            rows: bool [B]; all unless told.

        Raises:
            ShapeError: `rows` is not bool [B] on the device of the index.
        """
        self.reset(rows)
        if rows is None:
            self._hides_all.fill_(False)
        else:
            self._hides_all.masked_fill_(torch.as_tensor(rows, device=self.device), False)
        self._in_use = max(self._in_use, len(self.base))

    def reset(self, rows: Any = None) -> None:
        super().reset(rows)
        if self.base.in_step:  # others may see it still, and a search takes part in theirs
            self._in_use = max(self._in_use, len(self.base))

    def hidden(self, slots: Tensor) -> Tensor:
        """Whether memories do not see the base at int64 slots [B, M] below n, bool [B, M]."""
        return (self._map.find(slots) >= 0) | self._hides_all.unsqueeze(1)

    @property
    def searching(self) -> str:
        if self._overlay.searching != "exact" or self._hides_all.all():
            return self._overlay.searching
        return self.base.index

    @property
    def nbytes(self) -> int:
        """Bytes held, without those of the base, which others share."""
        return super().nbytes + self._overlay.nbytes

    def stats(self) -> IndexStats:
        """Those of the overlay, with what memories see of the base in `occupancy`."""
        own = self._overlay.stats()
        return own._replace(searching=self.searching, occupancy=self.occupancy, nbytes=self.nbytes)

    def true_neighbors(self, queries: Tensor, k: int) -> Neighbors:
        """The true k best, by comparing every word; see `StoredIndex.true_neighbors`."""
        return self._padded(queries, k, lambda asked, most: self._found(asked, most, exact=True))

    def search_exact(self, queries: Vectors, k: int) -> Neighbors:
        """`search`, by comparing every word of base and overlay."""
        asked, k = self._checked_queries(queries, k)
        found = self.true_neighbors(asked, k)
        return found if self.batched else Neighbors(*(part[0] for part in found))

    def resize(self, capacity: int) -> None:
        super().resize(capacity)
        self._overlay.resize(capacity)

    def copied(self, device: torch.device) -> Self:
        other = super().copied(device)
        other._overlay = self._overlay.copied(device)
        return other

    # Some of the memories; see `index.base.layered_rows`.

    rows = layered_rows.rows
    cat = staticmethod(layered_rows.cat)
    put = layered_rows.put
    row_kind = property(layered_rows.row_kind)

    # The hooks of VectorIndex.

    def _content(self) -> dict[str, Any]:
        return layered_files.content(self)

    def _file_content(self) -> dict[str, Any]:
        raise NotImplementedError(
            "save: expected an index without a base, got one; a state saves what lies over it"
        )

    def _restore(self, given: Contents) -> None:
        layered_files.restore(self, given)

    def _occupancy(self) -> Tensor:
        seen = len(self.base) - self._covered
        return self._overlay._occupancy() + seen.masked_fill(self._hides_all, 0)

    def _grow(self, slots: int) -> None:
        """Nothing: room is made for slots that are written."""

    def _checked_words(self, words: Vectors, count: int | None) -> Tensor:
        checked = super()._checked_words(words, count)
        self._check_storable(checked)
        return checked

    def _check_storable(self, words: Tensor) -> None:
        """Raises NonFiniteError where the overlay cannot keep a word."""
        if isinstance(self._overlay, StoredIndex):
            self._overlay._check_storable(words)

    def _exchange(self, slots: Tensor, words: Tensor, queries: Tensor, k: int) -> Neighbors:
        self._check_storable(words)
        overlay = self._overlay
        if not isinstance(overlay, StoredIndex) or is_audited():
            return super()._exchange(slots, words, queries, k)
        overlay._check_exchange(slots, words, queries, k)
        found = self._whole.exchange(self, slots, words, queries, k)
        if found is not None:
            return found
        bound = self._slot_bound()
        if self.device.type == "cpu":
            checks.check_slot_values(slots, bound, look=True)
        words, queries = words.detach(), queries.detach()
        checks.check_finite_together(words, queries)  # before any slot gets a place
        self._in_use = bound
        places = self._places_for(slots)
        # The overlay's own form of an exchange stores, scales and searches in one call.
        if overlay._in_use:
            near = overlay._exchange(places, words, queries, k)
        else:
            near = empty_neighbors(queries, 0)
        own = Neighbors(*(part.flatten(0, 1) for part in near))
        with full_width(self.device):
            return self._with_base(own, self._scaled_queries(queries), k, exact=False)

    def _scaled_queries(self, queries: Tensor) -> Tensor:
        """`_scaled`, in compiled form where that is used."""
        overlay: Any = self._overlay
        kernels = overlay._kernels() if self.config.metric == "cosine" else None
        if kernels is None:
            return self._scaled(queries)
        return kernels.scaled(queries, float(self.config.norm_eps or 0.0))

    def _update(self, slots: Tensor, words: Tensor) -> None:
        self._overlay._update(self._places_for(slots), words)

    def _places_for(self, slots: Tensor) -> Tensor:
        """The places of slots [B, M], for which the overlay has room."""
        places, overlay = self._placed(slots), self._overlay
        if self._map.most > overlay._in_use:
            overlay._grow(self._map.most)
            overlay._in_use = self._map.most
        return places

    def _placed(self, slots: Tensor) -> Tensor:
        """The places of slots [B, M], after those that are new have got one."""
        with torch.inference_mode(False):
            return self._map.add(slots, len(self.base), self._covered)

    def _recount(self) -> None:
        """Counts how many words of the base each memory hides, after its map has changed."""
        with torch.inference_mode(False):
            self._covered = self._map.count_below(len(self.base))

    def _remove(self, slots: Tensor) -> None:
        places, overlay = self._map.find(slots), self._overlay
        shared = (slots >= 0) & (slots < len(self.base)) & ~self._hides_all.unsqueeze(1)
        if bool((shared & (places < 0)).any()):
            self._placed(slots.masked_fill(~shared, -1))
        # Of a place that was handed out only to hide a word the overlay may not know yet.
        places = places.masked_fill(places >= overlay._in_use, -1)
        if bool((places >= 0).any()):
            overlay._remove(places)

    def _reset(self, rows: Tensor | None) -> None:
        self._overlay.reset(rows)
        self._map.clear(rows)
        self._recount()
        self._whole = WholeExchange()  # it follows slots that are added, not those that go
        if rows is None:
            self._hides_all.fill_(True)
        else:
            self._hides_all.masked_fill_(rows, True)

    def _search(self, queries: Tensor, k: int) -> Neighbors:
        return self._found(queries, k)

    def _found(self, queries: Tensor, k: int, *, exact: bool = False) -> Neighbors:
        """The k best of base and overlay for scaled queries [B, Q, W]."""
        return self._with_base(self._own(queries, k, exact), queries, k, exact=exact)

    def _with_base(self, own: Neighbors, queries: Tensor, k: int, *, exact: bool) -> Neighbors:
        """The k best of base and what overlays found, places and scores [B Q, K]."""
        batch_size, count, width = queries.shape
        flat = queries.reshape(-1, width)
        memories = torch.arange(batch_size * count, device=self.device) // max(1, count)
        most = len(self.base)
        hidden = most_hidden(self._covered, self._hides_all)
        asked = 0 if hidden < 0 else min(k + min(hidden, max(k, _AT_FIRST - k)), most)
        found, short = self._merged(own, flat, memories, k, asked, exact)
        most = min(k + max(hidden, 0), most)
        while self.base.wanted(again := asked < most and bool(short.any())):
            if not again:
                self.base.skip()
                continue
            asked, again = min(_TIMES * asked, most), short.nonzero().squeeze(1)
            some = Neighbors(*(part[again] for part in own))
            better, short[again] = self._merged(some, flat[again], memories[again], k, asked, exact)
            for part, new in zip(found, better, strict=True):
                part[again] = new
        return Neighbors(*(part.view(batch_size, count, k) for part in found))

    def _own(self, queries: Tensor, k: int, exact: bool) -> Neighbors:
        """Places and scores that the overlays find for queries [B, Q, W], [B Q, K], K <= k."""
        overlay: Any = self._overlay
        existing = min(k, overlay._in_use)
        if not existing:
            near = empty_neighbors(queries, 0)
        else:
            by_all = exact and isinstance(overlay, StoredIndex)
            near = (overlay._exact if by_all else overlay._search)(queries, existing)
        return Neighbors(*(part.flatten(0, 1) for part in near))

    def _merged(
        self, own: Neighbors, queries: Tensor, memories: Tensor, k: int, asked: int, exact: bool
    ) -> tuple[Neighbors, Tensor]:
        """The k best of what overlays found and of the first `asked` words of the base.

        Args:
            own: of queries [m, W] of memories [m].

        Returns:
            Slots and scores [m, k]; and which queries have to ask for more, bool [m].
        """
        layers, more = Layers(self._map, self._hides_all), asked < len(self.base)
        if not asked:
            self.base.skip()
            seen = empty_neighbors(queries.unsqueeze(0), 1)
            seen, more = Neighbors(*(part[0] for part in seen)), False
        else:
            seen = self.base.nearest(queries, asked, self._root_eps, exact=exact)
        return merge(own, seen, memories, layers, k, more=more)
