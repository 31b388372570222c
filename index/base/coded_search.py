"""A search in lists with codes as one call of compiled loops, on what stays from call to call."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from index.base.coded_words import CodedWords
from index.base.grouped_lists import GroupedLists
from index.base.words import BaseWords
from index.storage import as_array


class CodedSearch:
    """What `index.base.list_tables.ListTables` does, of float32 queries under the cosine.

    Args:
        hashed: how lists are chosen.
        words: list by list.
        codes: theirs.
        sizes: `ListSizes`.
        starts: the first row of each list, and n at the end, int64 [L + 1].
        least: the least squared length of a word in each, float32 [L].
    """

    def __init__(
        self,
        hashed: GroupedLists,
        words: BaseWords,
        codes: CodedWords,
        sizes: Any,
        starts: np.ndarray,
        least: np.ndarray,
    ) -> None:
        from index.kernels.base_codes import CodedLists, Files

        self._hashed, self._words, self._sizes = hashed, words, sizes
        self._lists = CodedLists(as_array(words.kept), *codes.arrays, starts, least)
        order = words.order
        self._slot_of = order.rows.numpy()
        read = (words.file, 1), *codes.read, (order, 1)
        self._files = Files(*((many, *file.layout()) for file, many in read))

    def nearest(
        self, queries: Tensor, k: int, budget: int, eps: float
    ) -> tuple[tuple[Tensor, Tensor], Tensor | None]:
        """Scores and slots of the k best, [Q, k]; or the lists that the system is to be asked for.

        Args:
            queries: float32 [Q, W], divided by their norms.
            k: at most the words that there are.
            budget: how many words a query meets.
            eps: added inside the norms of words.
        """
        from index.kernels.base_codes import Room, nearest_by_codes

        hashed, queries = self._hashed, queries.contiguous()
        count, width = queries.shape
        moved, near = hashed.scored_groups(queries)
        chosen = np.empty((count, min(hashed.lists, budget)), np.int64), np.empty(count, np.int64)
        found = queries.new_empty(count, k), torch.empty(count, k, dtype=torch.int64)
        state = nearest_by_codes(
            queries.numpy(),
            moved.numpy(),
            near.numpy(),
            (hashed.by_product, hashed.looked, budget, eps),
            self._sizes,
            *hashed.for_loops(),
            self._lists,
            self._slot_of,
            self._files,
            Room.of(np.float32, width, k),
            (found[0].numpy(), found[1].numpy()),
            chosen,
        )
        if state == 1:
            lists, counts = chosen
            within = np.arange(lists.shape[1]) < counts[:, None]
            return found, torch.from_numpy(np.where(within, lists, -1))
        if state == 2:
            found = found[0], self._words.slots_of(found[1])
        return found, None
