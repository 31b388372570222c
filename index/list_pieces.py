"""Pieces of one long array, which lists take and give back: they come in sizes, a fourth apart.

A list that outgrows its piece takes a larger one: one that another list gave back, of the right
size or somewhat larger, else one from the end of the array. Free pieces of a size are a chain: the
first place of each holds ~ the start of the next, where lists have the rows of words.
"""

from bisect import bisect_left

import torch
from torch import Tensor

from index.table_parts import Parts

SMALLEST, STEP, SHARE = 8, 4, 4  # places of the smallest; others have a fourth more, at least 4
SIZES = 96  # how many sizes there are: the largest has more than 2^31 places
LARGER = 3  # a piece may be so many sizes larger than needed
# Room of a list, beside its words: a share of them, and some places. An empty list has none.
SPARE_SHARE, SPARE = 8, 4


def _sizes() -> tuple[int, ...]:
    sizes = [SMALLEST]
    while len(sizes) < SIZES:
        sizes.append(sizes[-1] + max(STEP, sizes[-1] // SHARE))
    return tuple(sizes)


_PLACES = _sizes()  # of each size


def _number(places: int) -> int:
    """The number of the first size with so many places."""
    return bisect_left(_PLACES, places)


class Pieces(Parts):
    """The free pieces of an array.

    Attributes:
        end: where the places begin that no list has had yet, int64 [1].
        first: start of the first free piece of each size, -1 without one, int64 [SIZES].
        sizes: places of each size, int64 [SIZES].
    """

    def __init__(self, device: torch.device) -> None:
        with torch.inference_mode(False):
            self.end = torch.zeros(1, dtype=torch.int64, device=device)
            self.first = torch.full((SIZES,), -1, device=device)
            self.sizes = torch.tensor(_PLACES, device=device)

    def rooms(self, lengths: Tensor) -> Tensor:
        """Places for lists of so many words, and some to spare; 0 for an empty one, int64."""
        wanted = lengths + lengths.div(SPARE_SHARE, rounding_mode="floor") + SPARE
        rooms = self.sizes[torch.searchsorted(self.sizes, wanted)]
        return rooms.masked_fill_(lengths == 0, 0)

    def lay_out(self, rooms: Tensor) -> Tensor:
        """Starts of pieces with so many places each, one after another; none is free."""
        ends = rooms.cumsum(0)
        self.first.fill_(-1)
        self.end.copy_(ends[-1:])
        return ends - rooms

    def take(self, rooms: list[int], array: Tensor) -> list[tuple[int, int]] | None:
        """Takes pieces with at least so many places each.

        Args:
            rooms: as `rooms` returns them.
            array: by place, the row of the word that is there, int32.

        Returns:
            Start and places of each; None if the array is too short, and some may be lost.
        """
        found, end, first = [], int(self.end), self.first.tolist()
        for room in rooms:
            number = _number(room)
            size = _PLACES[number]
            usable = [n for n in range(number, min(number + LARGER, SIZES)) if first[n] >= 0]
            if room == 0:
                found.append((0, 0))
            elif usable:
                start = first[usable[0]]
                first[usable[0]] = ~int(array[start])
                found.append((start, _PLACES[usable[0]]))
            elif end + size <= len(array):
                found.append((end, size))
                end += size
            else:
                return None
        self.first.copy_(torch.tensor(first))
        self.end.fill_(end)
        return found

    def give_back(self, starts: Tensor, rooms: Tensor, array: Tensor) -> None:
        """Frees pieces; those without places are skipped."""
        first = self.first.tolist()
        for start, room in zip(starts.tolist(), rooms.tolist(), strict=True):
            if room:
                number = _number(room)
                array[start], first[number] = ~first[number], start
        self.first.copy_(torch.tensor(first))
