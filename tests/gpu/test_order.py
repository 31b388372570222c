"""How often what must wait for a device does so: the order of access, and drifting words."""

import pytest
import torch

from sam.ops import AccessOrder
from tests.gpu.elsewhere import Elsewhere
from tests.models.cases import IN, B, build

COUNT = 4


def drive(steps, memory_size, *, used=1.0, until=None, episode=None):
    """Hands out slots here and elsewhere, and has a fraction accessed, until some step.

    Returns how often there was a look, and how many slots the order elsewhere has room for.
    """
    both = torch.ones(2, dtype=torch.bool)
    here = AccessOrder(2, memory_size, COUNT)
    generator = torch.Generator().manual_seed(0)
    with Elsewhere() as place:
        there = AccessOrder(2, memory_size, COUNT, device=place.device)
        for step in range(steps):
            if episode and step % episode == 0:
                here.reset(both)
                there.reset(place.put(both))
            slots, others = here.lru_slots(), there.lru_slots()
            weights = (torch.rand(2, COUNT, generator=generator) < used).float()
            weights *= until is None or step < until
            here.record_access(slots, weights, 0.5)
            there.record_access(others, place.put(weights), 0.5)
            assert torch.equal(slots, place.fetch(others))
            assert int(slots.max()) < there.slot_bound <= memory_size
        assert {wait.within[0] for wait in place.waits} <= {"AccessOrder._make_room"}
        return len(place.waits), there.last_access.shape[1]


def test_the_order_looks_when_its_space_doubles():
    looks, space = drive(100, 2**20)
    assert (looks, space) == (4, 512)  # at 32, 64, 128 and 256 slots


@pytest.mark.parametrize(
    ("options", "most"),
    [
        ({"used": 0.0}, 32),
        ({"used": 0.1}, 256),
        # Of 32 slots the last ones are never taken.
        ({"until": 6}, 64),
        ({"episode": 3}, 32),
        ({"episode": 10}, 128),
        ({"episode": 100, "used": 0.5}, 512),
    ],
)
def test_the_order_seldom_looks_where_slots_are_given_back(options, most):
    """And its room is that of the slots in use at one time, not of all that were handed out."""
    steps = 160
    looks, space = drive(steps, 2**20, **options)
    assert space <= most
    # At least half of the room there is from the start is handed out between two looks.
    assert 1 <= looks <= steps * COUNT / 16


def test_a_full_memory_looks_once_a_step_and_when_it_sorts():
    model = build("sam", {"memory_size": 40})
    with Elsewhere() as place:
        model = place.model(model)
        inputs = place.put(torch.randn(30, B, IN, dtype=torch.float64))
        _, state = model(inputs[:20])
        place.waits.clear()
        model(inputs[20:], state)
        inside = [wait for wait in place.waits if "AccessOrder.lru_slots" in wait.within]
    # A few slots were accessed since they were sorted, so that more have to be looked at.
    assert 10 <= len(inside) <= 20
    assert len(place.waits) == len(inside) + 1  # the inputs are looked at once a call
