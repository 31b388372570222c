"""Notices when words no longer are like those that something was learned from."""

import torch
from torch import Tensor

from index.parts import Parts

# How much worse than those words the later ones may fit. Others of the same kind fit up to a tenth
# worse, since what was learned is made to fit those it was learned from.
_WORSE = 1.25
# Of all words, the share that may find no place in the buckets that were made for the old ones.
_LOST = 1 / 64


class Drift(Parts):
    """Compares how well new words fit with how well the old ones did.

    Args:
        fit: mean error of the words that were learned from, a scalar tensor.
        words: how many they were in each memory.
        refresh_after: learn anew once this many times `words` were replaced, whatever their error;
            0 never. None goes by what is seen: at least `words` / 2 were replaced, and the error of
            the last `words` / 8 is higher than `fit` by a quarter; or at least `words` / 4 were
            replaced, and one in 64 of all words found no place.

    Cost: O(1) an update; every `words` / 8 of them it waits for the device.
    """

    def __init__(self, fit: Tensor, words: int, refresh_after: float | None) -> None:
        self._fit, self._words, self._refresh_after = fit, words, refresh_after
        self._error, self._count = torch.zeros_like(fit), torch.zeros_like(fit)
        self._lost = torch.zeros_like(fit)
        self._replaced, self._since_look = 0, 0

    def due(self, error: Tensor, real: Tensor, lost: Tensor) -> bool:
        """Takes note of new words, and says whether it is time to learn anew.

        Args:
            error: how badly each word fits, [B, M].
            real: false for what is no word, bool [B, M].
            lost: how many found no place.
        """
        self._replaced += real.shape[1]
        if self._refresh_after is not None:
            return 0 < self._refresh_after * self._words <= self._replaced
        self._error = self._error + (error * real).sum()
        self._count = self._count + real.sum()
        self._lost = self._lost + lost
        self._since_look += real.shape[1]
        if self._since_look * 8 < self._words:
            return False
        worse = bool(self._error > _WORSE * self._fit * self._count)
        many_lost = bool(self._lost > _LOST * self._words * real.shape[0])
        self._error, self._count = torch.zeros_like(self._fit), torch.zeros_like(self._fit)
        self._since_look = 0
        return (worse and self._replaced * 2 >= self._words) or (
            many_lost and self._replaced * 4 >= self._words
        )
