"""AccessOrder against brute force over U^(2), the time since each word's last access."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sam.ops import AccessOrder


class BruteForce:
    """All N slots of one memory, sorted anew at every question."""

    def __init__(self, memory_size, loaded=0):
        self.stamps = [(-1 if slot < loaded else -2, slot) for slot in range(memory_size)]
        self.now = 0
        self.high = loaded

    def lru_slots(self, count):
        slots = range(len(self.stamps))
        return sorted(slots, key=lambda slot: self.stamps[slot])[:count]

    def record_access(self, slots, weights, threshold):
        for place, slot in reversed(list(enumerate(slots))):
            total = sum(w for s, w in zip(slots, weights, strict=True) if s == slot)
            if slot >= 0 and total > threshold:
                self.stamps[slot] = (self.now, -place)
        self.now += 1


@given(
    st.integers(1, 3),
    st.integers(3, 90),
    st.sampled_from([0, 0, 1, 3, 7, 40, 90]),
    st.integers(1, 3),
    st.integers(1, 8),
    st.sampled_from([0, 0, 1, 2, 50]),
    st.integers(0, 999),
)
def test_order_equals_brute_force(batch, memory_size, loaded, count, accesses, growth, seed):
    generator = torch.Generator().manual_seed(seed)
    loaded = min(loaded, memory_size)
    order = AccessOrder(batch, memory_size, count, loaded=loaded)
    brute = [BruteForce(memory_size, loaded) for _ in range(batch)]
    for step in range(60):
        assert loaded <= order.slot_bound or step > 16
        found = order.lru_slots()
        assert found.tolist() == [b.lru_slots(count) for b in brute]
        handed_out = [
            max(b.high, 1 + max(row)) for b, row in zip(brute, found.tolist(), strict=True)
        ]
        assert order.handed_out[:, 0].tolist() == handed_out
        assert max(handed_out) <= order.slot_bound <= memory_size
        if step == 30:
            order = order.clone()
        if step in (11, 37):
            memory_size += growth
            order.resize(memory_size)
            for b in brute:
                b.stamps += [(-2, slot) for slot in range(len(b.stamps), memory_size)]
            continue
        if step % 17 == 16:
            mask = torch.rand(batch, generator=generator) < 0.5
            order.reset(mask)
            for row in mask.nonzero()[:, 0].tolist():
                brute[row] = BruteForce(memory_size)
            continue
        # What was handed out now or before, and some pads.
        for row, b in enumerate(brute):
            b.high = max(b.high, int(found[row].max()) + 1)
        high = torch.tensor([b.high + 1 for b in brute])[:, None]
        old = (torch.rand(batch, accesses, generator=generator) * high).long() - 1
        slots = torch.cat([old, found, found[:, :1]], 1)
        weights = torch.rand(slots.shape, generator=generator) * 0.02
        order.record_access(slots, weights, 0.01)
        for row, b in enumerate(brute):
            b.record_access(slots[row].tolist(), weights[row].tolist(), 0.01)


def test_weights_of_a_slot_given_twice_add_up():
    order = AccessOrder(1, 8, 2)
    assert order.lru_slots().tolist() == [[0, 1]]
    order.record_access(torch.tensor([[0, 1, 0]]), torch.tensor([[0.3, 0.3, 0.3]]), 0.5)
    assert order.lru_slots().tolist() == [[1, 2]]


def test_fresh_order_takes_no_space_for_untouched_slots():
    order = AccessOrder(8, 2**30, 4)
    assert order.nbytes == AccessOrder(8, 2**10, 4).nbytes < 10_000
    for step in range(50):
        slots = order.lru_slots()
        assert slots.tolist() == [list(range(4 * step, 4 * step + 4))] * 8
        order.record_access(slots, torch.ones(8, 4), 0.5)
    assert order.nbytes < 50_000


def test_slots_that_are_never_accessed_do_not_grow_the_order():
    order = AccessOrder(1, 2**30, 4)
    for _ in range(1000):
        assert order.lru_slots().tolist() == [[0, 1, 2, 3]]
    assert order.last_access.shape[1] <= 64


def test_reset_lets_space_be_used_again():
    order = AccessOrder(2, 2**30, 4)
    for _ in range(200):
        for _ in range(5):
            slots = order.lru_slots()
            order.record_access(slots, torch.ones(2, 4), 0.5)
        assert slots.tolist() == [[16, 17, 18, 19]] * 2
        order.reset(torch.tensor([True, True]))
    assert order.last_access.shape[1] <= 64
    assert order.slot_bound == 0


@pytest.mark.parametrize("copier", [copy.deepcopy, AccessOrder.clone])
def test_copies_are_independent(copier):
    order = AccessOrder(1, 6, 2)
    order.record_access(order.lru_slots(), torch.ones(1, 2), 0.5)
    other = copier(order)
    order.record_access(order.lru_slots(), torch.ones(1, 2), 0.5)
    assert order.lru_slots().tolist() == [[4, 5]]
    assert other.lru_slots().tolist() == [[2, 3]]


def test_cost_of_a_touch_is_amortised_over_a_full_memory():
    """Sorting happens only after as many accesses as there are slots, to within a constant."""
    memory_size, steps, sorts = 512, 1000, []

    class Counting(AccessOrder):
        __slots__ = ()

        def _sort(self, mask):
            sorts.append(1)
            return super()._sort(mask)

    order = Counting(1, memory_size, 4)
    for _ in range(steps):
        order.record_access(order.lru_slots(), torch.ones(1, 4), 0.5)
    assert 1 <= len(sorts) <= steps * 4 / memory_size + 1


@pytest.mark.parametrize(("loaded", "expected"), [(6, [0, 1, 2]), (4, [4, 5, 0]), (1, [1, 2, 3])])
def test_loaded_slots_go_after_the_fresh_ones_slot_zero_first(loaded, expected):
    order = AccessOrder(2, 6, 3, loaded=loaded)
    assert order.slot_bound == loaded and order.handed_out.tolist() == [[loaded]] * 2
    assert order.lru_slots().tolist() == [expected] * 2


def test_reading_a_loaded_slot_saves_it_from_being_next():
    order = AccessOrder(1, 5, 2, loaded=5)
    order.record_access(torch.tensor([[0, 3]]), torch.ones(1, 2), 0.5)
    assert order.lru_slots().tolist() == [[1, 2]]
    order.record_access(torch.tensor([[1, 2]]), torch.ones(1, 2), 0.5)
    # In one access the first counts as the latest.
    assert order.lru_slots().tolist() == [[4, 3]]


def test_reset_empties_a_loaded_row_and_leaves_the_others():
    order = AccessOrder(2, 6, 2, loaded=6)
    order.reset(torch.tensor([True, False]))
    assert order.handed_out.tolist() == [[0], [6]]
    order.record_access(order.lru_slots(), torch.ones(2, 2), 0.5)
    assert order.lru_slots().tolist() == [[2, 3], [2, 3]]
    assert order.handed_out.tolist() == [[4], [6]]


@given(st.integers(1, 20), st.integers(0, 20), st.integers(0, 99))
def test_loaded_slots_are_as_slots_accessed_one_after_the_other(loaded, fresh, seed):
    generator = torch.Generator().manual_seed(seed)
    memory_size = loaded + fresh
    given, used = AccessOrder(1, memory_size, 1, loaded=loaded), AccessOrder(1, memory_size, 1)
    for _ in range(loaded):
        used.record_access(used.lru_slots(), torch.ones(1, 1), 0.5)
    for _ in range(2 * memory_size):
        found = given.lru_slots()
        assert torch.equal(found, used.lru_slots())
        assert torch.equal(given.handed_out, used.handed_out)
        more = torch.randint(0, loaded, (1, 2), generator=generator)
        for order in (given, used):
            order.record_access(torch.cat([found, more], 1), torch.ones(1, 3), 0.5)


def test_a_loaded_order_is_not_sorted_before_its_slots_are_used_up():
    class Unsorted(AccessOrder):
        __slots__ = ()

        def _sort(self, mask):
            raise AssertionError("a snapshot of 2^20 slots was sorted after a few accesses")

    for loaded in (2**20, 2**20 - 8):
        order = Unsorted(1, 2**20, 4, loaded=loaded)
        for _ in range(50):
            order.record_access(order.lru_slots(), torch.ones(1, 4), 0.5)
        assert order.lru_slots().tolist()[0][0] == (loaded + 200) % 2**20
        assert order._queue is None
