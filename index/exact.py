"""Exact search: every query against every word in use. The oracle of the other backends.

Also the fastest choice while few slots are in use. Time and bytes follow the highest slot in use,
never the capacity: a fresh index of 2^30 slots takes next to nothing.
"""

import torch
from torch import Tensor

from index.base import Neighbors, VectorIndex

_FIRST_ROOM = 32
# Scores are held at most this many bytes at a time; more words are searched in pieces.
_MAX_SCORE_BYTES = 64 * 2**20
# From this many words on, the best of every _DEPTH words are found before the best k.
_BLOCKS_FROM = 4096
_DEPTH = 16


class ExactIndex(VectorIndex):
    """Brute force over the slots in use, as one product and one top-k for all memories.

    The words lie in one tensor [B, 1 + room, W] whose room doubles when a higher slot comes. Slot s
    is row s + 1: row 0 takes what is written to slot -1 and is never searched. A second tensor
    holds 0 for an occupied row and -inf for a free one, and is added to the scores.

    Among equal scores the order, and which of them are among the k, is unspecified but the same on
    every run. Scores beyond the range of the dtype are not supported.

    Cost: update and remove O(B M W). Search O(B Q R W), with R one more than the highest slot in
    use in any memory since a reset lowered it, and at most 64 MiB of scores at a time; under l2
    about ten times as slow, since distances are summed from differences, which cannot cancel.
    """

    _takes_repeats = True

    def _build(self) -> None:
        self._allocate(0)

    def _allocate(self, room: int) -> None:
        """Makes free rows for `room` slots."""
        with torch.inference_mode(False):  # or they could not be written to outside of it
            words = self._like.new_zeros(self.batch_size, 1 + room, self.word_size)
            penalty = self._like.new_full((self.batch_size, 1 + room), -torch.inf)
            batch = torch.arange(self.batch_size, device=self.device)
        # Assigned last: where the memory does not suffice the index stays as it was.
        self._words, self._penalty, self._room = words, penalty, room
        self._first_row = (batch * (1 + room) + 1).unsqueeze(1)  # of slot 0, [B, 1]

    def _grow(self, slots: int) -> None:
        if slots <= self._room:
            return
        words, penalty, held = self._words, self._penalty, 1 + self._in_use
        room = min(self.capacity, max(slots, 2 * self._room, _FIRST_ROOM))
        self._allocate(_rounded_up(room))
        self._words[:, :held] = words[:, :held]
        self._penalty[:, :held] = penalty[:, :held]

    def _update(self, slots: Tensor, words: Tensor) -> None:
        rows = (slots + self._first_row).view(-1)
        self._words.view(-1, self.word_size).index_copy_(0, rows, words.reshape(len(rows), -1))
        self._penalty.view(-1).index_fill_(0, rows, 0.0)

    def _remove(self, slots: Tensor) -> None:
        rows = (slots + self._first_row).view(-1)
        self._words.view(-1, self.word_size).index_fill_(0, rows, 0.0)
        self._penalty.view(-1).index_fill_(0, rows, -torch.inf)

    def _reset(self, rows: Tensor | None) -> None:
        words = self._words[:, : 1 + self._in_use]
        penalty = self._penalty[:, : 1 + self._in_use]
        if rows is None:
            words.zero_()
            penalty.fill_(-torch.inf)
            return
        words.masked_fill_(rows.view(-1, 1, 1), 0.0)
        penalty.masked_fill_(rows.view(-1, 1), -torch.inf)
        if self.device.type == "cpu":  # elsewhere a look would wait for the device
            used = (penalty[:, 1:] == 0).any(0).nonzero()
            self._in_use = int(used[-1]) + 1 if len(used) else 0

    @property
    def occupancy(self) -> Tensor:
        return (self._penalty[:, 1 : 1 + self._in_use] == 0).sum(1)

    def _search(self, queries: Tensor, k: int) -> Neighbors:
        width = queries.shape[0] * max(1, queries.shape[1]) * queries.element_size()
        step = _rounded_up(max(k, _MAX_SCORE_BYTES // width))
        used = _rounded_up(self._in_use)
        scores, slots = self._scan(queries, 0, min(step, used), k)
        for start in range(step, used, step):
            more = self._scan(queries, start, min(step, used - start), k)
            scores, order = torch.cat((scores, more[0]), -1).topk(k)
            slots = torch.cat((slots, more[1] + start), -1).gather(-1, order)
        if self.config.metric == "l2":
            scores = -scores.square()
        return Neighbors(slots.masked_fill_(scores == -torch.inf, -1), scores)

    def _scan(self, queries: Tensor, start: int, count: int, k: int) -> tuple[Tensor, Tensor]:
        """Best of the slots from `start`: scores (under l2 minus distances), slots less `start`."""
        words = self._words.narrow(1, 1 + start, count)
        penalty = self._penalty.narrow(1, 1 + start, count).unsqueeze(1)
        if self.config.metric == "l2":
            mode = "donot_use_mm_for_euclid_dist"
            scores = penalty - torch.cdist(queries, words, compute_mode=mode)
        else:
            scores = torch.baddbmm(penalty, queries, words.transpose(1, 2))
        return _best(scores, min(k, count))


def _rounded_up(slots: int) -> int:
    """The next multiple of _DEPTH."""
    return -(-slots // _DEPTH) * _DEPTH


def _best(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k highest of [B, Q, R] and where they stand, both [B, Q, k], best first.

    R is a multiple of _DEPTH. Of many scores the maximum of each block of _DEPTH is taken first, a
    pass that runs at the speed of memory: the k best all lie in the k blocks with the highest
    maxima.
    """
    batch, count, width = scores.shape
    blocks = width // _DEPTH
    if width < _BLOCKS_FROM or k > blocks:
        best = scores.topk(k)
        return best.values, best.indices
    scores = scores.view(batch, count, _DEPTH, blocks)  # a block is a column
    columns = scores.amax(2).topk(k, sorted=False).indices
    candidates = scores.gather(3, columns.unsqueeze(2).expand(-1, -1, _DEPTH, -1))
    best = candidates.flatten(2).topk(k)
    within = best.indices.div(k, rounding_mode="floor")
    return best.values, within * blocks + columns.gather(2, best.indices % k)
