"""Slots and their places: both forms against a dictionary a row."""

import pytest
import torch

from index.base.slot_map import SlotMap
from index.compiled import use_compiled

ROWS = 3


@pytest.fixture(params=[False, True], ids=["torch", "compiled"], autouse=True)
def form(request):
    if request.param:
        pytest.importorskip("numba")
    with use_compiled(request.param):
        yield


def draw(seed, width, high):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-1, high, (ROWS, width), generator=generator)


@pytest.mark.parametrize("high", [40, 2**40])
def test_slots_get_places_in_their_order_however_often_they_come(high):
    known, table = [{} for _ in range(ROWS)], SlotMap(ROWS, torch.device("cpu"))
    for step in range(30):
        slots, below = draw(step, 9, high), torch.zeros(ROWS, dtype=torch.int64)
        if step == 20:
            table.clear(torch.tensor([False, True, False]))
            known[1] = {}
        new = [0] * ROWS
        places = table.add(slots, high // 2, below)
        for row, places_of in enumerate(known):
            for slot in slots[row].tolist():
                if slot >= 0 and slot not in places_of:
                    places_of[slot] = len(places_of)
                    new[row] += slot < high // 2
            assert places[row].tolist() == [places_of.get(slot, -1) for slot in slots[row].tolist()]
        assert table.counts.tolist() == [len(places_of) for places_of in known]
        assert below.tolist() == new
        asked = draw(step + 500, 20, high)
        wanted = [[known[r].get(s, -1) for s in asked[r].tolist()] for r in range(ROWS)]
        assert table.find(asked).tolist() == wanted
        other = torch.tensor([2, 0, 2, 1])
        turned = table.find(asked[other], other).tolist()
        assert turned == [wanted[row] for row in other.tolist()]
    for row, places_of in enumerate(known):
        held = table.written()[row].tolist()
        assert held[: len(places_of)] == [*places_of] and {*held[len(places_of) :]} <= {-1}
        assert table.slots_at(places)[row].tolist() == slots[row].tolist()
    again = SlotMap.of(table.written())
    assert torch.equal(again.find(draw(3, 20, high)), table.find(draw(3, 20, high)))


def test_forms_go_on_from_one_another():
    tables = [SlotMap(ROWS, torch.device("cpu")) for _ in range(2)]
    for step in range(12):
        for table, compiled in zip(tables, (step % 2 == 0, False), strict=True):
            with use_compiled(compiled):
                table.add(draw(step, 9, 90))
    for name in ("counts", "_slot_of"):
        assert torch.equal(*(getattr(table, name) for table in tables))


def test_runs_of_slots_get_the_next_places():
    table, other = (SlotMap(ROWS, torch.device("cpu")) for _ in range(2))
    for made in (table, other):
        made.add(draw(0, 9, 30))
    table.add_runs(torch.tensor([100, 200, 300]), torch.tensor([0, 70, 3]))
    slots = torch.full((ROWS, 70), -1)
    slots[1], slots[2, :3] = torch.arange(200, 270), torch.arange(300, 303)
    other.add(slots)
    assert torch.equal(table.written()[:, : table.most], other.written()[:, : other.most])
    assert torch.equal(table.find(slots), other.find(slots)) and table.most == other.most


def test_slots_may_be_a_view_with_gaps():
    table = SlotMap(ROWS, torch.device("cpu"))
    slots = draw(0, 8, 30)
    assert torch.equal(table.add(slots.t().contiguous().t()), table.find(slots))
    assert torch.equal(table.find(slots[:, ::2]), table.find(slots)[:, ::2])
