"""What looks at recall have told beside how many words were needed."""

from typing import NamedTuple, Self

# A look that does not compare all words meets so many times as many as a search has to, more while
# it sees too little.
_FAR, _FARTHEST = 4, 64
# In truth so many times as much is missed as such a look sees, as if so many queries had shown it,
# until it is known of so many.
_TIMES, _FIRST, _KNOWN, _MOST_TIMES = 1.1, 8, 64, 4.0
_TOO_NEAR, _TOO_FAR = 1.6, 1.1  # such a look goes twice or half as far beyond these


class Known(NamedTuple):
    """What is known of searches for k neighbors beside what was needed.

    Args:
        more: recall to ask for beyond the target.
        missed, missed_by_look: neighbors that searches have missed of those of some queries, in
            truth and as looks see it that do not compare all words, in shares of a query.
        known: of how many queries that is known.
        far: how many times as many words as a search such a look meets.
    """

    more: float = 0.0
    missed: float = 0.0
    missed_by_look: float = 0.0
    known: float = 0.0
    far: float = float(_FAR)

    @property
    def times(self) -> float:
        """How many times as much as such looks see is missed."""
        return min(max(self.missed / max(self.missed_by_look, 1e-9), 1.0), _MOST_TIMES)

    def bounded(self, most: float) -> Self:
        """With numbers within bounds; `most` is that of `more`."""
        sums = (self.missed, self.missed_by_look, self.known)
        missed, by_look, known = (min(max(part, 0.0), float(_KNOWN)) for part in sums)
        far = min(max(self.far, float(_FAR)), float(_FARTHEST))
        return type(self)(min(max(self.more, 0.0), most), missed, by_look, known, far)

    def compared(self, missed: float, by_look: float, *, queries: int, usual: float) -> Self:
        """With what some queries have told, and a look that goes farther or less far for it.

        Args:
            missed: share of their neighbors that searches have missed.
            by_look: that share as a look sees it that does not compare all words.
            queries: how many.
            usual: the share that is missed as a rule.
        """
        begun = (
            self
            if self.known
            else self._replace(
                missed=_TIMES * _FIRST * usual, missed_by_look=_FIRST * usual, known=float(_FIRST)
            )
        )
        fading = min(1.0, _KNOWN / (begun.known + queries))
        told = self._replace(
            missed=fading * (begun.missed + queries * missed),
            missed_by_look=fading * (begun.missed_by_look + queries * by_look),
            known=fading * (begun.known + queries),
        )
        if told.times > _TOO_NEAR:
            return told._replace(far=min(2 * told.far, float(_FARTHEST)))
        return told._replace(far=max(told.far / 2, float(_FAR))) if told.times < _TOO_FAR else told
