"""Locality-sensitive hashing by random hyperplanes (SimHash, Charikar 2002)."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from index.contents import Contents
from index.hashed import HashedIndex
from index.hashing import Choices, Hash, LearnInputs, Probes, Rule, Size
from index.inverted_lists import ListArrays
from index.metric import Metric

# Words of each memory whose median is taken.
_SAMPLE = 1024
# Of a query's nearest hyperplanes, at most so many may be crossed in looking for further buckets:
# it looks into at most 2^8 of a table.
_MOST_CROSSED = 8


class Hyperplanes(Hash):
    """On which side of random hyperplanes a vector lies, for each of L tables.

        code_l(x) = sum_i 2^i [r_li . x > t_li]

    t is the median over a sample of the words, so that half of them lie on either side. For words
    around 0 it is near 0, and under the cosine P(bit of x = bit of y) = 1 - angle(x, y) / pi. Under
    dot words get one number more, sqrt(s^2 - |m|^2) with the norm s of the longest word, which
    makes all as long; queries are brought to the length s and get 0.

    The further buckets of a query come in the order of sum (r_li . q - t_li)^2 over the hyperplanes
    that have to be crossed (Lv et al. 2007, query-directed probing), of the 8 nearest.
    """

    name = "lsh"
    word_cost = 3.0
    exact_below = 0

    def __init__(self, planes: Tensor, thresholds: Tensor, tables: int) -> None:
        self._planes = planes  # [W, L bits]
        self._thresholds = thresholds  # [L bits]
        self.scores = planes.shape[1]
        bits = self.scores // tables
        self.tables, self.lists = tables, 2**bits
        self._shape = tables, bits
        self._powers = torch.pow(2, torch.arange(bits, device=planes.device)).to(planes)
        self._crossed = min(bits, _MOST_CROSSED)
        self.most_probes = 2**self._crossed

    @staticmethod
    def rule(slots: int) -> Rule:
        return Rule(tables=8, lists=max(2, slots // 16))

    @staticmethod
    def possible(lists: int) -> int:
        return 1 << max(1, (lists - 1).bit_length())

    @staticmethod
    def sample_size(size: Size, metric: Metric) -> int:
        return _SAMPLE

    @classmethod
    def learn(cls, size: Size, inputs: LearnInputs) -> "Hyperplanes":
        metric, sample, real, words, generator = inputs
        dot = metric == "dot"
        shape = sample.shape[2] + dot, size.tables * (size.lists - 1).bit_length()
        planes = torch.randn(shape, generator=generator, dtype=torch.float64).to(sample)
        lengths = (torch.linalg.vector_norm(some, dim=2).max() for some in words())
        longest = torch.stack([*lengths]).max()
        longest = longest.where(longest > 0, 1.0)  # zero words only: later ones must be told apart
        sample = lengthened(sample, longest) if dot else sample
        sides = (sample @ planes).masked_fill(~real.unsqueeze(2), torch.nan)
        sides = sides.flatten(0, 1)
        thresholds = sides.nanmedian(0).values.nan_to_num(0.0)
        # Beside the median, which is a word: equal words must not lie in a hyperplane.
        apart = 1e-3 * (sides - thresholds).abs().nanmean(0) + 1e-5 * sides.abs().nanmean()
        thresholds += apart.nan_to_num(0.0)
        if dot:
            return EqualLengthHyperplanes(planes, thresholds, size.tables, longest)
        return cls(planes, thresholds, size.tables)

    def repeated(self, count: int) -> "Hyperplanes":
        return self  # of all memories together

    def choices(self, words: Tensor) -> Choices:
        return Choices(self._codes(self._split_sides(self._word_sides(words))))

    def probes(self, queries: Tensor, count: int, memory: int | None = None) -> Tensor:
        sides = self._split_sides(self._query_sides(queries))
        codes = self._codes(sides).unsqueeze(3)
        return codes if count == 1 else codes ^ self._flips(sides, count)

    def assigned(self, words: Tensor) -> Choices:
        from index.kernels.codes import codes_of

        homes = np.empty((*words.shape[:2], self.tables), np.int64)
        codes_of(self._word_sides(words).numpy(), homes)
        return Choices(torch.from_numpy(homes))

    def chosen(self, queries: Tensor, lists: ListArrays, budget: int) -> Probes:
        from index.kernels.codes import choose_codes

        found = Probes.empty(queries, self.tables * self.most_probes)
        sides = self._query_sides(queries).numpy()
        choose_codes(sides, self.tables, self._crossed, lists.sizes, budget, *found)
        return found

    def content(self) -> dict[str, Tensor]:
        return {"planes": self._planes, "thresholds": self._thresholds}

    @classmethod
    def restored(cls, given: Contents, index: Any, tables: int, lists: int) -> "Hyperplanes":
        dot, bits = index.config.metric == "dot", max(1, lists).bit_length() - 1
        shape = index.word_size + dot, tables * bits
        planes = given.finite("hash_planes", shape, index.dtype).to(index.device)
        thresholds = given.finite("hash_thresholds", shape[1:], index.dtype).to(index.device)
        if 2**bits != lists or not tables or not bits:
            raise given.refuse("layout", "a power of two of buckets", lists)
        if not dot:
            return cls(planes, thresholds, tables)
        longest = given.finite("hash_longest", (1,), index.dtype).to(index.device)[0]
        return EqualLengthHyperplanes(planes, thresholds, tables, longest)

    def _word_sides(self, words: Tensor) -> Tensor:
        """r . x - t for every hyperplane, [B, M, L bits]."""
        return (words @ self._planes).sub_(self._thresholds)

    def _query_sides(self, queries: Tensor) -> Tensor:
        return self._word_sides(queries)

    def _split_sides(self, sides: Tensor) -> Tensor:
        return sides.unflatten(2, self._shape)

    def _codes(self, sides: Tensor) -> Tensor:
        return ((sides > 0).to(sides.dtype) @ self._powers).long()

    def _flips(self, sides: Tensor, count: int) -> Tensor:
        """Bits to flip for the `count` nearest buckets, the own one (0) first; [..., count]."""
        crossed = self._crossed
        margins, planes = sides.abs().topk(crossed, largest=False)
        subsets = torch.arange(2**crossed, device=sides.device)
        subsets = (subsets >> torch.arange(crossed, device=sides.device).unsqueeze(1)) & 1
        subsets = subsets.to(sides.dtype)  # [crossed, 2^crossed]
        costs = margins.square() @ subsets
        costs[..., 0] = -1.0  # first, also of a query that lies in hyperplanes
        nearest = costs.topk(count, largest=False).indices
        return (self._powers[planes] @ subsets).gather(-1, nearest).long()


class EqualLengthHyperplanes(Hyperplanes):
    """For inner products: see `Hyperplanes`."""

    def __init__(self, planes: Tensor, thresholds: Tensor, tables: int, longest: Tensor) -> None:
        super().__init__(planes, thresholds, tables)
        self._longest = longest

    def content(self) -> dict[str, Tensor]:
        return super().content() | {"longest": self._longest.view(1)}

    def _word_sides(self, words: Tensor) -> Tensor:
        return super()._word_sides(lengthened(words, self._longest))

    def _query_sides(self, queries: Tensor) -> Tensor:
        """Of queries as long as the words, with one number more."""
        lengths = torch.linalg.vector_norm(queries, dim=2, keepdim=True)
        queries = queries / lengths.clamp_min(torch.finfo(queries.dtype).tiny) * self._longest
        return super()._word_sides(functional.pad(queries, (0, 1)))


def lengthened(words: Tensor, longest: Tensor) -> Tensor:
    """Words with one number more, [B, M, W + 1], all of the length of the longest."""
    rest = longest.square() - words.square().sum(2, keepdim=True)
    return torch.cat([words, rest.clamp_min(0).sqrt()], 2)


class LSHIndex(HashedIndex):
    """Several tables of buckets, one for each pattern of signs towards random hyperplanes.

    The backend for words that change their nature: of the words only medians are learned. The most
    similar word is nearly always found; of the k best fewer than by learned lists.

    Rule for n slots in use, rounded up to a power of two: 8 tables, 16 words to a bucket on the
    mean (2^bits = n / 16). The medians are taken anew once all words were replaced.
    """

    hash_type = Hyperplanes
