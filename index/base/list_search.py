"""Search in the lists of a base, in torch: of each query, the rows of the lists chosen for it."""

import torch
from torch import Tensor

from index.base.exact_scan import best_rows, score_rows
from index.base.words import BaseWords
from index.hashing import Hash
from index.metric import Metric

# Numbers of candidate words held at a time.
_AT_ONCE = 2**20


def choose_lists(hashed: Hash, lengths: Tensor, queries: Tensor, budget: int) -> Tensor:
    """The lists that queries look into, nearest first, until they have `budget` words.

    Args:
        hashed: in what order to look into them.
        lengths: words in each list, int64 [L].
        queries: [Q, W], as the hash takes them.
        budget: how many words are enough.

    Returns:
        int64 [Q, C], -1 for none.
    """
    count = min(hashed.most_probes, 16)
    while True:
        lists = hashed.probes(queries.unsqueeze(0), count)[0, :, 0]
        held = lengths[lists.clamp_min(0)].masked_fill_(lists < 0, 0)
        before = held.cumsum(1) - held
        if count == hashed.most_probes or bool((before[:, -1] + held[:, -1] >= budget).all()):
            return lists.masked_fill((before >= budget) | (held == 0), -1)
        count = min(2 * count, hashed.most_probes)


def best_in_lists(
    words: BaseWords,
    starts: Tensor,
    queries: Tensor,
    lists: Tensor,
    k: int,
    metric: Metric,
    root_eps: Tensor,
) -> tuple[Tensor, Tensor]:
    """The k best rows of some lists for each query.

    Args:
        words: list by list.
        starts: the first row of each list, and n at the end, int64 [L + 1].
        queries: [Q, W], divided by their norms for the cosine.
        lists: of each query, int64 [Q, C], -1 for none.
        k, metric, root_eps: as `scan_words`.

    Returns:
        Scores and rows, [Q, k], best first; -inf and -1 where there are fewer.

    Cost: O(words in the lists W) time.
    """
    found, bounds = [], starts.tolist()
    held = (starts[1:] - starts[:-1])[lists.clamp_min(0)].masked_fill_(lists < 0, 0)
    for q in range(len(queries)):
        mine = lists[q][held[q] > 0]
        rows = torch.cat([torch.arange(*bounds[i : i + 2]) for i in mine.tolist()] or [mine])
        one, parts = queries[q : q + 1], []
        for some in rows.split(max(1, _AT_ONCE // queries.shape[1])):
            asked = some.unsqueeze(0)
            scores = score_rows(words, asked, one, metric, root_eps)
            parts.append(best_rows(scores, asked, k))
        if not parts:
            parts = [best_rows(queries.new_empty(1, 0), rows.view(1, 0), k)]
        scores, rows = (torch.cat(part, 1) for part in zip(*parts, strict=True))
        found.append(best_rows(scores, rows, k))
    scores, rows = (torch.cat(part) for part in zip(*found, strict=True))
    return scores, rows


def needed_words(hashed: Hash, lengths: Tensor, query: Tensor, homes: Tensor) -> Tensor:
    """How many words a query has to meet before it looks into the lists `homes`, int64 [m].

    Returns:
        float64 [m]; inf for a list that the hash cannot put in order.
    """
    order = hashed.probes(query.view(1, 1, -1), hashed.most_probes)[0, 0, 0]
    order = order[order >= 0]
    held = lengths[order]
    at = torch.full((len(lengths),), torch.inf, dtype=torch.float64)
    at[order] = (held.cumsum(0) - held + 1).double()
    return at[homes]
