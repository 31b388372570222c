"""A backend with a table of its own, which it saves; and ones that forget to keep it up to date."""

from typing import Any

import torch
from torch import Tensor

from index import IndexConfig, Neighbors, StoredIndex
from index.contents import Contents


class TableIndex(StoredIndex):
    """Looks candidates up in a second, half as wide copy of the words, its table."""

    candidates = 16
    made = 0  # how often the table was made from the words

    def _build(self) -> None:
        super()._build()
        self._restore_tables()

    def _restore_tables(self) -> None:
        with torch.inference_mode(False):
            self._table = self._narrow(self._words)
            self._free = self._penalty.clone()
        self.made += 1

    def _narrow(self, words: Tensor) -> Tensor:
        return words[..., : -(-self.word_size // 2)].clone()

    def _table_content(self) -> dict[str, Tensor]:
        used = slice(1, 1 + self._in_use)
        return {"narrow": self._table[:, used], "free": self._free[:, used]}

    def _restore_table(self, given: Contents) -> None:
        shape = (self.batch_size, self._in_use)
        width = self._table.shape[2]
        narrow = given.finite("narrow", (*shape, width), self.dtype)
        free = given.tensor("free", shape, self.dtype)
        with torch.inference_mode(False):
            self._table = self._words.new_zeros(*self._penalty.shape, width)
            self._free = torch.full_like(self._penalty, -torch.inf)
        self._table[:, 1 : 1 + self._in_use] = narrow.to(self.device)
        self._free[:, 1 : 1 + self._in_use] = free.to(self.device)

    def _grow(self, slots: int) -> None:
        super()._grow(slots)
        if self._free.shape != self._penalty.shape:
            table, free, held = self._table, self._free, 1 + self._in_use
            with torch.inference_mode(False):
                self._table = self._words.new_zeros(*self._penalty.shape, table.shape[2])
                self._free = torch.full_like(self._penalty, -torch.inf)
            self._table[:, :held], self._free[:, :held] = table[:, :held], free[:, :held]

    def _update(self, slots: Tensor, words: Tensor) -> None:
        super()._update(slots, words)
        rows = self._rows(slots)
        self._table.view(len(self._table) * self._table.shape[1], -1).index_copy_(
            0, rows, self._narrow(words).flatten(0, 1)
        )
        self._free.view(-1).index_fill_(0, rows, 0.0)

    def _remove(self, slots: Tensor) -> None:
        super()._remove(slots)
        self._free.view(-1).index_fill_(0, self._rows(slots), -torch.inf)

    def _reset(self, rows: Tensor | None) -> None:
        every = torch.ones(self.batch_size, dtype=torch.bool) if rows is None else rows
        self._free.masked_fill_(every.view(-1, 1), -torch.inf)
        super()._reset(rows)

    @property
    def searching(self) -> str:
        return self.config.kind if self._in_use > self.candidates else "exact"

    def _search(self, queries: Tensor, k: int) -> Neighbors:
        if self.searching == "exact":
            return self._exact(queries, k)
        used = slice(1, 1 + self._in_use)
        scores = self._narrow(queries) @ self._table[:, used].transpose(1, 2)
        scores = scores + self._free[:, None, used]
        slots = scores.topk(min(max(k, self.candidates), self._in_use)).indices
        return self._rescored(queries, slots, k)


class ForgetsRemovals(TableIndex):
    def _remove(self, slots: Tensor) -> None:
        StoredIndex._remove(self, slots)


class ForgetsResets(TableIndex):
    def _reset(self, rows: Tensor | None) -> None:
        StoredIndex._reset(self, rows)


class KeepsOldWords(TableIndex):
    """Does not notice that another word came to a slot that it knows."""

    def _update(self, slots: Tensor, words: Tensor) -> None:
        known = self._free.view(-1)[self._rows(slots)].view(slots.shape) == 0
        table = self._table.clone()
        super()._update(slots, words)
        rows = self._rows(slots.masked_fill(~known, -1))
        flat = self._table.view(-1, self._table.shape[2])
        flat.index_copy_(0, rows, table.view_as(flat)[rows])


class StaysApproximate(TableIndex):
    """Says so although all words are gone."""

    _was = False

    @property
    def searching(self) -> str:
        self._was = self._was or super().searching != "exact"
        return self.config.kind if self._was else "exact"


class LosesItsTable(TableIndex):
    """Takes another table than the one that was saved."""

    def _restore_table(self, given: Contents) -> None:
        super()._restore_table(given)
        self._table.zero_()


def maker(cls: type[StoredIndex]) -> Any:
    """A function that makes an index of this class, as `index.testing` takes it."""
    return lambda *, metric, **sizes: cls(IndexConfig(kind="table", metric=metric), **sizes)
