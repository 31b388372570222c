"""The order of access over a base hands out the slots that one does that was loaded with it."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sam.errors import ShapeError
from sam.store.access_order import AccessOrder
from sam.store.buffer import Buffer
from sam.store.overlay_order import OverlayOrder

B, W, COUNT = 2, 3, 2


class Words:
    """A base in memory."""

    identity = "words"

    def __init__(self, count: int) -> None:
        self.words = torch.arange(count * W).view(count, W).float()

    def __len__(self) -> int:
        return len(self.words)

    def words_at(self, slots: torch.Tensor, *, dtype: torch.dtype) -> torch.Tensor:
        return self.words[slots].to(dtype)

    def put_words(self, slots: torch.Tensor, into: torch.Tensor, rows: torch.Tensor) -> None:
        into[rows] = self.words[slots].to(into.dtype)

    def skip(self) -> None:
        """Nothing, as no other process waits."""


class Pair:
    """Both orders, told the same."""

    def __init__(self, shared: int, size: int) -> None:
        self.dense = AccessOrder(B, size, COUNT, loaded=shared)
        self.over = OverlayOrder(B, size, COUNT, base=Words(shared))
        self.buffer = Buffer(torch.zeros(1, B, W))

    def hand_out(self) -> torch.Tensor:
        slots, places = self.dense.lru_slots(), self.over.lru_slots()
        self.over.load(self.buffer)
        assert torch.equal(self.over.slots_of(places), slots)
        assert torch.equal(self.over.handed_out, self.dense.handed_out)
        assert int(self.over.places_in_use.max()) <= self.over.slot_bound
        return slots

    def access(self, slots: torch.Tensor, weights: torch.Tensor) -> None:
        self.dense.record_access(slots, weights, 0.5)
        self.over.record_access(self.over.places_of(slots, self.buffer), weights, 0.5)

    def check_words(self, shared: int) -> None:
        """Every base word that has a place was copied there."""
        named = self.over._named.written()
        for row, slots in enumerate(named.tolist()):
            for place, slot in enumerate(slots):
                if 0 <= slot < shared:
                    word = self.buffer.rows[1 + place, row]
                    assert torch.equal(word, self.over.base.words[slot])


# Words of the base, own slots at first, and a seed of what happens.
@settings(max_examples=25)
@given(st.integers(3, 30), st.integers(0, 9), st.integers(0, 10_000))
def test_the_same_slots_are_handed_out(shared: int, own: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    draw: Any = lambda high, *size: torch.randint(high, size, generator=generator)  # noqa: E731
    pair = Pair(shared, shared + own)
    for _ in range(30):
        slots = pair.hand_out()
        kind = int(draw(20))
        if kind == 0:
            mask = draw(2, B).bool()
            pair.over.reset(mask)
            # One that was loaded is empty after a reset: here it is another one that was loaded.
            fresh = AccessOrder(B, pair.dense.memory_size, COUNT, loaded=shared)
            pair.dense.put(mask.nonzero()[:, 0], fresh.rows(mask.nonzero()[:, 0]))
            pair.over._clock = pair.dense._clock
            continue
        if kind == 1:
            size = pair.dense.memory_size + int(draw(5))
            pair.dense.resize(size)
            pair.over.resize(size)
            continue
        if kind == 2:
            pair.over, pair.dense = pair.over.clone(), pair.dense.clone()
        known = torch.where(draw(2, B, 3).bool(), draw(shared, B, 3), slots[:, :1])
        weights = torch.rand(B, 3 + COUNT, generator=generator)
        pair.access(torch.cat([known, slots], 1), weights)
    pair.check_words(shared)


def test_a_slot_that_was_not_handed_out_is_refused() -> None:
    pair = Pair(4, 9)
    pair.hand_out()
    with pytest.raises(ShapeError, match="below 4, or such as were handed out, got 6"):
        pair.over.places_of(torch.tensor([[6], [0]]), pair.buffer)


def test_pieces_of_the_base_are_copied_as_they_are_needed() -> None:
    """A row that has used up its own slots takes few base words at a time."""
    pair = Pair(5000, 5002)
    for step in range(20):
        slots = pair.hand_out()
        pair.access(slots, torch.ones(B, COUNT))
        assert int(pair.over._count.max()) <= 2 * (step + 1) + 2 + 16
