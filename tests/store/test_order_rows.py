"""Rows of the order of access: each memory hands out the slots that it would have by itself."""

from random import Random

import pytest
import torch

from sam.ops import AccessOrder

COUNT, DELTA = 2, 0.005


class Twin:
    """An order of several memories, and for each of them one of its own."""

    def __init__(self, order: AccessOrder, alone: list[AccessOrder]) -> None:
        self.order, self.alone = order, alone

    def step(self, chance: Random) -> None:
        """Slots are handed out, and some of those that ever were are accessed."""
        slots = self.order.lru_slots()
        each = [order.lru_slots() for order in self.alone]
        assert torch.equal(slots, torch.cat(each))
        places, weights = [], []
        for order in self.alone:
            handed_out = int(order.handed_out)
            places.append([chance.randrange(handed_out) for _ in range(3)])
            weights.append([chance.choice([0.0, 0.1]) for _ in range(3)])
        accessed, given = torch.tensor(places), torch.tensor(weights)
        accessed, given = (
            torch.cat([accessed, slots], 1),
            torch.nn.functional.pad(given, (0, 2), value=0.1),
        )
        self.order.record_access(accessed, given, DELTA)
        for place, order in enumerate(self.alone):
            row = slice(place, place + 1)
            order.record_access(accessed[row], given[row], DELTA)

    def copies(self, rows: list[int]) -> list[AccessOrder]:
        return [self.alone[row].clone() for row in rows]


@pytest.mark.parametrize("size", [5, 40, 2**20])
@pytest.mark.parametrize("seed", range(4))
def test_orders_of_any_age_go_together(size: int, seed: int) -> None:
    chance = Random(seed)

    def fresh(loaded: int) -> Twin:
        kind = {"loaded": loaded}
        alone = [AccessOrder(1, size, COUNT, **kind) for _ in range(2)]
        return Twin(AccessOrder(2, size, COUNT, **kind), alone)

    twins = [fresh(0), fresh(min(size, 5)), fresh(0)]
    for _ in range(60):
        twin, other = chance.sample(twins, 2)
        count = len(twin.alone)
        move = chance.choice(["step", "step", "step", "rows", "cat", "put", "reset"])
        if move == "step":
            for _ in range(chance.choice([1, 4])):
                twin.step(chance)
        elif move == "rows":
            rows = [chance.randrange(count) for _ in range(chance.randint(1, 3))]
            twins[chance.randrange(3)] = Twin(
                twin.order.rows(torch.tensor(rows)), twin.copies(rows)
            )
        elif move == "cat" and count + len(other.alone) <= 4:
            alone = [*twin.copies([*range(count)]), *other.copies([*range(len(other.alone))])]
            twins[chance.randrange(3)] = Twin(AccessOrder.cat([twin.order, other.order]), alone)
        elif move == "put" and len(other.alone) <= count:
            rows = chance.sample(range(count), len(other.alone))
            twin.order.put(torch.tensor(rows), other.order)
            for row, copied in zip(rows, other.copies([*range(len(rows))]), strict=True):
                twin.alone[row] = copied
        elif move == "reset":
            mask = torch.tensor([chance.random() < 0.5 for _ in range(count)])
            twin.order.reset(mask)
            for row in mask.nonzero()[:, 0].tolist():
                twin.alone[row].reset(torch.tensor([True]))
