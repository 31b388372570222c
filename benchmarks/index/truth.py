"""The exact answers, worked out beside the indexes: what each slot holds, and who is nearest.

Nothing of the library's search is used: an error there would be in the truth too.
"""

import torch
from torch import Tensor

from index import Neighbors
from index.metric import Metric
from index.recall_measure import recall_at_k

# More are taken than asked for, then ordered in double precision.
_MORE = 22
_EPS = 1e-6  # what float32 may round, as `recall_at_k` takes it
# Words of up to so many numbers are compared in double precision: positions may be far apart.
_NARROW = 16


class Truth:
    """The words of one memory, kept up to date, and an exact search over them.

    Words are prepared once, when they are put: divided by their lengths for the cosine, shifted by
    a fixed word for l2, which changes no distance and keeps far words apart in float32.

    Args:
        capacity: slots.
        metric: as `IndexConfig.metric`.
        like: words [n, W], of which the mean is the shift.

    Attributes:
        words: [capacity, W] float32; of no meaning where `held` is false.
        held: whether a slot holds a word, bool [capacity].
    """

    def __init__(self, capacity: int, metric: Metric, like: Tensor) -> None:
        self.words = torch.zeros(capacity, like.shape[1])
        self.held = torch.zeros(capacity, dtype=torch.bool)
        dtype = torch.float64 if like.shape[1] <= _NARROW else torch.float32
        self._prepared = torch.zeros(capacity, like.shape[1], dtype=dtype)
        # What is taken from q.m: nothing, or |m|^2 / 2; infinite where no word is.
        self._less = torch.full((capacity,), torch.inf, dtype=dtype)
        self._metric, self._shift = metric, like.double().mean(0)

    def put(self, slots: Tensor, words: Tensor) -> None:
        """Words [n, W] at different slots [n]."""
        self.words[slots] = words
        self.held[slots] = True
        prepared = self._prepare(words)
        self._prepared[slots] = prepared.to(self._prepared.dtype)
        self._less[slots] = self._half_square(prepared)

    def remove(self, slots: Tensor) -> None:
        """Forgets the words at slots [n]."""
        self.held[slots] = False
        self._less[slots] = torch.inf

    def some(self, count: int, generator: torch.Generator) -> Tensor:
        """Words at random among those held, [count, W], perhaps some of them twice."""
        slots = self.held.nonzero().squeeze(1)
        return self.words[slots[torch.randint(len(slots), (count,), generator=generator)]]

    def recall(self, found: Tensor, queries: Tensor, k: int) -> float:
        """The share of the k best words that were found, the mean over the queries.

        Args:
            found: slots [Q, >= k], -1 where none; a slot that holds no word counts as none.
            queries: [Q, W].
            k: at least 1.
        """
        count = min(k, int(self.held.sum()))
        if count == 0:
            return 1.0
        near = self._prepare(queries).to(self._prepared.dtype) @ self._prepared.T
        more = min(k + _MORE, len(self.held))
        best = self._scored((near - self._less).topk(more, 1).indices, queries)
        scores, order = best.scores.sort(1, descending=True)
        exact = Neighbors(best.slots.gather(1, order)[:, :k], scores[:, :k])
        found = found.masked_fill(~self.held[found.clamp_min(0)], -1)
        return float(recall_at_k(self._scored(found, queries), exact, k, eps=_EPS).mean())

    def _scored(self, slots: Tensor, queries: Tensor) -> Neighbors:
        """Slots [Q, n] with their scores in double precision."""
        known = (slots >= 0) & self.held[slots.clamp_min(0)]
        words = self._prepare(self.words[slots.clamp_min(0)])
        asked = self._prepare(queries).unsqueeze(1)
        if self._metric == "l2":
            scores = -(words - asked).square().sum(2)
        else:
            scores = (words * asked).sum(2)
        return Neighbors(slots.masked_fill(~known, -1), scores.masked_fill(~known, -torch.inf))

    def _prepare(self, vectors: Tensor) -> Tensor:
        vectors = vectors.double()
        if self._metric == "l2":
            return vectors - self._shift
        if self._metric == "cosine":
            return torch.nn.functional.normalize(vectors, dim=-1, eps=1e-30)
        return vectors

    def _half_square(self, prepared: Tensor) -> Tensor:
        if self._metric != "l2":
            return torch.zeros(len(prepared), dtype=self._less.dtype)
        return (prepared.square().sum(1) / 2).to(self._less.dtype)
