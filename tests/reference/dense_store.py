"""WordStore's operations out of place, on a fresh copy of the whole memory each, by autograd."""

import torch
from torch import Tensor


class DenseStore:
    """B memories of N words [B, N, W] in float64; slot -1 reads zeros and drops what is added."""

    def __init__(self, words: Tensor) -> None:
        self.words = words

    def _padded(self) -> Tensor:
        return torch.nn.functional.pad(self.words, (0, 0, 1, 0))

    def _rows(self, slots: Tensor) -> Tensor:
        return (slots + 1).flatten(1)[:, :, None].expand(-1, -1, self.words.shape[2])

    def read(self, slots: Tensor) -> Tensor:
        gathered = self._padded().gather(1, self._rows(slots))
        return gathered.view(*slots.shape, self.words.shape[2])

    def write(
        self, slots: Tensor, values: Tensor, words: Tensor, erase: Tensor | None = None
    ) -> None:
        if erase is not None:
            kept = torch.ones(self.words.shape[:2], dtype=torch.float64)
            self.words = self.words * kept.scatter(1, erase, 0.0)[:, :, None]
        added = (values[..., None] * words[..., None, :]).reshape(
            len(slots), -1, self.words.shape[2]
        )
        self.words = self._padded().scatter_add(1, self._rows(slots), added)[:, 1:]

    def reset(self, mask: Tensor) -> None:
        self.words = self.words.masked_fill(mask[:, None, None], 0.0)

    def clone(self) -> "DenseStore":
        return DenseStore(self.words)
