"""Vectors as int8 codes in blocks of sixteen, as `index.kernels.code_loops` compares them."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from index.list_copies import BLOCK, LEAST, MOST, MOST_SUM
from index.storage import ByteStorage
from index.table_parts import Parts


class CodedVectors(Parts):
    """Vectors that are rounded to int8 with a scale each, and compared as that.

    Args:
        vectors: float32 [n, W].
    """

    def __init__(self, vectors: Tensor) -> None:
        self._count, self._width = vectors.shape
        coding = ByteStorage(torch.float32, self._width)
        kept = coding.encode(vectors)
        missing, pairs = -self._count % BLOCK, (self._width + 1) // 2
        codes = kept[:, : self._width]
        codes = functional.pad(codes, (0, 2 * pairs - self._width, 0, missing))
        # Laid out as in `index.list_copies.CodeCopies`.
        self._codes = codes.reshape(-1, BLOCK, pairs, 2).transpose(1, 2).contiguous()
        self._scales = functional.pad(coding.scales(kept)[:, 0], (0, missing))

    def vectors(self) -> Tensor:
        """What the codes say, float32 [n, W]."""
        codes = self._codes.transpose(1, 2).flatten(0, 1).flatten(1)
        words = codes[: self._count, : self._width].float()
        return words.mul_(self._scales[: self._count].unsqueeze(1))

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Codes int8 [blocks, ceil(W / 2), 16, 2] and scales float32 [16 blocks]."""
        return self._codes.numpy(), self._scales.numpy()


def rounded_queries(queries: Tensor) -> Tensor:
    """Queries as they are compared with codes: numbers are integers of 16 bits times one number."""
    most, total = queries.abs().amax(-1, keepdim=True), queries.abs().sum(-1, keepdim=True)
    times = torch.minimum(MOST / most, MOST_SUM / total)
    scaled = queries * times
    integers = (scaled + torch.where(scaled > 0, 0.5, -0.5)).trunc()
    return torch.where(most < LEAST, 0.0, integers / times)
