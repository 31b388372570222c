"""Locality-sensitive hashing by random hyperplanes (SimHash, Charikar 2002): nothing to learn."""

import torch
from torch import Tensor
from torch.nn import functional

from index.hashed import HashedIndex
from index.hashing import Choices, ExchangeInputs, ExchangeOutputs, Hash, LearnInputs, Rule, Size
from index.metric import Metric

# Words of each memory whose median is taken, where the metric asks for it.
_SAMPLE = 1024
# Of a query's nearest hyperplanes, at most so many may be crossed in looking for further buckets:
# it looks into at most 2^10 of a table.
_MOST_CROSSED = 10


class Hyperplanes(Hash):
    """On which side of random hyperplanes a vector lies, for each of L tables.

        code_l(x) = sum_i 2^i [r_li . x > t_li]

    Under the cosine t = 0: P(bit of x = bit of y) = 1 - angle(x, y) / pi. Under the other metrics t
    is the median over a sample of the words, so that half of them lie on either side. Under dot
    words get one number more, sqrt(s^2 - |m|^2) with the norm s of the longest word, which makes
    all as long; queries are brought to the length s and get 0.

    The further buckets of a query come in the order of sum (r_li . q - t_li)^2 over the hyperplanes
    that have to be crossed (Lv et al. 2007, query-directed probing), of the 1 + log2 P nearest.
    """

    name = "lsh"
    exact_below = 0
    spills = False  # there are further tables
    learned = False

    def __init__(self, planes: Tensor, thresholds: Tensor, tables: int, probes: int) -> None:
        self._planes = planes  # [W, L bits]
        self._thresholds = thresholds  # [L bits]
        self.scores = planes.shape[1]
        self._shape = tables, planes.shape[1] // tables
        self._powers = torch.pow(2, torch.arange(self._shape[1], device=planes.device)).to(planes)
        self._probes = min(probes, 2 ** min(self._shape[1], _MOST_CROSSED))

    @staticmethod
    def rule(slots: int) -> Rule:
        return Rule(tables=8, buckets=slots // 16, spare=2, probes=4)

    @staticmethod
    def possible(buckets: int) -> int:
        return 1 << max(1, (buckets - 1).bit_length())

    @staticmethod
    def sample_size(size: Size, metric: Metric) -> int:
        return 1 if metric == "cosine" else _SAMPLE

    @classmethod
    def learn(cls, size: Size, inputs: LearnInputs) -> "Hyperplanes":
        metric, sample, real, words, generator = inputs
        dot = metric == "dot"
        shape = words.shape[2] + dot, size.tables * (size.buckets - 1).bit_length()
        planes = torch.randn(shape, generator=generator, dtype=torch.float64).to(words)
        if metric == "cosine":
            return cls(planes, planes.new_zeros(()), size.tables, size.probes)
        longest = torch.linalg.vector_norm(words, dim=2).max()
        longest = longest.where(longest > 0, 1.0)  # zero words only: later ones must be told apart
        sample = lengthened(sample, longest) if dot else sample
        sides = (sample @ planes).masked_fill(~real.unsqueeze(2), torch.nan)
        thresholds = sides.flatten(0, 1).nanmedian(0).values.nan_to_num(0.0)
        if dot:
            return EqualLengthHyperplanes(planes, thresholds, size, longest)
        return cls(planes, thresholds, size.tables, size.probes)

    def choices(self, words: Tensor) -> Choices:
        return Choices(self._codes(self._sides(words)))

    def probes(self, queries: Tensor) -> Tensor:
        sides = self._sides(queries)
        codes = self._codes(sides).unsqueeze(3)
        return codes if self._probes == 1 else codes ^ self._flips(sides, self._probes)

    def exchange(self, vectors: Tensor, inputs: ExchangeInputs) -> ExchangeOutputs:
        from index.kernels.codes import exchange_codes

        probes = inputs.empty_probes(self._shape[0], self._probes)
        sides = self._all_sides(vectors, inputs.slots.shape[1]).numpy()
        put = exchange_codes(inputs, sides, self._crossed(self._probes), probes)
        return ExchangeOutputs(*put, probes)

    def _all_sides(self, vectors: Tensor, words: int) -> Tensor:
        """r . x - t of words and the queries after them, [B, M + Q, L bits]."""
        return (vectors @ self._planes).sub_(self._thresholds)

    def _sides(self, vectors: Tensor) -> Tensor:
        """r . x - t for every hyperplane, [B, M, L, bits]."""
        return (vectors @ self._planes - self._thresholds).unflatten(2, self._shape)

    def _codes(self, sides: Tensor) -> Tensor:
        return ((sides > 0).to(sides.dtype) @ self._powers).long()

    def _crossed(self, count: int) -> int:
        """How many hyperplanes are crossed, at most, for `count` buckets."""
        return min(self._shape[1], _MOST_CROSSED, (count - 1).bit_length() + 1)

    def _flips(self, sides: Tensor, count: int) -> Tensor:
        """Bits to flip for the `count` nearest buckets, the own one (0) first; [..., count]."""
        crossed = self._crossed(count)
        margins, planes = sides.abs().topk(crossed, largest=False)
        subsets = torch.arange(2**crossed, device=sides.device)
        subsets = (subsets >> torch.arange(crossed, device=sides.device).unsqueeze(1)) & 1
        subsets = subsets.to(sides.dtype)  # [crossed, 2^crossed]
        nearest = (margins.square() @ subsets).topk(count, largest=False).indices
        return (self._powers[planes] @ subsets).gather(-1, nearest).long()


class EqualLengthHyperplanes(Hyperplanes):
    """For inner products: see `Hyperplanes`."""

    def __init__(self, planes: Tensor, thresholds: Tensor, size: Size, longest: Tensor) -> None:
        super().__init__(planes, thresholds, size.tables, size.probes)
        self._longest = longest

    def choices(self, words: Tensor) -> Choices:
        return super().choices(lengthened(words, self._longest))

    def probes(self, queries: Tensor) -> Tensor:
        return super().probes(self._stretched(queries))

    def _all_sides(self, vectors: Tensor, words: int) -> Tensor:
        longer = lengthened(vectors[:, :words], self._longest)
        both = torch.cat((longer, self._stretched(vectors[:, words:])), 1)
        return super()._all_sides(both, words)

    def _stretched(self, queries: Tensor) -> Tensor:
        """Queries as long as the words, with one number more, [B, Q, W + 1]."""
        lengths = torch.linalg.vector_norm(queries, dim=2, keepdim=True)
        queries = queries / lengths.clamp_min(torch.finfo(queries.dtype).tiny) * self._longest
        return functional.pad(queries, (0, 1))


def lengthened(words: Tensor, longest: Tensor) -> Tensor:
    """Words with one number more, [B, M, W + 1], all of the length of the longest."""
    rest = longest.square() - words.square().sum(2, keepdim=True)
    return torch.cat([words, rest.clamp_min(0).sqrt()], 2)


class LSHIndex(HashedIndex):
    """Several tables of buckets, one for each pattern of signs towards random hyperplanes.

    The backend for words that change their nature: nothing is learned from them, so nothing has to
    be learned anew. The most similar word is nearly always found; of the k best fewer than by
    learned lists. Under the cosine, words that all point much the same way share few buckets: then
    many find theirs full, which `stats().unplaced` tells, and `ivf` serves better.

    Rule for n slots in use, rounded up to a power of two: 8 tables, 16 words to a bucket on the
    mean (2^bits = n / 16), twice as many places, 4 probes. All slots are hashed from the first
    (`exact_below` 0). A word that finds its bucket full is left out of that table.
    """

    hash_type = Hyperplanes
    shared_options = HashedIndex.shared_options - {"refresh_after"}  # nothing is learned
