"""What is saved of an index that keeps the words itself, and how it comes back."""

from abc import abstractmethod
from typing import Any, Self

import torch
from torch import Tensor

from index import checks
from index.config import IndexConfig
from index.contents import Contents
from index.errors import FileFormatError
from index.pages import zeros
from index.scan import rounded_up
from index.vector_index import VectorIndex

_SIZES = ("batch_size", "capacity", "word_size")


class StoredFiles(VectorIndex):
    """Files, pickles and deep copies of `StoredIndex`.

    A file of an index has the rows as they lie in memory, so that they can be mapped, and what the
    backend keeps beside them. A pickle, and the file of a state that the index is part of, have
    only the words in use.
    """

    _words: Tensor  # [B, 1 + room, W]
    _penalty: Tensor  # [B, 1 + room]
    _room: int

    def _table_content(self) -> dict[str, Tensor]:
        """What the backend keeps beside the words, for `_restore_table`; nothing by default.

        A file then has it, and the loaded index need not make it again. Names are without dots.
        Numbers that are needed to understand the tables, such as a version of their layout, can be
        put into small tensors.
        """
        return {}

    def _restore_table(self, given: Contents) -> None:
        """Takes what `_table_content` returned, as a file has it; called when the words are there.

        Only called if the file has tables. Each part must be taken with a method of `given`, which
        checks it: its shape, and the bounds of everything that will be used as a position, for the
        file may come from a stranger. The tensors lie on the CPU, are nobody else's, and may be
        kept and written to. `given.refuse` makes the error for what does not fit. By default, or
        for tables of another layout, all parts are ignored and the tables made again:
        ``given.ignore()``, then ``self._restore_tables()``.
        """
        given.ignore()
        self._restore_tables()

    def _restore_tables(self) -> None:
        """Builds again what is made from the words, unless that is done when it is first needed."""

    def _content(self) -> dict[str, Tensor]:
        used = slice(1, 1 + self._in_use)
        # The words as they are scaled: scaled again they could differ in the last digit.
        return {"words": self._words[:, used]} | self._occupied()

    def _file_content(self) -> dict[str, Tensor]:
        held = slice(0, 1 + rounded_up(self._in_use))
        free = self._penalty[:, held] != 0
        rows = self._words[:, held].masked_fill(free.unsqueeze(2), 0.0)
        rows[:, 0] = 0.0  # what was written to slot -1
        tables = {f"tables.{name}": part for name, part in self._table_content().items()}
        return {"rows": rows} | self._occupied() | tables

    def _occupied(self) -> dict[str, Tensor]:
        occupied = self._penalty[:, 1 : 1 + self._in_use] == 0
        return {"occupied": occupied, "occupancy": occupied.sum(1)}

    def _restore(self, given: Contents) -> None:
        occupied = given.tensor("occupied", (self.batch_size, None), torch.bool)
        count = occupied.shape[1]
        # Also without any word it holds a number for each memory, so that B is backed by bytes.
        occupancy = given.integers("occupancy", (self.batch_size,), 0, 1 + count)
        if count > self.capacity or not torch.equal(occupancy, occupied.sum(1)):
            raise given.refuse("occupied", "as many slots as it says", f"{int(occupied.sum())}")
        if given.peek("rows") is None:  # a pickle, a state, or a file of version 1
            words = given.finite("words", (self.batch_size, count, self.word_size), self.dtype)
            self._grow(count)
            words = words.masked_fill(~occupied.unsqueeze(2), 0.0)
            self._words[:, 1 : 1 + count] = words.to(self.device)
        else:
            self._take_rows(given, occupied)
        self._penalty[:, 1 : 1 + count].masked_fill_(occupied.to(self.device), 0.0)
        self._in_use = count
        tables = given.under("tables")
        if tables.names():
            self._restore_table(tables)
        else:
            self._restore_tables()

    def _take_rows(self, given: Contents, occupied: Tensor) -> None:
        """Copies the rows of a file, or keeps them if they are mapped."""
        rows = given.finite("rows", (self.batch_size, None, self.word_size), self.dtype)
        count, room = occupied.shape[1], rows.shape[1] - 1
        if room < count:
            raise given.refuse("rows", f"room for {count} slots", f"{[*rows.shape]}")
        held = rows[:, 1 : 1 + count]
        spoiled = rows[:, :1].any() or rows[:, 1 + count :].any()
        if spoiled or (not occupied.all() and held[~occupied].any()):
            raise given.refuse("rows", "zeros where there is no word", "others")
        if given.mapped and self.device.type == "cpu" and room == rounded_up(count) > 0:
            penalty = zeros((self.batch_size, 1 + room), self.dtype, self.device)
            self._hold(rows, penalty.fill_(-torch.inf))
        else:
            self._grow(count)
            self._words[:, 1 : 1 + count] = held.to(self.device)

    @abstractmethod
    def _hold(self, words: Tensor, penalty: Tensor) -> None:
        """Makes these tensors the storage."""

    # Copies.

    def __getstate__(self) -> dict[str, Any]:
        # Plain types and tensors, so that `torch.load` takes it with `weights_only=True`.
        state = self.content() | {"config": self.config.settings(), "promised": self._promised or 0}
        return state | {"words": state["words"].clone()}  # or all the room would be pickled

    def __setstate__(self, state: dict[str, Any]) -> None:
        if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
            raise FileFormatError(f"pickled index: expected a dict, got {type(state).__name__}")
        tensors = {name: part for name, part in state.items() if isinstance(part, Tensor)}
        given = Contents("pickled index", tensors, {k: state[k] for k in state if k not in tensors})
        try:
            self._set(given)
        except FileFormatError:
            raise
        except (ValueError, TypeError, RuntimeError, MemoryError) as error:
            text = (str(error).splitlines() or [type(error).__name__])[0]
            raise given.refuse("config", "settings of an index", text) from error

    def _set(self, given: Contents) -> None:
        sizes: dict[str, Any] = {name: given.number(name, 1, checks.MOST_SLOTS) for name in _SIZES}
        given.tensor("occupancy", (sizes["batch_size"],), torch.int64)  # before B makes tensors
        words = given.tensor("words", (sizes["batch_size"], None, sizes["word_size"]), None)
        given.same("dtype", str(words.dtype).removeprefix("torch."))
        if not given.setting("batched", bool, default=True):
            sizes["batch_size"] = None
        config = IndexConfig(**given.setting("config", dict))
        # Not the constructor of a backend, which may warn: what it makes is made by `_build`.
        VectorIndex.__init__(self, config, **sizes, device=words.device, dtype=words.dtype)
        if not self.batched:
            given.same("batch_size", 1)
        self._restore(given)
        if promised := given.number("promised", 0, self.capacity):
            self.reserve(promised)
        given.finish()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.copied(self.device)
