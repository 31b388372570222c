"""Kinds of random words that indexes have trouble with, each a function of count and generator."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from index.bench.word_sources import WORDS, copies

# Half of the queries look for the repeated word, with this noise.
_SAME_NOISE = 0.1
_REPEATED = 0.9  # share of the words that are one and the same
_OUTLIERS = 0.05
# Latitude, longitude and height would do as well: a far point, in metres, and the deviation.
_FAR, _DEVIATION = (3_900_000.0, 300_000.0, 5_000_000.0), 1000.0


class Drawn(NamedTuple):
    """Words and queries of one kind."""

    words: Tensor  # [n, W]
    queries: Tensor  # [Q, W], none of them among the words


Draw = Callable[[int, int, Generator], Drawn]


def gaussian(width: int) -> Draw:
    """Words with independent Gaussian numbers: the hardest there are."""
    return _alike(lambda count, generator: torch.randn(count, width, generator=generator))


def uniform(count: int, queries: int, generator: Generator) -> Drawn:
    """Words of 32 numbers in [0, 1]: not centred."""
    return _alike(lambda n, g: torch.rand(n, 32, generator=g))(count, queries, generator)


def binary(count: int, queries: int, generator: Generator) -> Drawn:
    """Words of 64 bits, with very many ties."""

    def draw(n: int, generator: Generator) -> Tensor:
        return torch.randint(2, (n, 64), generator=generator).float()

    return _alike(draw)(count, queries, generator)


def clustered(count: int, queries: int, generator: Generator) -> Drawn:
    """The words of `index.bench`: clusters of 64, 32 numbers a word."""

    def draw(n: int, generator: Generator) -> Tensor:
        return WORDS["clustered"](1, count, 32, generator=generator).draw(n)[0]

    return _alike(draw)(count, queries, generator)


def lognormal(count: int, queries: int, generator: Generator) -> Drawn:
    """Clustered words times lengths exp(g), g ~ N(0, 1): a few are a hundred times the others."""
    directions = clustered(count, queries, generator)
    return Drawn(*(x * torch.randn(len(x), 1, generator=generator).exp() for x in directions))


def equal(count: int, queries: int, generator: Generator) -> Drawn:
    """Nine of ten words are one and the same Gaussian word of 64 numbers."""
    return _repeated(torch.randn(64, generator=generator), count, queries, generator)


def zero(count: int, queries: int, generator: Generator) -> Drawn:
    """Nine of ten words are zero, the rest Gaussian."""
    return _repeated(torch.zeros(64), count, queries, generator)


def dense(count: int, queries: int, generator: Generator) -> Drawn:
    """One dense cluster, and 5 % outliers around the origin; 32 numbers a word."""
    centre = torch.randn(32, generator=generator)

    def draw(n: int, generator: Generator) -> Tensor:
        words = torch.randn(n, 32, generator=generator)
        within = torch.rand(n, 1, generator=generator) >= _OUTLIERS
        return torch.where(within, centre + 0.05 * words, words)

    return _alike(draw)(count, queries, generator)


def positions(count: int, queries: int, generator: Generator) -> Drawn:
    """Points in space in metres, a kilometre apart, thousands of kilometres from the origin."""

    def draw(n: int, generator: Generator) -> Tensor:
        return torch.tensor(_FAR) + _DEVIATION * torch.randn(n, 3, generator=generator)

    return _alike(draw)(count, queries, generator)


def expanded(words: Tensor, width: int, generator: Generator) -> Tensor:
    """Words [n, V] made wider by a fixed random map, with a tenth of noise: low rank, as meant.

    Returns:
        [n, width].
    """
    wide = words @ torch.randn(words.shape[1], width, generator=generator)
    return copies(wide, 0.1 * float(wide.norm(dim=1).mean()), generator=generator)


def _alike(draw: Callable[[int, Generator], Tensor]) -> Draw:
    """Words and queries from one distribution."""

    def both(count: int, queries: int, generator: Generator) -> Drawn:
        words = draw(count + queries, generator)
        return Drawn(words[:count], words[count:])

    return both


def _repeated(word: Tensor, count: int, queries: int, generator: Generator) -> Drawn:
    words = torch.randn(count + queries, len(word), generator=generator)
    same = torch.rand(count, 1, generator=generator) < _REPEATED
    near = copies(word.expand(queries, -1), _SAME_NOISE, generator=generator)
    looked_for = (torch.arange(queries) % 2 == 0).unsqueeze(1)
    return Drawn(
        torch.where(same, word, words[:count]), torch.where(looked_for, near, words[count:])
    )
