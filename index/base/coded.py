"""Vectors as int8 codes in blocks of sixteen, as `index.kernels.code_loops` compares them."""

import numpy as np
import torch
from torch import Tensor

from index.list_copies import CodeCopies
from index.storage import ByteStorage, Storage

# As in `index.kernels.code_loops`.
_MOST, _MOST_SUM = 32767.0, 2.0**30 / 127  # of a query's integers, and of all of them
_LEAST = 1e-30  # a query with smaller numbers is rounded to 0


class CodedVectors:
    """Vectors that are rounded to int8 with a scale each, and compared as that.

    Args:
        vectors: float32 [n, W].
    """

    def __init__(self, vectors: Tensor) -> None:
        count, width = vectors.shape
        storage = Storage(torch.float32, width)
        self._copies, self._count = CodeCopies(storage, count, vectors.device), count
        self._copies.put(torch.arange(count), self._copies.of(vectors))
        self._coding = ByteStorage(torch.float32, width)

    def vectors(self) -> Tensor:
        """What the codes say, float32 [n, W]."""
        return self._coding.decode(self._copies.at(torch.arange(self._count)))

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Codes int8 [blocks, ceil(W / 2), 16, 2] and scales float32 [16 blocks]."""
        return self._copies.words.numpy(), self._copies.scales.numpy()

    @property
    def nbytes(self) -> int:
        """Bytes of codes and scales."""
        return self._copies.words.nbytes + self._copies.scales.nbytes


def rounded_queries(queries: Tensor) -> Tensor:
    """Queries as they are compared with codes: numbers are integers of 16 bits times one number."""
    most, total = queries.abs().amax(-1, keepdim=True), queries.abs().sum(-1, keepdim=True)
    times = torch.minimum(_MOST / most, _MOST_SUM / total)
    scaled = queries * times
    integers = (scaled + torch.where(scaled > 0, 0.5, -0.5)).trunc()
    return torch.where(most < _LEAST, 0.0, integers / times)
