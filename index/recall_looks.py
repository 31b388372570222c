"""Looks at the recall of an index: compares some queries with all words, when it is time."""

from collections.abc import Callable

import torch
from torch import Tensor

from index.recall_tuner import RecallTuner
from index.stored import StoredIndex

Needed = Callable[[int, Tensor, Tensor], Tensor]
"""Takes a memory, queries [1, Q, W] and the slots [Q, k] of their true neighbors. Returns how many
words (lists, or whatever a budget counts) a search has to meet before it finds each, [Q, k]."""


def look(
    index: StoredIndex,
    tuner: RecallTuner,
    queries: Tensor,
    k: int,
    *,
    cost: float,
    of_a_look: float,
    needed: Needed,
) -> int:
    """Looks, if it is time, and returns the budget of searches for k neighbors.

    Args:
        index: with words in use.
        tuner: says when, and takes what was seen.
        queries: of the present call, checked and scaled, [B, Q, W].
        k: at most the slots in use.
        cost: of this call, in multiplications.
        of_a_look: the cost of comparing one query with all words of a memory.
        needed: what a search would have needed.

    Cost: now and then O(n W) for a query; see `index.recall_tuner`.
    """
    count = queries.shape[1]
    wanted = tuner.due(k, cost, of_a_look, count)
    memories = index._occupancy().nonzero()[:, 0] if wanted else queries.new_empty(0)
    # One memory after the other, and of each another part of its queries.
    for turn in range(min(len(memories), -(-wanted // count))):
        memory = int(memories[(tuner.looks + turn) % len(memories)])
        some = torch.arange(min(wanted, count), device=queries.device)
        some = (some * count // len(some) + tuner.looks).remainder(count)
        part = queries[memory, some].unsqueeze(0)
        scores, slots = index.best_of(memory, part, k)
        found = needed(memory, part, slots[0]).to("cpu", torch.float64)
        found = found.masked_fill(scores[0].cpu() == -torch.inf, torch.nan)
        tuner.record(k, found, len(some) * of_a_look)
    return tuner.budget(k)
