"""Tables that are filled a few words at a time, so that no call has to wait for all of them.

An index that grows word by word comes to a point from which lists pay, and one whose lists did not
pay tries them again later. To build them at once would take one call as long as hundreds of others.
So a few lists are learned from a few words; then each call puts some more of the words into lists,
which are divided as they grow, and until all words are there a search compares every word.
"""

from typing import Any

import torch

from index.list_costs import EXACT_COST
from index.table_building import WORD_SCORES
from index.table_parts import Parts

# Multiplications by which the first lists are learned, and the words that they are for at least.
_LEARN_COST, _LEAST = 2**28, 512
_WORDS_A_LIST, _ITERATIONS = 32, 6
# Words put by a search, of all memories together, and numbers of these; or a share of the slots.
_WORDS, _LEAST_WORDS, _NUMBERS, _SHARE = 512, 64, 2**16, 1 / 256
# For each of them lists are looked at as often as after so many words that are written.
_VISITS = 16


def begins_with(index: Any) -> int:
    """For how many words the first lists are learned: a power of two, at least 512."""
    cost = _ITERATIONS * index.word_size * index.batch_size / _WORDS_A_LIST
    words = _LEAST
    while 4 * cost * words**2 <= _LEARN_COST and 2 * words <= index._in_use:
        words *= 2
    return words


def cost_to_fill(index: Any) -> float:
    """What it costs to fill tables with the words in use, in multiplications of searches."""
    calls = index._in_use / _slots_at_once(index, index._in_use)
    words = index.batch_size * index._in_use
    return calls * cost_of_all(index) + words * index.word_size * WORD_SCORES


def cost_of_all(index: Any) -> float:
    """What it costs to compare the queries of a search with all words."""
    return index.numbers_asked * index._in_use / EXACT_COST


def _slots_at_once(index: Any, slots: int) -> int:
    """Slots of each memory whose words a search puts into lists, of so many in use."""
    most = max(_LEAST_WORDS, min(_WORDS, _NUMBERS // index.word_size)) // index.batch_size
    return max(1, most, int(slots * _SHARE))


class Filling(Parts):
    """How far tables are filled; words that are written meanwhile are put into lists at once.

    Args:
        slots: in use when it begins.
    """

    def __init__(self, slots: int) -> None:
        self._next, self._slots = 0, slots

    def go_on(self, index: Any) -> bool:
        """Puts some more words of a `HashedIndex` into its tables; returns whether all are there.

        Cost: that of an update of some hundred words, and of the visits of as many lists.
        """
        begin = self._next
        end = min(begin + _slots_at_once(index, self._slots), self._slots)
        here = slice(1 + begin, 1 + end)
        slots = torch.arange(begin, end, device=index.device).expand(index.batch_size, -1)
        slots = slots.masked_fill(index._penalty[:, here] != 0, -1)
        index._put_words(slots, index._storage.decode(index._words[:, here]).contiguous())
        index._written(_VISITS * int((slots >= 0).sum()), None)
        self._next = end
        return end == self._slots
