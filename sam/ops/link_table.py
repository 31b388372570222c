"""Where temporal links are kept: few from and to each slot, found without looking at the others."""

import torch
from torch import Tensor

from sam.errors import ShapeError
from sam.ops.loading import check_growth, room_for


class LinkTable:
    """At most K_L links to, and K_L from, each slot of B memories.

    A link is kept once, with its destination: row i of N holds the sources and strengths of the
    links that come in. Row j of P = N^T holds destinations only, and its strengths are looked up
    there; one that is not found, or has strength 0, is no link any more. So a link that is dropped
    from N needs not be dropped from P.

    Args:
        batch_size: B.
        memory_size: N.
        num_links: K_L.
        device: where the links live.
        dtype: of the strengths.

    Cost: bytes follow the highest slot reserved, at most doubled, never N: 20 K_L a slot in
    float32. Looking up M links takes O(M K_L).
    """

    __slots__ = ("_offset", "destinations", "memory_size", "sources", "values")

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
        # Row (1 + slot) B + b, so that no row moves as the tables grow. Slot -1 has no links.
        size = (batch_size * (1 + room_for(memory_size)), num_links)
        self.sources = torch.full(size, -1, dtype=torch.int64, device=device)
        self.values = torch.zeros(size, dtype=dtype, device=device)
        self.destinations = self.sources.clone()
        self._offset = torch.arange(batch_size, 2 * batch_size, device=device)[:, None]

    @property
    def batch_size(self) -> int:
        return len(self._offset)

    @property
    def num_links(self) -> int:
        """K_L."""
        return self.values.shape[1]

    @property
    def capacity(self) -> int:
        """C, the slots that have space."""
        return len(self.values) // self.batch_size - 1

    @property
    def nbytes(self) -> int:
        values = (getattr(self, name) for name in LinkTable.__slots__)
        return sum(value.nbytes for value in values if isinstance(value, Tensor))

    def rows_of(self, slots: Tensor) -> Tensor:
        """Rows of the tables for slots [B, ...], in one dimension."""
        return torch.add(self._offset, slots.flatten(1), alpha=self.batch_size).view(-1)

    def lookup(self, destinations: Tensor, sources: Tensor) -> tuple[Tensor, Tensor]:
        """Strengths of the links from each of S sources to M destinations of its own.

        Args:
            destinations: [B, S, M]; -1 for none.
            sources: [B, S].

        Returns:
            Strengths [B, S, M, K_L], all 0 but where a row of N has this source, and the rows of
            the tables that they are.
        """
        rows, shape = self.rows_of(destinations), (*destinations.shape, self.num_links)
        others = self.sources.index_select(0, rows).view(shape) != sources[:, :, None, None]
        values = self.values.index_select(0, rows).view(shape)
        return values.masked_fill_(others, 0.0), rows

    def places(self, destinations: Tensor, sources: Tensor) -> tuple[Tensor, Tensor]:
        """As `lookup`: the strengths [B, S, M], and where they stand among all strengths.

        What is no link stands at place 0, of slot -1.
        """
        values, rows = self.lookup(destinations, sources)
        values, column = values.max(3)
        places = torch.add(column, rows.view(column.shape), alpha=self.num_links)
        return values, places.masked_fill_(values == 0, 0)

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

    def reserve(self, below: int) -> None:
        """Makes room for all slots smaller than `below`."""
        if below > self.capacity:
            rows = self.batch_size * (1 + min(max(below, 2 * self.capacity), self.memory_size))
            for name, fill in (("sources", -1), ("values", 0.0), ("destinations", -1)):
                table = getattr(self, name)
                more = table.new_full((rows - len(table), self.num_links), fill)
                setattr(self, name, torch.cat([table, more]))

    def reset(self, mask: Tensor) -> None:
        """Drops the links of the batch rows in `mask`, bool [B]. O(slots that have space)."""
        shape, rows = (-1, self.batch_size, self.num_links), mask[:, None]
        self.sources.view(shape).masked_fill_(rows, -1)
        self.values.view(shape).masked_fill_(rows, 0.0)
        self.destinations.view(shape).masked_fill_(rows, -1)

    def resize(self, memory_size: int) -> None:
        """Allows more slots, which take no space yet.

        Raises:
            ConfigError: there are fewer slots than before.
        """
        check_growth(self.memory_size, memory_size)
        self.memory_size = memory_size

    def to_dense(self) -> Tensor:
        """N as [B, C, C]. For small capacity only."""
        shape = (1 + self.capacity, self.batch_size, self.num_links)
        sources, values = (
            table.view(shape)[1:].transpose(0, 1) for table in (self.sources, self.values)
        )
        dense = values.new_zeros(self.batch_size, self.capacity, 1 + self.capacity)
        return dense.scatter_add_(2, sources + 1, values)[:, :, 1:]

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
