"""Detects that new words differ from those that a hash was learned from."""

import torch
from torch import Tensor

from index.table_parts import Parts

# How much worse than those words the later ones may fit. Words of the same distribution fit up to
# a tenth worse, since the hash is fitted to those that it was learned from.
_WORSE = 1.25
# The share of words that may find no place in the buckets, which were sized for the old words.
_LOST = 1 / 64


class Drift(Parts):
    """Compares the error of new words with that of the old ones.

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
        # Numbers after calls with numbers, as from compiled loops, and else tensors.
        self._error: Tensor | float = 0.0
        self._count: Tensor | int = 0
        self._lost: Tensor | int = 0
        self._replaced, self._since_look = 0, 0

    def due(
        self,
        batch_size: int,
        replaced: int,
        error: Tensor | float,
        count: Tensor | int,
        lost: Tensor | int,
    ) -> bool:
        """Records new words, and returns whether it is time to learn anew.

        Args:
            batch_size: B.
            replaced: M, slots of each memory.
            error: how badly the words fit, the sum over all of them.
            count: how many words there are, skipped slots left out.
            lost: how many of them found no place.
        """
        self._replaced += replaced
        if self._refresh_after is not None:
            return 0 < self._refresh_after * self._words <= self._replaced
        self._error = self._error + error
        self._count = self._count + count
        self._lost = self._lost + lost
        self._since_look += replaced
        if self._since_look * 8 < self._words:
            return False
        seen = (
            self._error > _WORSE * self._fit * self._count,
            self._lost > _LOST * self._words * batch_size,
        )
        seen = [torch.as_tensor(one, device=self._fit.device) for one in seen]
        worse, many_lost = torch.stack(seen).tolist()  # one look for both
        self._error, self._count, self._since_look = 0.0, 0, 0
        return (worse and self._replaced * 2 >= self._words) or (
            many_lost and self._replaced * 4 >= self._words
        )
