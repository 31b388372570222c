"""Where temporal links are kept: few from and to each slot, found without looking at the others."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from index.contents import Contents
from sam.errors import ShapeError
from sam.ops import link_rows
from sam.shape_checks import check_rows
from sam.store.initial_words import check_growth, room_for


class LinkTable:
    """At most K_L links to, and K_L from, each slot of B memories.

    Each slot has a row in three tables. A link from slot j to slot i stands in row i of N, its
    strength in `values`, and in row j of P = N^T, and each of the two says where the other is:

        incoming    row of i, the place of the link in `outgoing`
        outgoing    row of j, the place of the link in `values` and `incoming`

    A place is row K_L + column. Place 0 is no link: its strength is 0, and what is written there is
    never read, since it lies in a row before those of slot -1, which have no links either.

    Args:
        batch_size: B.
        memory_size: N.
        num_links: K_L.
        device: where the links live.
        dtype: of the strengths.

    Cost: bytes follow the highest slot reserved, at most doubled, never N: 20 K_L a slot in
    float32. Looking up M links takes O(M).
    """

    __slots__ = ("_columns", "_offset", "incoming", "memory_size", "outgoing", "values")

    def __init__(
        self,
        batch_size: int,
        memory_size: int,
        num_links: int,
        *,
        device: torch.device | str | None,
        dtype: torch.dtype,
    ) -> None:
        self.memory_size = memory_size
        # Row (2 + slot) B + b, so that no row moves as the tables grow.
        size = (batch_size * (2 + room_for(memory_size)), num_links)
        self.values = torch.zeros(size, dtype=dtype, device=device)
        self.incoming = torch.zeros(size, dtype=torch.int64, device=device)
        self.outgoing = torch.zeros_like(self.incoming)
        self._offset = torch.arange(2 * batch_size, 3 * batch_size, device=device)[:, None]
        self._columns = torch.arange(num_links, device=device)

    @property
    def batch_size(self) -> int:
        return len(self._offset)

    @property
    def num_links(self) -> int:
        """K_L."""
        return self.values.shape[1]

    @property
    def capacity(self) -> int:
        """C, the slots that have space; 0 of no memories."""
        return len(self.values) // self.batch_size - 2 if self.batch_size else 0

    @property
    def nbytes(self) -> int:
        values = (getattr(self, name) for name in LinkTable.__slots__)
        return sum(value.nbytes for value in values if isinstance(value, Tensor))

    def rows_of(self, slots: Tensor) -> Tensor:
        """Rows of the tables for slots [B, ...], in one dimension."""
        return torch.add(self._offset, slots.flatten(1), alpha=self.batch_size).view(-1)

    def data_addresses(self, rows: Tensor) -> Tensor:
        """Places of the links in rows [M], [M, K_L]."""
        return torch.add(self._columns, rows.unsqueeze(1), alpha=self.num_links)

    def slots_at(self, places: Tensor) -> Tensor:
        """Which slots the places belong to, -2 for place 0."""
        per_slot = self.num_links * self.batch_size
        # Exact below 2^52, and many times as fast as dividing 64-bit integers.
        return places.to(torch.float64).div_(per_slot).to(torch.int64).sub_(2)

    def strengths(self, places: Tensor) -> Tensor:
        """Strengths of the links that stand in `outgoing` as `places`, of any shape."""
        return self.values.take(places)

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """`values`, `incoming` and `outgoing` for compiled forms; they share their memory."""
        return self.values.numpy(), self.incoming.numpy(), self.outgoing.numpy()

    def bound(self, slots: Tensor) -> int:
        """A bound on slots, from their values.

        Raises:
            ShapeError: one is out of range.
        """
        low, high = (int(value) for value in slots.aminmax()) if slots.numel() else (-1, -1)
        if low < -1 or high >= self.memory_size:
            raise ShapeError(
                f"slots: expected values in [-1, {self.memory_size}), got {low} to {high}"
            )
        return high + 1

    def reserve(self, slot_bound: int) -> None:
        """Makes room for all slots smaller than `slot_bound`."""
        if slot_bound > self.capacity:
            rows = self.batch_size * (2 + min(max(slot_bound, 2 * self.capacity), self.memory_size))
            for name in ("values", "incoming", "outgoing"):
                table = getattr(self, name)
                more = table.new_zeros(rows - len(table), self.num_links)
                setattr(self, name, torch.cat([table, more]))

    def reset(self, mask: Tensor) -> None:
        """Drops the links of the batch rows in `mask`, bool [B]. O(slots that have space).

        Raises:
            ShapeError: the mask is not bool [B] on the device of the links.
        """
        check_rows("mask", mask, self.batch_size, self.values.device)
        if self.batch_size == 0:
            return
        shape, rows = (-1, self.batch_size, self.num_links), mask[:, None]
        for table in (self.values, self.incoming, self.outgoing):
            table.view(shape).masked_fill_(rows, 0)

    def resize(self, memory_size: int) -> None:
        """Allows more slots, which take no space yet.

        Raises:
            ConfigError: there are fewer slots than before.
        """
        check_growth(self.memory_size, memory_size)
        self.memory_size = memory_size

    rows = link_rows.rows
    cat = staticmethod(link_rows.cat)
    put = link_rows.put
    row_kind = property(link_rows.row_kind)

    def to_dense(self) -> Tensor:
        """N as [B, C, C]. For small capacity only."""
        shape = (2 + self.capacity, self.batch_size, self.num_links)
        sources, values = (
            table.view(shape)[2:].transpose(0, 1)
            for table in (self.slots_at(self.incoming).clamp_(min=-1), self.values)
        )
        dense = values.new_zeros(self.batch_size, self.capacity, 1 + self.capacity)
        return dense.scatter_add_(2, sources + 1, values)[:, :, 1:]

    def content(self) -> dict[str, Any]:
        """What a file of the state holds: the rows of slots 0, 1, ..., [B, C, K_L]."""
        tables = {name: getattr(self, name) for name in ("values", "incoming", "outgoing")}
        return {name: self._by_slot(table) for name, table in tables.items()}

    def _by_slot(self, table: Tensor) -> Tensor:
        """A view [B, C, K_L] of the rows that slots have."""
        shape = (2 + self.capacity, self.batch_size, self.num_links)
        return table.view(shape)[2:].transpose(0, 1)

    def restored(self, given: Contents) -> "LinkTable":
        """This table, without links so far, with those of a file.

        Raises:
            FileFormatError: they are of other sizes, or the two sides of a link disagree.
        """
        shape = (self.batch_size, None, self.num_links)
        values = given.finite("values", shape, self.values.dtype)
        shape = values.shape
        if shape[1] > self.memory_size:
            raise given.refuse("values", f"at most {self.memory_size} slots", shape[1])
        self.reserve(shape[1])
        places = self.values.numel()
        sides = [given.integers(side, shape, 0, places) for side in ("incoming", "outgoing")]
        for name, table in zip(("values", "incoming", "outgoing"), (values, *sides), strict=True):
            self._by_slot(getattr(self, name))[:, : shape[1]] = table.to(self.values.device)
        self._check_sides(given)
        return self

    def _check_sides(self, given: Contents) -> None:
        """Looks that each link stands in both tables, in rows of slots of one memory."""
        own = torch.arange(self.values.numel(), device=self.values.device)
        batch = own.div(self.num_links, rounding_mode="floor").remainder(self.batch_size)
        for name in ("incoming", "outgoing"):
            other = getattr(self, "outgoing" if name == "incoming" else "incoming").view(-1)
            table = getattr(self, name).view(-1)
            linked = table > 0
            there = table[linked]
            if not torch.equal(other[there], own[linked]) or not torch.equal(
                batch[there], batch[linked]
            ):
                raise given.refuse(name, "links that both of their slots have", "others")
        if bool(((self.values > 0) != (self.incoming > 0)).any()) or bool((self.values < 0).any()):
            raise given.refuse("values", "a strength above 0 for each link", "others")

    def clone(self) -> "LinkTable":
        return self._map("clone")

    def to(self, device: torch.device | str) -> "LinkTable":
        return self._map("to", device)

    def _map(self, method: str, *args: object) -> "LinkTable":
        other = object.__new__(LinkTable)
        for name in LinkTable.__slots__:
            value = getattr(self, name)
            mapped = getattr(value, method)(*args) if isinstance(value, Tensor) else value
            setattr(other, name, mapped)
        return other
