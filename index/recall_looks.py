"""Looks at the recall of an index: compares some queries with all words, when it is time."""

from collections.abc import Callable

import torch
from torch import Tensor

from index.recall_tuner import RecallTuner
from index.stored import StoredIndex

Needed = Callable[[int, Tensor, Tensor], Tensor]
"""Takes a memory, queries [1, Q, W] and the slots [Q, k] of their true neighbors. Returns how many
words (lists, or whatever a budget counts) a search has to meet before it finds each, [Q, k]."""
Best = Callable[[int, Tensor, int], tuple[Tensor, Tensor]]
"""Takes a memory, queries [1, Q, W] and k. Returns scores and slots of the true k best of all words
of that memory, [1, Q, k]; -inf and -1 where there are fewer."""


def look(
    index: StoredIndex,
    tuner: RecallTuner,
    queries: Tensor,
    k: int,
    *,
    cost: float,
    of_a_look: float,
    best: Best,
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
        best: compares.
        needed: what a search would have needed.

    Cost: now and then O(n W) for a query; see `index.recall_tuner`.
    """
    count = queries.shape[1]
    wanted = tuner.due(k, cost, of_a_look)
    if not wanted:
        return tuner.budget(k)
    memories, seen, looked = index._occupancy().nonzero()[:, 0].tolist(), [], 0
    # One memory after the other, and of each another part of its queries.
    turns = min(len(memories), -(-wanted // count))
    for turn in range(turns):
        memory = memories[(turns * tuner.looks + turn) % len(memories)]
        some = torch.arange(min(wanted, count), device=queries.device)
        some = (some * count // len(some) + tuner.looks).remainder(count)
        part = queries[memory, some].unsqueeze(0)
        scores, slots = best(memory, part, k)
        found = needed(memory, part, slots[0]).to("cpu", torch.float64)
        seen.append(found.masked_fill(scores[0].cpu() == -torch.inf, torch.nan))
        looked += len(some)
    if seen:
        tuner.record(k, torch.cat(seen), looked * of_a_look)
    return tuner.budget(k)
