"""Whether the words that come still fit lists as well as those that these were made of.

Lists follow words that change little by little. Words from elsewhere are another matter: they lie
far from all centroids, are spread over lists whose centroids have little to do with them, and it
takes several times as many words as there are until lists have come after them. To make tables anew
takes far less. So at times it is looked how far the words just put lie from their centroids.
"""

from typing import Any

import torch
from torch import Tensor

from index.list_costs import EACH_CALL
from index.list_work import spread_order
from index.table_filling import cost_of_all, cost_to_fill
from index.table_parts import Parts

# Of so many words in the lists it is known how far this share of them lie at most.
_SAMPLE, _NEAR = 1024, 0.75
# Looks while as many words are written as there are; how much of what they saw counts next time.
_LOOKS, _KEPT = 128, 0.8
# Words come from elsewhere while more of them lie farther. Lists are made anew once so many came,
# as a share of all: with fewer, those of the new ones would be few.
_FAR, _LEAST = 0.6, 1 / 8
# While tables are filled, all words are compared: not where that takes so many times as long.
_SLOWER = 16
_ROUNDED = 1e-6  # of the square of a length: what rounding may come to


class Fit(Parts):
    """Looks at the words that are put into the lists of a `HashedIndex` with centroids.

    Args:
        index: whose tables have just been made; the words in them are what later ones are compared
            with.

    Cost: O(W) for each of some hundred words, once, and for some words at each look.
    """

    def __init__(self, index: Any) -> None:
        self._strange = self._since = 0  # words from elsewhere, and words since the last look
        self._far = 1 - _NEAR
        self._words = index.batch_size * index._in_use
        self._spent = index._tuner.spent
        rows = spread_order(self._words, _SAMPLE).to(index.device)
        memory = rows.div(index._in_use, rounding_mode="floor")
        rows = index._first_row[memory, 0] + rows % index._in_use
        rows = rows[index._lists.list_of(rows)[:, 0] >= 0]
        far, lengths, squares = _distances(index, rows)
        # Of the mean of the others in its list: a centroid lies nearer to the words it was made of.
        others = (lengths - 1).clamp_min(0)
        far = torch.where(others > 0, far * (lengths / others).square(), torch.inf)
        self._rounded = _ROUNDED * float(squares.mean()) if len(rows) else 0.0
        self._limit = _quantile(far) if len(rows) else torch.inf

    def is_lost(self, index: Any, slots: Tensor, count: int, *, look: bool) -> bool:
        """Whether tables should be made anew, after so many words were put, the last of them here.

        Args:
            index: the same.
            slots: of some of them, int64 [B, M], -1 skipped.
            count: how many there were, of all memories together.
            look: whether it is time to look at these; else they are counted.
        """
        self._since += count
        if not look or self._since * _LOOKS < self._words:
            return False
        rows, since = index._rows(slots)[slots.flatten() >= 0], self._since
        if len(rows) == 0:
            return False
        far = _distances(index, rows)[0] > self._limit + self._rounded
        self._far += (1 - _KEPT) * (float(far.double().mean()) - self._far)
        others = self._far > _FAR
        self._since, self._strange = 0, self._strange + since if others else 0
        index._tuner.expect(others)
        if self._strange < _LEAST * self._words:
            return False
        scores = index._hash.scores + index._candidates
        search = EACH_CALL + index.numbers_asked * scores
        if cost_of_all(index) > _SLOWER * search:
            return False
        return index._tuner.spent - self._spent >= cost_to_fill(index)


def _quantile(far: Tensor) -> float:
    """What `_NEAR` of them lie at most; one of them, as others may be infinite."""
    return float(far.double().quantile(_NEAR, interpolation="lower"))


def _distances(index: Any, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Squared distances of words from their centroids and from the mean, and their lists' lengths.

    Returns:
        Of each row in `_flat` that is in a list, [m]: distance, length, distance from the mean.
    """
    lists, own = index._lists, index._hash.centroids
    which = lists.list_of(rows)[:, 0]
    words = index._words_at(rows) - own.center[which.div(lists.lists, rounding_mode="floor"), 0]
    apart = words - own.centroids.flatten(0, 1)[which]
    return apart.square().sum(1), lists.lengths[which], words.square().sum(1)
