"""Searches in inverted lists, in torch: list after list, until enough words were met."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from index.hashing import Hash
from index.inverted_lists import SMALL, SMALLER, InvertedLists
from index.metric import Metric
from index.neighbors import Neighbors
from index.rescore import best_candidates


def completed(index: Any, lists: InvertedLists, queries: Tensor, found: Neighbors) -> Neighbors:
    """Answers queries again, by all words, that found fewer than there are.

    Args:
        index: a `HashedIndex`.
        lists: in which the search was.
        queries: checked and scaled, [B, Q, W].
        found: by it; changed.
    """
    short = found.slots[:, :, -1] < 0
    if not short.any():
        return found
    reached = (found.slots >= 0).sum(2)
    memories = (short & (reached < lists.words_in().unsqueeze(1))).any(1).nonzero()[:, 0]
    if len(memories) == 0:
        return found
    k = found.slots.shape[2]
    scores, slots = index.best_of(memories, queries[memories], k)
    found.slots[memories] = slots
    found.scores[memories] = scores
    return found


def search_lists(
    lists: InvertedLists,
    hashed: Hash,
    words: Tensor,
    queries: Tensor,
    k: int,
    budget: int,
    metric: Metric,
) -> tuple[Tensor, Tensor, float]:
    """The k best words of the first lists that together have `budget` words.

    Args:
        lists: the tables; hashed: in what order to look into them.
        words: what is kept of all memories, by row.
        queries: [B, Q, W], divided by their norms where the metric is cosine, as the words.
        k: at least 1.
        budget: how many words to meet; one in several tables counts in each. A memory that has no
            more is searched whole.
        metric: how a word scores.

    Returns:
        Scores, -inf where there are fewer than k, and rows, both [B, Q, k], best first, no row
        twice; and the number of words met, the mean of all queries.

    Cost: O(hash) and O(Q budget W) for each memory.
    """
    numbers, query = _chosen(lists, hashed, queries, budget)
    places, which = lists.content(numbers)
    query = query[which]
    count = queries.shape[0] * queries.shape[1]
    counts = torch.bincount(query, minlength=count)
    width = max(1, int(counts.max()))
    within = torch.arange(len(query), device=query.device) - (counts.cumsum(0) - counts)[query]
    rows = query.new_zeros(count, width)
    rows[query, within] = lists.rows_at(places)
    scores, found = best_candidates(
        lambda some: (some, lists.storage.decode(functional.embedding(some, words))),
        rows,
        width,
        queries,
        k,
        repeats=lists.tables,
        metric=metric,
    )
    return scores, found, len(query) / max(1, count)


def are_small(lists: InvertedLists, budget: int) -> Tensor:
    """Which memories are searched whole, bool [B].

    Those with no more than `budget` words, and those with at most `SMALL` beside one with
    `SMALLER` times as many: their words are spread over lists made for the other.
    """
    totals = lists.words_in()
    return (totals <= budget) | ((totals <= SMALL) & (SMALLER * totals <= totals.max()))


def _chosen(
    lists: InvertedLists, hashed: Hash, queries: Tensor, budget: int
) -> tuple[Tensor, Tensor]:
    """Lists to look into, numbered through, and for which of the B Q queries, in their order."""
    queries_each, few = queries.shape[1], are_small(lists, budget).view(-1, 1, 1, 1)
    count = min(hashed.most_probes, 16)
    while True:
        numbers, lengths, before = _met(lists, hashed.probes(queries, count), None)
        enough = (before[..., -1] + lengths.sum(2)[..., -1] >= budget) | few[..., 0, 0]
        if count == hashed.most_probes or bool(enough.all()):
            break
        count = min(2 * count, hashed.most_probes)
    use = (before < budget).unsqueeze(2) & (lengths > 0) & ~few
    query, table, probe = use.flatten(0, 1).nonzero(as_tuple=True)
    some = numbers.flatten(0, 1)[query, table, probe]
    every = torch.arange(lists.lists, device=queries.device)
    for memory in few.flatten().nonzero()[:, 0].tolist():
        mine = memory * lists.tables * lists.lists + every
        mine = mine[lists.lengths[mine] > 0]
        asked = torch.arange(queries_each, device=queries.device) + memory * queries_each
        some = torch.cat((some, mine.repeat(queries_each)))
        query = torch.cat((query, asked.repeat_interleave(len(mine))))
    order = query.argsort(stable=True)
    return some[order], query[order]


def _met(lists: InvertedLists, probes: Tensor, memory: int | None) -> tuple[Tensor, Tensor, Tensor]:
    """Lists [B, Q, L, P] numbered through, words in each, and words met before the P-th of all."""
    none = probes < 0
    numbers = lists.number(probes.masked_fill(none, 0), memory)
    lengths = lists.lengths[numbers].masked_fill_(none, 0)
    together = lengths.sum(2)
    return numbers, lengths, together.cumsum(2) - together


def needed_words(
    lists: InvertedLists,
    hashed: Hash,
    queries: Tensor,
    memory: int,
    rows: Tensor,
    *,
    compiled: bool = False,
) -> Tensor:
    """How many words a search has to meet before it looks into the list of a word.

    Args:
        lists: the tables; hashed: in what order to look into them.
        queries: of one memory, [1, Q, W].
        memory: which.
        rows: of words, int64 [Q, k].
        compiled: whether in compiled form, where there is one.

    Returns:
        [Q, k]; inf for a word in none of the lists that the hash can put in order.
    """
    scores = hashed.list_scores(queries, memory)
    if scores is not None:
        return _met_above(lists, scores, lists.list_of(rows)[:, :, 0], memory, compiled)
    probes = hashed.probes(queries, hashed.most_probes, memory)
    numbers, _, before = _met(lists, probes, memory)
    numbers.masked_fill_(probes < 0, -1)  # which is no word's list
    homes = lists.list_of(rows)  # [Q, k, L]
    needed = torch.full(rows.shape, torch.inf, dtype=torch.float64, device=rows.device)
    for table in range(lists.tables):
        # Where each list stands in the order of the query.
        ordered = numbers[0, :, table].sort(1)
        at = torch.searchsorted(ordered.values, homes[:, :, table].contiguous())
        at = at.clamp_max(ordered.values.shape[1] - 1)
        there = ordered.values.gather(1, at) == homes[:, :, table]
        met = before[0].gather(1, ordered.indices.gather(1, at)) + 1
        needed = needed.minimum(torch.where(there, met.double(), torch.inf))
    return needed


def _met_above(
    lists: InvertedLists, scores: Tensor, homes: Tensor, memory: int, compiled: bool
) -> Tensor:
    """`needed_words` of one table by the scores [1, Q, n] of its lists, without sorting them."""
    first = memory * lists.lists
    lengths = lists.lengths[first : first + lists.lists]
    own = scores[0].gather(1, (homes - first).clamp_min(0))
    if compiled:
        from index.kernels.list_loops import count_above

        met = torch.empty(own.shape, dtype=torch.float64)
        count_above(scores[0].numpy(), own.numpy(), lengths.numpy(), met.numpy())
    else:
        above = scores[0].unsqueeze(1) > own.unsqueeze(2)  # [Q, k, n]
        met = (above.to(scores.dtype) @ lengths.to(scores.dtype)).double()
    return (met + 1).masked_fill_((homes < 0) | (own == -torch.inf), torch.inf)
