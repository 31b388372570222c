"""Locality-sensitive hashing by random hyperplanes (SimHash, Charikar 2002): nothing to learn."""

import torch
from torch import Tensor

from index.config import Metric
from index.hashed import HashedIndex, Rule, Size
from index.hashing import Choices, Hash

# Of a query's nearest hyperplanes, at most so many may be crossed in looking for further buckets.
_MOST_CROSSED = 10


class _Hyperplanes(Hash):
    """On which side of random hyperplanes a vector lies, for each of L tables.

        code_l(x) = sum_i 2^i [r_li . x > 0],   P(bit of x = bit of y) = 1 - angle(x, y) / pi

    The further buckets of a query come in the order of sum (r_li . q)^2 over the hyperplanes that
    have to be crossed (Lv et al. 2007, query-directed probing).

    Under the other metrics a number is appended, so that the angle tells the order there too: under
    l2 s to words and queries; under dot sqrt(s^2 - |m|^2) to words, which makes all as long, and 0
    to queries. s is the norm of the longest word when the tables were made.
    """

    spills = False  # there are further tables

    def __init__(
        self, planes: Tensor, tables: int, probes: int, metric: Metric, longest: Tensor
    ) -> None:
        self.scores = planes.shape[1]
        self._planes = planes  # [W + 1, L bits]; the last row is for the number appended
        self._shape = tables, planes.shape[1] // tables
        self._metric, self._longest = metric, longest
        self._powers = torch.pow(2, torch.arange(self._shape[1])).to(planes)
        self._probes = min(probes, 2 ** self._shape[1])

    def choices(self, words: Tensor) -> Choices:
        extra = None
        if self._metric == "l2":
            extra = self._longest
        elif self._metric == "dot":
            rest = self._longest.square() - words.square().sum(2, keepdim=True)
            extra = rest.clamp_min(0).sqrt()
        return Choices(self._codes(self._sides(words, extra)))

    def probes(self, queries: Tensor) -> Tensor:
        sides = self._sides(queries, self._longest if self._metric == "l2" else None)
        codes = self._codes(sides).unsqueeze(3)
        return codes if self._probes == 1 else codes ^ self._flips(sides, self._probes)

    def _sides(self, vectors: Tensor, extra: Tensor | None) -> Tensor:
        """r . x for every hyperplane, [B, M, L, bits]."""
        sides = vectors @ self._planes[:-1]
        if extra is not None:
            sides = sides + extra * self._planes[-1]
        return sides.unflatten(2, self._shape)

    def _codes(self, sides: Tensor) -> Tensor:
        return ((sides > 0).to(sides.dtype) @ self._powers).long()

    def _flips(self, sides: Tensor, count: int) -> Tensor:
        """Bits to flip for the `count` nearest buckets, the own one (0) first; [..., count]."""
        crossed = min(self._shape[1], _MOST_CROSSED, (count - 1).bit_length() + 1)
        margins, planes = sides.abs().topk(crossed, largest=False)
        subsets = torch.arange(2**crossed, device=sides.device)
        subsets = (subsets >> torch.arange(crossed, device=sides.device).unsqueeze(1)) & 1
        subsets = subsets.to(sides.dtype)  # [crossed, 2^crossed]
        nearest = (margins.square() @ subsets).topk(count, largest=False).indices
        return (self._powers[planes] @ subsets).gather(-1, nearest).long()


class LSHIndex(HashedIndex):
    """Several tables of buckets, one for each pattern of signs towards random hyperplanes.

    The backend for words that change their nature: nothing is learned from them, so nothing has to
    be learned anew. The most similar word is nearly always found; of the k best fewer than by
    learned lists.

    Rule for n slots in use, rounded up to a power of two: 8 tables, 16 words to a bucket on the
    mean (2^bits = n / 16), twice as many places, 4 probes. All slots are hashed from the first
    (`exact_below` 0). A word that finds its bucket full is left out of that table.
    """

    _approximation = "lsh"
    _options = HashedIndex._options - {"refresh_after"}  # nothing is learned
    _exact_below = 0

    def _rule(self, slots: int) -> Rule:
        return Rule(tables=8, buckets=slots // 16, spare=2, probes=4)

    def _possible(self, buckets: int) -> int:
        return 1 << max(1, (buckets - 1).bit_length())

    def _make_hash(
        self, size: Size, sample: Tensor, real: Tensor, generator: torch.Generator
    ) -> Hash:
        bits = (size.buckets - 1).bit_length()
        shape = self.word_size + 1, size.tables * bits
        planes = torch.randn(shape, generator=generator, dtype=torch.float64).to(sample)
        used = self._words[:, 1 : 1 + self._in_use]
        longest = torch.linalg.vector_norm(used, dim=2).max()
        return _Hyperplanes(planes, size.tables, size.probes, self.config.metric, longest)

    def _sample_size(self, size: Size) -> int:
        return 1
