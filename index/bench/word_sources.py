"""Random words to measure an index with: in all directions alike, or in clusters."""

from typing import Protocol

import torch
from torch import Tensor

# Of the words of one cluster around its centre, and of a query around the word it looks for; the
# centres and the words without clusters have length 1.
CLUSTER_NOISE, QUERY_NOISE = 0.5, 0.3
WORDS_PER_CLUSTER = 64
# Words are drawn so many slots at a time, so that the pieces they are made of stay small.
_PIECE = 2**14


class WordSource(Protocol):
    """Endless words of one kind, [B, n, W] at a time; each memory has a distribution of its own."""

    def draw(self, count: int) -> Tensor:
        """The next words, [B, count, W]."""
        ...

    def renew(self) -> None:
        """From now on words come from a distribution of the same kind, drawn anew."""
        ...


class GaussianWords:
    """Unit vectors, every direction equally likely: nothing for an index to learn."""

    def __init__(
        self, batch_size: int, memory_size: int, word_size: int, *, generator: torch.Generator
    ) -> None:
        self.batch_size, self.word_size = batch_size, word_size
        self._generator = generator

    def draw(self, count: int) -> Tensor:
        words = torch.empty(self.batch_size, count, self.word_size)
        for piece in words.split(_PIECE, 1):
            piece.normal_(generator=self._generator)
            piece.div_(torch.linalg.vector_norm(piece, dim=-1, keepdim=True))
        return words

    def renew(self) -> None:
        """Does nothing: new words are independent of old ones anyway."""


class ClusteredWords:
    """N / 64 clusters in each memory: a unit vector as centre, noise of norm 0.5 around it.

    word = c_j + 0.5 g / sqrt(W),   j uniform,   g ~ N(0, I)
    """

    def __init__(
        self, batch_size: int, memory_size: int, word_size: int, *, generator: torch.Generator
    ) -> None:
        self.batch_size, self.word_size = batch_size, word_size
        self.clusters = max(1, memory_size // WORDS_PER_CLUSTER)
        self._generator = generator
        self._centres = GaussianWords(batch_size, memory_size, word_size, generator=generator)
        self.renew()

    def draw(self, count: int) -> Tensor:
        words = torch.empty(self.batch_size, count, self.word_size)
        for piece in words.split(_PIECE, 1):
            which = torch.randint(self.clusters, piece.shape[:2], generator=self._generator)
            which = which.unsqueeze(-1).expand(-1, -1, self.word_size)
            noise = torch.empty_like(piece).normal_(generator=self._generator)
            torch.gather(self._means, 1, which, out=piece)
            piece.add_(noise, alpha=CLUSTER_NOISE / self.word_size**0.5)
        return words

    def renew(self) -> None:
        """Draws new centres."""
        self._means = self._centres.draw(self.clusters)


WORDS: dict[str, type[GaussianWords] | type[ClusteredWords]] = {
    "clustered": ClusteredWords,
    "gaussian": GaussianWords,
}


def copies(words: Tensor, noise: float, *, generator: torch.Generator) -> Tensor:
    """Words [..., W] with Gaussian noise of about the given norm added."""
    drawn = torch.empty_like(words).normal_(generator=generator)
    return words + drawn.mul_(noise / words.shape[-1] ** 0.5)
