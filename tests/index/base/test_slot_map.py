"""Maps from slots to places, in both forms, against dictionaries."""

import random

import pytest
import torch

from index.base.slot_map import SlotMap
from index.compiled import use_compiled
from tests.index.oracle import FORMS

BATCH, BOUND = 3, 500


@pytest.mark.parametrize("alternate", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_maps_are_dictionaries(form: bool, alternate: bool) -> None:
    """Slots that are near or far apart; either form goes on where the other stopped."""
    made, maps = SlotMap(BATCH, BOUND, torch.device("cpu")), [{} for _ in range(BATCH)]
    draw = random.Random(3)
    for step in range(60):
        ends = draw.choice([(0, 40), (0, 1000), (2**59, 2**60), (0, 2**60)])
        count = draw.choice([0, 1, 5, 300 if step % 20 == 0 else 8])
        rows = [draw.sample(range(*ends), min(count, 40)) for _ in range(BATCH)]
        slots = torch.tensor(rows, dtype=torch.int64).view(BATCH, -1)
        slots = slots.masked_fill(torch.rand(slots.shape) < 0.2, -1)
        other = not form and len(FORMS) > 1
        with use_compiled(other if alternate and step % 2 else form):
            places = made.add(slots)
            for b, own in enumerate(maps):
                for slot, place in zip(slots[b].tolist(), places[b].tolist(), strict=True):
                    expected = own.setdefault(slot, len(own)) if slot >= 0 else -1
                    assert place == expected
            asked = torch.tensor([[*draw.choices([*own, 3], k=9), -1, 7, 2**60] for own in maps])
            found = made.find(asked)
            for b, own in enumerate(maps):
                assert found[b].tolist() == [own.get(slot, -1) for slot in asked[b].tolist()]
            memories = torch.tensor([2, 0, 2, 1])
            assert torch.equal(made.find(asked[memories], memories), found[memories])
            assert torch.equal(made.slots_at(found), asked.masked_fill(found < 0, -1))
        assert made.counts.tolist() == [len(own) for own in maps]
        assert made.below.tolist() == [sum(s < BOUND for s in own) for own in maps]
        assert made.most == max(map(len, maps))
        if step == 30:
            made.clear(torch.tensor([True, False, False]))
            maps[0] = {}
        if step == 45:
            made = SlotMap.of(made.written(), BOUND)
    made.clear(None)
    assert made.most == 0 and made.find(torch.zeros(BATCH, 1, dtype=torch.int64)).eq(-1).all()
    assert made.nbytes == SlotMap(BATCH, BOUND, torch.device("cpu")).nbytes
