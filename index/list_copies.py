"""Copies of words in the order of lists, so that a list is read from start to end."""

import torch
from torch import Tensor

from index.pages import Reserve, zeros
from index.storage import ByteStorage, Storage
from index.table_parts import Parts

BLOCK = 16  # words whose codes lie together
# A query is compared with codes as integers: the largest code, the most that one of the query may
# be and all of them together, and what all its numbers are below where it is rounded to 0.
LARGEST_CODE = 127
MOST, MOST_SUM, LEAST = 32767.0, 2.0**30 / LARGEST_CODE, 1e-30


class WordCopies(Parts):
    """Words as they are kept.

    Args:
        storage: how.
        places: how many there is room for.
        device: where.
        most: places that it may come to have; room for these is not taken before.
    """

    def __init__(
        self, storage: Storage, places: int, device: torch.device, most: int | None = None
    ) -> None:
        self._storage, self._reserve = storage, Reserve()
        how = (storage.width,), storage.kept, device
        self.words = self._reserve.zeros(places, most or places, *how)
        self.scales = zeros((0,), torch.float32, device)

    def sized(self, places: int, most: int) -> "WordCopies":
        """Empty ones of the same kind; arguments as of the class."""
        return type(self)(self._storage, places, self.words.device, most)

    def lengthen(self, places: int, most: int) -> bool:
        """Makes room for more places; returns False if it would take long, and stays as it was."""
        words = self._reserve.grown(self.words, places, most)
        if words is None:
            return False
        self.words = words
        return True

    def of(self, kept: Tensor) -> Tensor:
        """What `put` takes of words of which this is kept, [m, width]."""
        return kept

    def at(self, places: Tensor) -> Tensor:
        """What was put at places, int64 [m]."""
        return self.words[places]

    def put(self, places: Tensor, copies: Tensor) -> None:
        """Puts copies [m, ...] at places, int64 [m]."""
        self.words[places] = copies


class CodeCopies(WordCopies):
    """Codes of words that are kept as they come: int8, as `index.storage.ByteStorage` makes them.

    The codes of 16 words are together: first two numbers of each word, then the next two, and so
    on, since a processor multiplies pairs. `words` is [blocks, ceil(W / 2), 16, 2], and `scales`
    [places].
    """

    def __init__(
        self, storage: Storage, places: int, device: torch.device, most: int | None = None
    ) -> None:
        self._storage, self._reserve, self._of_scales = storage, Reserve(), Reserve()
        self._coding = ByteStorage(storage.dtype, storage.word_size)
        self._pairs = (storage.word_size + 1) // 2
        blocks, in_all = -(-places // BLOCK), -(-(most or places) // BLOCK)
        shape = self._pairs, BLOCK, 2
        self.words = self._reserve.zeros(blocks, in_all, shape, torch.int8, device)
        scales = blocks * BLOCK, in_all * BLOCK
        self.scales = self._of_scales.zeros(*scales, (), torch.float32, device)

    def lengthen(self, places: int, most: int) -> bool:
        blocks, in_all = -(-places // BLOCK), -(-most // BLOCK)
        words = self._reserve.grown(self.words, blocks, in_all)
        scales = self._of_scales.grown(self.scales, blocks * BLOCK, in_all * BLOCK)
        if words is None or scales is None:
            return False
        self.words, self.scales = words, scales
        return True

    def of(self, kept: Tensor) -> Tensor:
        if len(kept) == 0:
            return kept.new_empty((0, self._coding.width), dtype=torch.int8)
        return self._coding.encode(kept)

    def at(self, places: Tensor) -> Tensor:
        block, lane = places.div(BLOCK, rounding_mode="floor"), places.remainder(BLOCK)
        codes = self.words[block, :, lane].flatten(1)[:, : self._storage.word_size]
        return torch.cat((codes, self.scales[places].unsqueeze(1).view(torch.int8)), 1)

    def put(self, places: Tensor, copies: Tensor) -> None:
        block, lane = places.div(BLOCK, rounding_mode="floor"), places.remainder(BLOCK)
        codes = copies.new_zeros(len(places), 2 * self._pairs)
        codes[:, : self._storage.word_size] = copies[:, : self._storage.word_size]
        self.words[block, :, lane] = codes.view(-1, self._pairs, 2)
        self.scales[places] = self._coding.scales(copies)[:, 0]
