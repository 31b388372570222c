"""`ListWork` in compiled form. It imports numba, and is imported when it is wanted."""

from typing import Any

import numpy as np
import torch

from index.kernels import list_upkeep as kernel
from index.list_groups import WORD_GROUPS
from index.list_work import (
    ITERATIONS,
    LONG,
    MOST_GIVEN_UP,
    MOST_PARTS,
    MOST_TIGHTENED,
    SHORT,
    ListWork,
)


class CompiledListWork(ListWork):
    """The same by the loops of `index.kernels.list_upkeep`.

    Of many lists those loops look for the words of one in the groups near its centroid, the form in
    torch in all that are near one of the words. Where the array of lists has no place left, it is
    packed, and the form in torch does the rest.
    """

    def look(self, most_split: int) -> int:
        rules, chosen = self._rules(), np.empty(most_split, np.int64)
        long = kernel.find_long(rules, *self._arrays(), self.tried.numpy(), chosen)
        for memory, which in [divmod(one, self.lists.lists) for one in chosen[:long].tolist()]:
            self._split(memory, which)
        if not kernel.give_up_and_tighten(rules, *self._arrays()):
            self.lists.make_room()
            self._give_up()
        return long

    def visit(self, memory: int, begin: int, end: int) -> tuple[int, int]:
        self.centroids.make_room()
        given = memory, begin, end, self._rules()
        seen, moved, changes = kernel.visit(*given, *self._arrays())
        self.centroids.changed(changes)
        if moved < 0:
            self.lists.make_room()
            moved = self._assign_content(memory, torch.arange(begin, end)) - moved - 1
        return seen, moved

    def _split(self, memory: int, which: int) -> None:
        why, rules = kernel.NO_LISTS, self._rules()
        while why == kernel.NO_LISTS:
            self.centroids.make_room()
            why, count = kernel.split(memory, which, rules, *self._arrays(), self.tried.numpy())
            if why == kernel.NO_LISTS:
                self._add_lists(count)
            else:
                self.centroids.changed(count)
        if why == kernel.NO_PLACES:
            self.lists.make_room()
            self._assign_content(memory, torch.tensor([which]))

    def _rules(self) -> Any:
        most = MOST_GIVEN_UP, MOST_TIGHTENED, MOST_PARTS
        return kernel.Rules(self.ideal.numpy(), LONG, SHORT, *most, ITERATIONS, WORD_GROUPS)

    def _arrays(self) -> tuple[Any, Any]:
        return self.lists.arrays(self.words), self.centroids.arrays()
