"""Which looks at recall there are, and what they cost."""

import math
from typing import NamedTuple

QUERIES, FAR_QUERIES = 8, 32  # of a look at all words, and of one that goes less far
TOLD_BY = 4  # of these are compared with all words too, at times
FIRST_QUERIES = 16  # of the first look


class LookCosts(NamedTuple):
    """What looks at a search cost, in multiplications.

    Args:
        of_all: of comparing one query with all words.
        each: of finding out what a search would have needed to find the neighbors of one query.
        farther: of a search that meets `RecallTuner.far` words, beyond that of one that meets no
            more than it must; infinite where looks go less far to no avail.
    """

    of_all: float
    each: float = 0.0
    farther: float = math.inf

    @property
    def far(self) -> float:
        """Of a look that does not compare all words."""
        return self.farther + FAR_QUERIES * self.each


class Due(NamedTuple):
    """A look that is due: at how many queries.

    Args:
        far: that are asked for what lies within `RecallTuner.far` words.
        by_all: that are compared with all words.
    """

    far: int
    by_all: int
