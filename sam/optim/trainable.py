"""Words of a base as parameters in memory, with an index that follows them as they move."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from index import BaseMemory, IndexConfig, Neighbors, make_index
from index.given import as_int64
from index.registry import as_index_config
from sam.errors import NonFiniteError, ShapeError


class TrainableBase(nn.Module):
    """A table of n words that training moves: looked up by similarity, read with a gradient.

        table = TrainableBase(base, index="ivf")
        optimizer = RowwiseAdam(table.parameters(), lr=0.01)
        near = table.search(queries, k=4)              # [Q, W] -> slots and scores [Q, 4]
        words = table.words_at(near.slots)             # [Q, 4, W], with a sparse gradient
        ...
        optimizer.step()
        table.refresh(optimizer.touched_rows(table.weight))

    The index holds a copy of the words, and knows of a change when it is told: after each step of
    the optimizer `refresh` the rows that it touched. Copies, pickles and files of a module hold the
    parameter; whoever loads a state dict calls `refresh()`.

    Args:
        words: a base, whose words are copied into memory, or a tensor [n, W].
        index: kind or configuration of the index; its metric is that of the base.

    Attributes:
        weight: the words, a parameter [n, W].

    Raises:
        ShapeError: words that are not floating point [n, W].
        NonFiniteError: a word is NaN or infinite.
        UnknownNameError: there is no such index.

    Cost: the words twice, and what the index has beside them.
    """

    def __init__(self, words: BaseMemory | Tensor, *, index: str | IndexConfig = "exact") -> None:
        super().__init__()
        config = as_index_config(index)
        if isinstance(words, BaseMemory):
            if isinstance(index, str):
                config = IndexConfig(kind=index, metric=words.metric)
            words = words.words_at(torch.arange(len(words)))
        if not isinstance(words, Tensor) or words.dim() != 2 or not words.is_floating_point():
            shape = f"{[*words.shape]}" if isinstance(words, Tensor) else type(words).__name__
            raise ShapeError(f"words: expected a base or floating point [n, W], got {shape}")
        if not len(words) > 0 or not bool(words.isfinite().all()):
            if not len(words):
                raise ShapeError("words: expected at least one, got none")
            raise NonFiniteError("words: expected finite numbers, got NaN or infinity")
        self.weight = nn.Parameter(words.detach().clone())
        self._config = config
        self.refresh()

    @property
    def num_words(self) -> int:
        """n."""
        return self.weight.shape[0]

    @property
    def word_size(self) -> int:
        """W."""
        return self.weight.shape[1]

    def __len__(self) -> int:
        return self.num_words

    def extra_repr(self) -> str:
        return f"{self.num_words}, {self.word_size}, index={self._config.kind!r}"

    def words_at(self, slots: Tensor) -> Tensor:
        """The words at slots; their gradient is sparse, with the rows that were read.

        Args:
            slots: integers of any shape, in -1 .. n-1; -1 reads zeros, and gets no gradient.

        Returns:
            [..., W].

        Raises:
            ShapeError: slots that are no integers.
            ValueError: a slot is out of range.
        """
        if slots.is_floating_point() or slots.is_complex() or slots.dtype == torch.bool:
            raise ShapeError(f"slots: expected a tensor of integers, got {slots.dtype}")
        slots = as_int64(slots)
        if slots.numel():
            low, high = (int(bound) for bound in slots.aminmax())
            if low < -1 or high >= self.num_words:
                wrong = low if low < -1 else high
                raise ValueError(
                    f"slots: expected -1 (zeros) or 0 .. {self.num_words - 1}, got {wrong}"
                )
        there = slots >= 0
        words = functional.embedding(slots[there], self.weight, sparse=True)
        if bool(there.all()):
            return words.view(*slots.shape, self.word_size)
        read = words.new_zeros(slots.numel(), self.word_size)
        places = there.flatten().nonzero().squeeze(1)
        return read.index_copy(0, places, words).view(*slots.shape, self.word_size)

    def search(self, queries: Any, k: int) -> Neighbors:
        """The k nearest of the words as the index knows them, for queries [Q, W]; no gradient."""
        return self._index.search(queries, k)

    forward = search

    @torch.no_grad()
    def refresh(self, rows: Tensor | None = None) -> None:
        """Tells the index that words have changed.

        Args:
            rows: int64 [m]; all unless told, and then the index is made anew.

        Raises:
            NonFiniteError: a word is NaN or infinite.
        """
        if rows is None or self._index.device != self.weight.device:
            sizes: Any = {"capacity": self.num_words, "word_size": self.word_size}
            dtype = torch.float64 if self.weight.dtype == torch.float64 else torch.float32
            device = self.weight.device
            self._index = make_index(self._config, dtype=dtype, device=device, **sizes)
            self._index.load(self.weight)
        elif len(rows):
            self._index.update(rows, self.weight.index_select(0, rows))

    def save_base(self, path: str | Path, **options: Any) -> BaseMemory:
        """Writes the words as they are now to a base; arguments as of `BaseMemory.create`."""
        options = {"metric": self._config.metric} | options
        return BaseMemory.create(path, self.weight.detach(), **options)
