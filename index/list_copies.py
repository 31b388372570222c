"""Copies of words in the order of lists, so that a list is read from start to end."""

import torch
from torch import Tensor

from index.pages import zeros
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
    """

    def __init__(self, storage: Storage, places: int, device: torch.device) -> None:
        self._storage = storage
        self.words = zeros((places, storage.width), storage.kept, device)
        self.scales = zeros((0,), torch.float32, device)

    def sized(self, places: int) -> "WordCopies":
        """Empty ones of the same kind."""
        return type(self)(self._storage, places, self.words.device)

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

    def __init__(self, storage: Storage, places: int, device: torch.device) -> None:
        self._storage = storage
        self._coding = ByteStorage(storage.dtype, storage.word_size)
        self._pairs = (storage.word_size + 1) // 2
        blocks = -(-places // BLOCK)
        self.words = zeros((blocks, self._pairs, BLOCK, 2), torch.int8, device)
        self.scales = zeros((blocks * BLOCK,), torch.float32, device)

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
