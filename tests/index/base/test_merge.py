"""What memories wrote and what they see of a base are merged as one list would be sorted."""

import random

import pytest
import torch

from index.base.merge import Layers, best_of_parts, merge
from index.base.slot_map import SlotMap
from index.compiled import use_compiled
from index.neighbors import Neighbors
from tests.index.oracle import FORMS

BATCH, BASE = 3, 30


def drawn(draw: random.Random, numbers: list[int], width: int) -> tuple[list[int], list[float]]:
    """Some of the numbers with scores, best first, and -1 behind them."""
    some = draw.sample(numbers, min(len(numbers), draw.randint(0, width)))
    scores = sorted((draw.randrange(32) / 32 for _ in some), reverse=True)
    free = width - len(some)
    return some + [-1] * free, scores + [-float("inf")] * free


@pytest.mark.parametrize("form", FORMS)
def test_merged_lists_are_sorted_without_what_is_hidden(form: bool) -> None:
    draw = random.Random(1)
    for _ in range(150):
        written = SlotMap(BATCH, torch.device("cpu"))
        own_slots = [draw.sample(range(BASE + 10), 9) for _ in range(BATCH)]
        written.add(torch.tensor(own_slots))
        hides_all = torch.tensor([draw.random() < 0.2 for _ in range(BATCH)])
        memories = [draw.randrange(BATCH) for _ in range(5)]
        own_width, seen_width, k = draw.randint(0, 5), draw.randint(1, 8), draw.randint(1, 6)
        own = [drawn(draw, [*range(9)], own_width) for _ in memories]
        seen = [drawn(draw, [*range(BASE)], seen_width) for _ in memories]
        more = draw.random() < 0.7

        def pair(lists, width: int) -> Neighbors:
            numbers = torch.tensor([one[0] for one in lists]).view(len(lists), width)
            scores = torch.tensor([one[1] for one in lists]).view(len(lists), width)
            return Neighbors(numbers.long(), scores)

        with use_compiled(form):
            given = pair(own, own_width), pair(seen, seen_width), torch.tensor(memories)
            found, short = merge(*given, Layers(written, hides_all), k, more=more)
        for i, b in enumerate(memories):
            mine = [(s, own_slots[b][p]) for p, s in zip(*own[i], strict=True) if p >= 0]
            if not hides_all[b]:
                pairs = zip(*seen[i], strict=True)
                mine += [(s, slot) for slot, s in pairs if slot >= 0 and slot not in own_slots[b]]
            best = sorted((score for score, _ in mine), reverse=True)[:k]
            slots, scores = found.slots[i].tolist(), found.scores[i].tolist()
            assert scores == [*best, *[-float("inf")] * (k - len(best))]
            assert [slot < 0 for slot in slots] == [score == -float("inf") for score in scores]
            pairs = [pair for pair in zip(scores, slots, strict=True) if pair[1] >= 0]
            assert {*pairs} <= {*mine}
            assert len({slot for slot in slots if slot >= 0}) == len(best)
            # A word that the base was not asked for scores at most as the last one that it found.
            last_slot, last = seen[i][0][-1], seen[i][1][-1]
            can_be_better = len(best) < k or best[-1] < last
            assert bool(short[i]) == (
                more and not hides_all[b] and last_slot >= 0 and can_be_better
            )


def test_the_best_of_parts_have_equal_scores_by_slot():
    inf = float("inf")
    parts = [
        Neighbors(torch.tensor([[9, 3, -1]]), torch.tensor([[1.0, 0.5, -inf]])),
        Neighbors(torch.tensor([[12, 4, 11]]), torch.tensor([[1.0, 1.0, 0.5]])),
    ]
    found = best_of_parts(parts, 4)
    assert found.slots.tolist() == [[4, 9, 12, 3]] and found.scores.tolist() == [[1, 1, 1, 0.5]]
    found = best_of_parts(parts, 7)
    assert found.slots.tolist() == [[4, 9, 12, 3, 11, -1, -1]]
    assert found.scores.tolist() == [[1, 1, 1, 0.5, 0.5, -inf, -inf]]
