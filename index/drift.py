"""Detects that new words differ from those that a hash was learned from."""

from torch import Tensor

from index.table_parts import Parts

# How much worse than those words the later ones may fit. Words of the same distribution fit up to
# a tenth worse, since the hash is fitted to those that it was learned from.
_WORSE = 1.25


class Drift(Parts):
    """Compares the error of new words with that of the old ones.

    Args:
        fit: mean error of the words that were learned from; None if there is no error.
        words: how many they were, of all memories.
        refresh_after: learn anew once this many times `words` were replaced, whatever their error;
            0 never. None goes by what is seen: at least `words` / 2 were replaced, and the error of
            the last `words` / 8 is higher than `fit` by a quarter; without an error, once `words`
            were replaced.

    Cost: O(1) an update; every `words` / 8 of them it waits for the device.
    """

    def __init__(self, fit: float | None, words: int, refresh_after: float | None) -> None:
        self.fit, self.words, self._refresh_after = fit, max(1, words), refresh_after
        self._error: Tensor | float = 0.0
        self.replaced, self._since_look = 0, 0

    def due(self, replaced: int, error: Tensor | float | None) -> bool:
        """Records words that were replaced or removed; returns whether it is time to learn anew.

        Args:
            replaced: how many, of all memories.
            error: how badly the new ones fit, the sum over all of them; None without new ones.
        """
        self.replaced += replaced
        after = self._refresh_after
        if after is None and self.fit is None:
            after = 1.0
        if after is not None:
            return 0 < after * self.words <= self.replaced
        if error is None or self.fit is None:
            return False
        self._error = self._error + error
        self._since_look += replaced
        if self._since_look * 8 < self.words:
            return False
        worse = bool(self._error > _WORSE * self.fit * self._since_look)
        self._error, self._since_look = 0.0, 0
        return worse and self.replaced * 2 >= self.words
