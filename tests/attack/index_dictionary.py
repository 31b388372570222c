"""What an index must hold and answer, slot by slot, in float64 and fast enough for many calls."""

import torch
from torch import Tensor
from torch.nn import functional

from index import Neighbors, VectorIndex
from index.config import Metric


class Dictionary:
    """The words of B memories by slot, and what is promised about slots to come."""

    def __init__(self, batch_size: int, capacity: int, width: int, metric: Metric) -> None:
        self.capacity, self.metric = capacity, metric
        self.words = torch.zeros(batch_size, 1, width, dtype=torch.float64)
        self.held = torch.zeros(batch_size, 1, dtype=torch.bool)
        self.promised: int | None = None
        self.peak = 0  # every slot that was ever in use or promised is below it

    @property
    def limit(self) -> int:
        """The first slot that is too high for an update."""
        return self.capacity if self.promised is None else self.promised

    @property
    def top(self) -> int:
        """One more than the highest slot that holds a word."""
        used = self.held.any(0).nonzero()
        return int(used[-1]) + 1 if len(used) else 0

    def update(self, slots: Tensor, words: Tensor) -> None:
        self._grow(int(slots.max()) + 1 if slots.numel() else 0)
        for b, row in enumerate(slots.tolist()):
            for m, slot in enumerate(row):
                if slot >= 0:
                    self.words[b, slot], self.held[b, slot] = words[b, m], True

    def load(self, words: Tensor) -> None:
        self._grow(words.shape[1])
        self.words[:, : words.shape[1]] = words
        self.held[:, : words.shape[1]] = True

    def remove(self, slots: Tensor) -> None:
        for b, row in enumerate(slots.tolist()):
            for slot in row:
                if 0 <= slot < self.held.shape[1]:
                    self.held[b, slot] = False

    def reset(self, rows: Tensor | None) -> None:
        if rows is None:
            self.held[:] = False
            self.promised, self.peak = None, 0
        else:
            self.held[rows] = False

    def _grow(self, slots: int) -> None:
        self.peak = max(self.peak, slots)
        more = slots - self.words.shape[1]
        if more > 0:
            with torch.inference_mode(False):  # or they could not be written to outside of it
                self.words = functional.pad(self.words, (0, 0, 0, more))
                self.held = functional.pad(self.held, (0, more))

    def scores(self, queries: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Of all words for queries [B, Q, W], and by how much each may be off; [B, Q, slots]."""
        queries, words = queries.double(), self.words
        if self.metric == "cosine":  # vectors of zeros stay as they are
            queries, words = (functional.normalize(v, dim=2, eps=1e-300) for v in (queries, words))
        long, wide = (torch.linalg.vector_norm(v, dim=2) for v in (queries, words))
        lengths = long.unsqueeze(2), wide.unsqueeze(1)
        if self.metric == "l2":
            exact = -(queries.unsqueeze(2) - words.unsqueeze(1)).square().sum(3)
            size = (lengths[0] + lengths[1]).square()
        else:
            exact, size = queries @ words.transpose(1, 2), lengths[0] * lengths[1]
        about = torch.finfo(dtype)
        return exact, 64 * about.eps * size + about.tiny**0.5

    def check(self, index: VectorIndex) -> None:
        """Raises AssertionError unless as many words are there as there must be."""
        found, wanted = index.occupancy.tolist(), self.held.sum(1).tolist()
        assert found == wanted, f"occupancy {found} of {wanted}"
        assert index.capacity == self.capacity

    def check_found(
        self, near: Neighbors, queries: Tensor, k: int, dtype: torch.dtype, *, complete: bool
    ) -> None:
        """Raises AssertionError unless an answer is right.

        Args:
            near: the answer.
            queries: in the dtype of the index, [B, Q, W].
            k: how many were asked for.
            dtype: of the index.
            complete: whether the k best must be there, and not only words that are.
        """
        slots, scores = near
        shape = (*queries.shape[:2], k)
        self.check_slots(slots, shape)
        assert scores.shape == shape and scores.dtype == dtype
        if not slots.numel():
            return
        is_free, scores, real = slots < 0, scores.double(), slots.clamp_min(0)
        held = self.held.unsqueeze(1).expand(-1, shape[1], -1)
        assert bool((scores.isneginf() == is_free).all()), "a free place is -1 and -inf"
        falling = scores[..., 1:] <= scores[..., :-1]
        assert bool(falling.all()), "best first, free places last"
        exact, off = self.scores(queries, dtype)
        wrong = (scores - exact.gather(2, real)).abs() > off.gather(2, real)
        assert not bool((wrong & ~is_free).any()), "a score that is not the slot's"
        if complete:
            exact = exact.masked_fill(~held, -torch.inf)
            count = min(k, exact.shape[2])
            best = exact.topk(count, 2).values
            most = (off * held).amax(2, keepdim=True)
            short = best > scores[..., :count] + 2 * most
            assert not bool(short.any()), "a better word was passed over"

    def check_slots(self, slots: Tensor, shape: tuple[int, ...]) -> None:
        """Raises AssertionError unless slots are -1 or hold a word, and none comes twice."""
        assert slots.shape == shape, f"shape {slots.shape}, and not {shape}"
        assert slots.dtype == torch.int64
        if not slots.numel():
            return
        assert bool((slots >= -1).all()) and int(slots.max()) < self.held.shape[1], "no such slot"
        held = self.held.unsqueeze(1).expand(-1, shape[1], -1).gather(2, slots.clamp_min(0))
        assert bool((held | (slots < 0)).all()), "a slot without a word"
        ordered = slots.sort(2).values
        twice = (ordered[..., 1:] == ordered[..., :-1]) & (ordered[..., 1:] >= 0)
        assert not bool(twice.any()), "a slot twice"
