"""A search in lists with codes as one call of compiled loops, with what memories wrote over it."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from index.base.coded_words import CodedWords
from index.base.grouped_lists import GroupedLists
from index.base.words import BaseWords
from index.entries import Entries


class Call(NamedTuple):
    """The arguments of `index.kernels.base_exchange.exchange`, which says what they are."""

    slots: np.ndarray
    words: np.ndarray
    queries: np.ndarray
    how: tuple[int, int, float, bool, int]
    base: Any
    overlay: Any
    scratch: Any
    scores: np.ndarray
    found: np.ndarray


class CodedSearch:
    """What `index.base.list_tables.ListTables` does, of float32 queries under the cosine.

    Args:
        hashed: how lists are chosen.
        words: list by list.
        codes: theirs.
        sizes: `ListSizes`.
        starts: the first row of each list, and n at the end, int64 [L + 1].
        least: the least squared length of a word in each, float32 [L].
        budget: how many words a query meets.

    Attributes:
        words_for_loops: see `BaseWords.for_loops`.
    """

    def __init__(
        self,
        hashed: GroupedLists,
        words: BaseWords,
        codes: CodedWords,
        sizes: Any,
        starts: np.ndarray,
        least: np.ndarray,
        budget: int,
    ) -> None:
        from index.kernels.base_codes import CodedLists
        from index.kernels.base_exchange import Base, Files

        self._hashed, self._words, self._codes, self._budget = hashed, words, codes, budget
        self._starts, self.words_for_loops = torch.from_numpy(starts), words.for_loops()
        slot_of, row_of = words.orders
        read = (words.file, 1), *codes.read, (slot_of, 1), (row_of, 1)
        self._base = Base(
            CodedLists(self.words_for_loops[0], *codes.arrays, starts, least),
            slot_of.rows.numpy(),
            row_of.rows.numpy(),
            Files(*((many, *file.layout()) for file, many in read)),
            sizes,
            hashed.for_loops()[0],
        )

    def nearest(self, queries: Tensor, k: int, eps: float) -> tuple[Tensor, Tensor] | None:
        """Scores and slots of the k best, [Q, k]; None where other forms have to look.

        Args:
            queries: float32 [Q, W], divided by their norms.
            k: at most the words that there are.
            eps: added inside the norms of words.
        """
        count, width = queries.shape
        slots, words = np.empty((1, 0), np.int64), np.empty((1, 0, width), np.float32)
        found = queries.new_empty(1, count, k), torch.empty(1, count, k, dtype=torch.int64)
        scratch, asked = self.scratch(1, 0, count, k), queries.contiguous()[None].numpy()
        over, into = nothing_over(width), (found[0].numpy(), found[1].numpy())
        call = self.call(slots, words, asked, (eps, False, 0), over, scratch, into)
        return (found[0][0], found[1][0]) if self.exchange(call, Entries()) else None

    def scratch(self, batch_size: int, writes: int, queries: int, k: int) -> Any:
        """`index.kernels.base_exchange.Scratch` for exchanges of such sizes."""
        from index.kernels.base_codes import Room
        from index.kernels.base_exchange import Scratch
        from index.llvm.dots import WORDS

        count, width = batch_size * queries, self._hashed.word_size
        lists = min(self._hashed.lists, max(k, self._budget))
        return Scratch(
            Room.of(np.float32, width, k),
            self._hashed.for_loops()[1],
            np.empty((batch_size, writes + queries, width), np.float32),
            np.empty((count, width), np.float32),
            np.empty((batch_size, writes), np.int64),
            np.empty((count, lists), np.int64),
            np.empty(count, np.int64),
            (np.empty((queries, k), np.float32), np.empty((queries, k), np.int64)),
            (np.empty((count, k), np.float32), np.empty((count, k), np.int64)),
            np.empty(2 * WORDS, np.float32),
        )

    def call(
        self,
        slots: np.ndarray,
        words: np.ndarray,
        queries: np.ndarray,
        how: tuple[float, bool, int],
        overlay: Any,
        scratch: Any,
        found: tuple[np.ndarray, np.ndarray],
    ) -> Call:
        """The arguments of an exchange.

        Args:
            slots, words, queries: contiguous.
            how: the eps inside of norms, whether words and queries are to be divided by theirs, and
                what every slot has to be below.
            overlay, scratch: as of `Call`.
            found: scores and slots go here, [B, Q, k].
        """
        asked: Any = self._hashed.looked, max(found[0].shape[2], self._budget), *how
        return Call(slots, words, queries, asked, self._base, overlay, scratch, *found)

    def exchange(self, call: Call, entries: Entries) -> bool:
        """`index.kernels.base_exchange.exchange`; pages are asked for until it has all.

        Args:
            call: its arguments.
            entries: for arguments of their types.

        Returns:
            Whether that was all. If not, other forms have to go on, and find out what is wrong.
        """
        from index.kernels import base_exchange as loops

        scratch = call.scratch
        while True:
            state = entries.call(loops.exchange, call)
            if state == loops.LISTS:
                lists, counts = scratch.chosen, scratch.many[:, None]
                some = lists[np.arange(lists.shape[1]) < counts]
                self._announce(torch.from_numpy(some))
            elif state == loops.SLOTS:
                self._words.slots_of(torch.from_numpy(scratch.seen[1]))
            elif state == loops.ROWS:
                slots_written = call.overlay.slot_of
                below = (slots_written >= 0) & (slots_written < len(self._words))
                self._words.rows_of(torch.from_numpy(slots_written[below]))
            else:
                return state == loops.DONE

    def _announce(self, lists: Tensor) -> None:
        """Has the system read lists, int64 [m], that are looked into next."""
        first, end = self._starts[lists], self._starts[lists + 1]
        self._words.file.will_need_runs(first, end - first)
        self._codes.will_need_runs(first, end)


def nothing_over(width: int) -> Any:
    """`index.kernels.base_exchange.Overlay` of one memory that has written nothing."""
    from index.kernels.base_exchange import Overlay

    table, none = np.full((1, 1), -1), np.zeros(1, np.int64)
    words, penalty = np.empty((1, 1, width), np.float32), np.empty((1, 1), np.float32)
    shown = np.zeros(1, np.bool_)
    return Overlay(table, table, table, none, none, shown, table, none, words, penalty)
