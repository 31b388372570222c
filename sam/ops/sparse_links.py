"""Temporal links between few words: which was written after which (SAM paper, supplement D.1).

    N_t(i, j) = (1 - w(i)) N_{t-1}(i, j) + w(i) p_{t-1}(j)     i was written after j  (eq. 19)
    P_t       = N_t^T                                                                  (eq. 20)
    p_t       = (1 - sum_i w(i)) p_{t-1} + w

with w = w^W_t and at most K_L links in a row of N, K_L in a row of P and K_L entries in p. The
paper prunes N and P apart; here a link dropped from one is dropped from both, so that P is N^T at
all times. The diagonal is zero, as in the DNC: a word does not follow itself.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from index.contents import Contents
from sam import state_rows
from sam.errors import ShapeError
from sam.ops.link_table import LinkTable
from sam.ops.ranking import add_and_keep, descending, merge_repeats
from sam.ops.sparse import SparseWeights, no_weights


class SparseLinks:
    """The links of B memories and the precedence p, changed in place, without gradients.

    Of equal values those that are not written now are kept first, in their order, then those that
    are, in the order given; see `add_and_keep`.

    Args:
        batch_size: B.
        memory_size: N.
        num_links: K_L.
        device: where the links live.
        dtype: of the strengths.
        decay_sources: also N(i, j) *= 1 - w(j), so that a word that is written anew loses the links
            that leave it, as in the DNC; by the paper it keeps them until they are pruned.

    Cost: an update with J slots takes O(J (J + K_L^2)) time a batch row, following S slots
    O(S K_L), whatever N is. Only a look at slots without `slot_bound` waits for a device.
    Bytes: see `LinkTable`. `sam.fast.compiled_links` updates `table` and `precedence`.
    """

    __slots__ = ("decay_sources", "last_update", "precedence", "table")

    def __init__(
        self,
        batch_size: int,
        memory_size: int,
        num_links: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
        decay_sources: bool = False,
    ) -> None:
        self.table = LinkTable(batch_size, memory_size, num_links, device=device, dtype=dtype)
        # p, how much each word was the last one written, [B, 1, K_L].
        self.precedence = no_weights(batch_size, 1, num_links, device=device, dtype=dtype)
        self.decay_sources = decay_sources
        # The compiled form of `update` that made the last one, for a journal, which repeats it.
        self.last_update: Callable[[SparseLinks, Tensor, Tensor], None] | None = None

    @property
    def capacity(self) -> int:
        """C, the slots that have space."""
        return self.table.capacity

    @property
    def num_links(self) -> int:
        """K_L."""
        return self.table.num_links

    @property
    def nbytes(self) -> int:
        return self.table.nbytes + self.precedence.nbytes

    def reserve(self, slot_bound: int) -> None:
        """Makes room for all slots smaller than `slot_bound`."""
        self.table.reserve(slot_bound)

    def update(
        self,
        slots: Tensor,
        weights: Tensor,
        *,
        slot_bound: int | None = None,
    ) -> None:
        """Links what is written now to what was written before, then renews p.

        Args:
            slots: where is written, int64 [B, J]; a slot given twice counts with the sum of its
                weights, -1 is skipped.
            weights: w^W, their sum at most 1, [B, J]. By the equations they are at least 0; others
                count as they are, but make no link: of the K_L largest strengths none is negative,
                as where there is no link it is 0.
            slot_bound: promise that all slots are smaller, which spares a look at their values.

        Raises:
            ShapeError: the shapes disagree, or a slot is out of range.
        """
        self._check("[B, J]", slots, weights)
        self.reserve(self.table.bound(slots) if slot_bound is None else slot_bound)
        with torch.inference_mode():  # a fifth cheaper than no_grad
            slots, weights = merge_repeats(slots, weights)
            # Weights may exceed 1 by rounding.
            rows, kept = self.table.rows_of(slots), (1 - weights).clamp_(min=0).view(-1, 1)
            if self.decay_sources:
                self._fade(rows, kept)
            again = slots.unsqueeze(2) == self.precedence.slots
            self._leave(self._link(rows, weights, kept, again))
            slots, weights = self._remembered(slots, weights)
        # Tensors of the inference mode are of no use outside of it.
        self.precedence = SparseWeights(slots.clone(), weights.clone())
        self.last_update = None

    def follow(self, slots: Tensor, values: Tensor) -> tuple[SparseWeights, SparseWeights]:
        """Where weights go along the links, onwards and back (eq. 21-22 in their scatter form).

            f = sum_j w(j) P(j, :)        b = sum_j w(j) N(j, :)

        Args:
            slots: of w, each below what was reserved; -1 has no links; int64 [B, R, K].
            values: w, [B, R, K].

        Returns:
            f and b, each [B, R, K K_L]; a slot may come repeatedly, -1 with value 0 for no link.

        Raises:
            ShapeError: the shapes or dtypes disagree.
        """
        self._check("[B, R, K]", slots, values)
        table, count = self.table, self.num_links
        shape = 2, *slots.shape[:2], slots.shape[2] * count
        with torch.inference_mode():
            rows = table.rows_of(slots)
            places = table.outgoing.index_select(0, rows)
            found = torch.cat([table.strengths(places), table.values.index_select(0, rows)])
            found = found.view(2, -1, count).mul_(values.reshape(-1, 1)).view(shape)
            places = torch.cat([places, table.incoming.index_select(0, rows)])
            others = table.slots_at(places).view(shape).masked_fill_(found == 0, -1)
        others, found = others.clone().unbind(), found.clone().unbind()
        return SparseWeights(others[0], found[0]), SparseWeights(others[1], found[1])

    def _check(self, shape: str, slots: Tensor, weights: Tensor) -> None:
        """Checks slots and weights of one shape against the table."""
        batch_size, dtype = self.table.batch_size, self.table.values.dtype
        if slots.shape != weights.shape or slots.shape[:1] != (batch_size,):
            raise ShapeError(
                f"slots, weights: expected one shape {shape} with B={batch_size}, "
                f"got {[*slots.shape]} and {[*weights.shape]}"
            )
        if slots.dtype != torch.int64 or weights.dtype != dtype:
            raise ShapeError(
                f"slots, weights: expected {torch.int64} and {dtype}, "
                f"got {slots.dtype} and {weights.dtype}"
            )

    def to_dense(self) -> Tensor:
        """N as [B, C, C]. For small capacity only."""
        return self.table.to_dense()

    def reset(self, mask: Tensor) -> None:
        """Drops the links and the precedence of the batch rows in `mask`, bool [B].

        Raises:
            ShapeError: the mask is not bool [B] on the device of the links.

        Cost: O(touched slots).
        """
        self.table.reset(mask)
        self.precedence = self.precedence.reset(mask)

    def resize(self, memory_size: int) -> None:
        """Allows more slots, which take no space yet.

        Raises:
            ConfigError: there are fewer slots than before.
        """
        self.table.resize(memory_size)

    @property
    def batch_size(self) -> int:
        return self.table.batch_size

    @property
    def row_kind(self) -> dict[str, Any]:
        """What the links of states that are joined have in common."""
        return {**self.table.row_kind, "decay_sources": self.decay_sources}

    def rows(self, picked: Tensor, slot_bound: int | None = None) -> "SparseLinks":
        """Independent links of some memories, none of which has one from `slot_bound` on."""
        return self._with(
            self.table.rows(picked, slot_bound), state_rows.rows(self.precedence, picked)
        )

    @staticmethod
    def cat(links: Sequence["SparseLinks"]) -> "SparseLinks":
        """Independent links of the memories of several."""
        table = LinkTable.cat([each.table for each in links])
        return links[0]._with(table, state_rows.cat([each.precedence for each in links]))

    def put(self, picked: Tensor, other: "SparseLinks") -> None:
        """Puts the memories of others in the place of some, in place."""
        self.table.put(picked, other.table)
        self.precedence = state_rows.put(self.precedence, picked, other.precedence)

    def clone(self) -> "SparseLinks":
        return self._with(self.table.clone(), self.precedence.clone())

    def to(self, device: torch.device | str) -> "SparseLinks":
        """The links themselves if they live on `device`, otherwise a copy there."""
        if self.table.values.device == torch.empty(0, device=device).device:
            return self
        return self._with(self.table.to(device), self.precedence.to(device))

    def detach(self) -> "SparseLinks":
        return self

    def content(self) -> dict[str, Any]:
        """What a file of the state holds."""
        precedence = {
            f"precedence.{name}": part for name, part in self.precedence._asdict().items()
        }
        return {"decay_sources": self.decay_sources, **self.table.content(), **precedence}

    def restored(self, given: Contents) -> "SparseLinks":
        """Links like these, none so far, as a file says they were.

        Raises:
            FileFormatError: they are of other sizes or settings, or no links.
        """
        given.same("decay_sources", self.decay_sources)
        shape, kind = self.precedence.values.shape, self.precedence.values.dtype
        slots = given.integers("precedence.slots", shape, -1, self.table.memory_size)
        values = given.finite("precedence.values", shape, kind)
        device = self.precedence.values.device
        precedence = SparseWeights(slots.to(device), values.to(device))
        return self._with(self.table.restored(given), precedence)

    def _with(self, table: LinkTable, precedence: SparseWeights) -> "SparseLinks":
        other = object.__new__(SparseLinks)
        other.table, other.precedence = table, precedence
        other.decay_sources, other.last_update = self.decay_sources, self.last_update
        return other

    def __getstate__(self) -> tuple[None, dict[str, Any]]:
        # Without the compiled form, which who loads a pickle may not have.
        kept = "decay_sources", "precedence", "table"
        return None, {name: getattr(self, name) for name in kept}

    def __setstate__(self, state: tuple[None, dict[str, Any]]) -> None:
        self.last_update = None
        for name, value in state[1].items():
            setattr(self, name, value)

    def _fade(self, rows: Tensor, kept: Tensor) -> None:
        """N(:, j) *= 1 - w(j) for the sources j in different rows that are written."""
        table = self.table
        places = table.outgoing.index_select(0, rows)
        values = table.strengths(places).mul_(kept)
        # Every link has one source, so its place comes once.
        table.values.view(-1).index_copy_(0, places.view(-1), values.view(-1))
        # What has faded altogether is no link any more, on neither side.
        gone = values == 0
        table.outgoing.index_copy_(0, rows, places.masked_fill(gone, 0))
        places.masked_fill_(gone.logical_not_(), 0)
        table.incoming.view(-1).index_fill_(0, places.view(-1), 0)

    def _link(self, rows: Tensor, weights: Tensor, kept: Tensor, again: Tensor) -> Tensor:
        """N(i, :) = (1 - w(i)) N(i, :) + w(i) p, the K_L largest, in different rows [B J].

        Args:
            rows: of the slots i written, [B J].
            weights: w(i), [B, J].
            kept: 1 - w(i), [B J, 1].
            again: which entry of p each slot is, bool [B, J, K_L].

        Returns where the links from the K_L entries of p now stand in the rows of the slots,
        [B, J, K_L], 0 for none.
        """
        table, (before, shares) = self.table, self.precedence
        count, old = self.num_links, table.incoming.index_select(0, rows)
        # A word does not follow itself.
        new = (weights.unsqueeze(2) * shares).masked_fill_(again, 0.0)
        # Links that are there already, [B, J, K_L old ones, K_L entries of p].
        known = table.slots_at(old).view(*weights.shape, count, 1) == before.unsqueeze(2)
        known = known.to(new.dtype).view(-1, count, count)
        values = table.values.index_select(0, rows).mul_(kept)
        total = torch.baddbmm(new.view(-1, 1, count), values.unsqueeze(1), known)
        values.addcmul_(values, known.sum(2), value=-1)
        values, order = descending(torch.cat([values, total.squeeze(1)], 1))
        values, order = values.narrow(1, 0, count), order.narrow(1, 0, count)
        table.values.index_copy_(0, rows, values)
        places = table.data_addresses(rows).masked_fill_(values == 0, 0)
        places = places.new_zeros(len(rows), 2 * count).scatter_(1, order, places)
        stay = places.narrow(1, 0, count).reshape(-1)
        table.outgoing.view(-1).index_copy_(0, old.view(-1), stay)
        table.incoming.index_fill_(0, rows, 0)
        table.incoming.view(-1).index_copy_(0, stay, old.view(-1))
        return places.narrow(1, count, count).view(*weights.shape, count)

    def _leave(self, places: Tensor) -> None:
        """Keeps the K_L largest links from each entry of p: those it had, those at `places`."""
        table, count, new = self.table, self.num_links, places.shape[1]
        rows = table.rows_of(self.precedence.slots)
        # Those it had to a slot written now were dropped, or stand at the new places.
        old = table.outgoing.index_select(0, rows).view(-1, count, count)
        places = torch.cat([old, places.transpose(1, 2)], 2)
        order = descending(table.strengths(places))[1]
        places = places.gather(2, order).view(-1, count + new)
        kept, dropped = places.narrow(1, 0, count), places.narrow(1, count, new).reshape(-1)
        table.outgoing.index_copy_(0, rows, kept)
        incoming = table.incoming.view(-1)
        incoming.index_copy_(0, kept.reshape(-1), table.data_addresses(rows).view(-1))
        incoming.index_fill_(0, dropped, 0)
        table.values.view(-1).index_fill_(0, dropped, 0.0)

    def _remembered(self, slots: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """p = (1 - sum_i w(i)) p + w, the K_L largest, for different slots [B, J]: [B, 1, K_L]."""
        rest = (1 - weights.sum(1, keepdim=True)).clamp_(min=0)
        before, shares = self.precedence.slots.squeeze(1), self.precedence.values.squeeze(1)
        slots, values = add_and_keep(before, shares * rest, slots, weights, self.num_links)
        return slots.unsqueeze(1), values.unsqueeze(1)
