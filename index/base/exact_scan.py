"""The k best of all words of a base for all queries of a call, in one pass over the file.

As in `index.scan` there are two ways, with the same result: in pieces, by the k best of each piece;
and where many words are compared by inner products, in stages, of which the first keeps the highest
score of every 64 words and the second scores the words of the best blocks once more.
"""

import torch
from torch import Tensor
from torch.nn import functional

from index.base.words import BaseWords
from index.metric import Metric, unit

_BLOCK = 64
# From how many words for each of the k on it goes in stages: few blocks are looked at again.
_STAGES_FROM = 4 * _BLOCK


def scan_words(
    words: BaseWords, queries: Tensor, k: int, metric: Metric, root_eps: Tensor
) -> tuple[Tensor, Tensor]:
    """The k best words for each query.

    Args:
        words: n of them.
        queries: [Q, W], divided by their norms where the metric is cosine.
        k: at most n.
        metric: how a word scores.
        root_eps: sqrt(eps) of the norms, a scalar of the dtype of the queries.

    Returns:
        Scores and rows of the file, int64; both [Q, k], best first, no row twice.

    Cost: O(Q n W) time, 2 MiB of words at a time, and in stages Q n / 64 scores. What is not in
    memory is read from the disk, once, from start to end.
    """
    if metric != "l2" and len(words) >= _STAGES_FROM * k:
        return _in_stages(words, queries, k, metric, root_eps)
    return _in_pieces(words, queries, k, metric, root_eps)


def score_rows(
    words: BaseWords, rows: Tensor, queries: Tensor, metric: Metric, root_eps: Tensor
) -> Tensor:
    """True scores of the words in int64 rows [Q, C] for queries [Q, W], [Q, C].

    Rows of -1 have the score -inf.

    Cost: O(Q C W) time and numbers.
    """
    found = words.at_rows(rows.clamp_min(0).flatten(), queries.dtype)
    found = _scaled(found, metric, root_eps).view(*rows.shape, -1)
    if metric == "l2":
        scores = (found - queries.unsqueeze(1)).square_().sum(2).neg_()
    else:
        scores = torch.bmm(found, queries.unsqueeze(2)).squeeze(2)
    return scores.masked_fill_(rows < 0, -torch.inf)


def best_rows(scores: Tensor, rows: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k best of scores [Q, C] and their rows; -inf and -1 where there are fewer."""
    if scores.shape[1] < k:
        missing = 0, k - scores.shape[1]
        scores = functional.pad(scores, missing, value=-torch.inf)
        rows = functional.pad(rows, missing, value=-1)
    best = scores.topk(k)
    return best.values, rows.gather(1, best.indices).masked_fill_(best.values == -torch.inf, -1)


def _scaled(words: Tensor, metric: Metric, root_eps: Tensor) -> Tensor:
    return unit(words, root_eps) if metric == "cosine" else words


def _in_pieces(
    words: BaseWords, queries: Tensor, k: int, metric: Metric, root_eps: Tensor
) -> tuple[Tensor, Tensor]:
    # The best so far, and behind them those of a piece; see `_in_stages` for why in one place.
    scores = queries.new_full((len(queries), 2 * k), -torch.inf)
    rows = torch.full(scores.shape, -1)
    for start, piece in words.pieces(queries.dtype):
        if metric == "l2":  # from differences, which cannot cancel
            found = -torch.cdist(queries, piece, compute_mode="donot_use_mm_for_euclid_dist")
        else:
            found = queries @ _scaled(piece, metric, root_eps).T
        best = found.topk(min(k, len(piece)))
        end = k + best.indices.shape[1]
        scores[:, k:end], rows[:, k:end] = best.values, best.indices + start
        scores[:, :k], rows[:, :k] = best_rows(scores[:, :end], rows[:, :end], k)
    scores, rows = scores[:, :k].clone(), rows[:, :k].clone()
    return (-scores.square() if metric == "l2" else scores), rows


def _in_stages(
    words: BaseWords, queries: Tensor, k: int, metric: Metric, root_eps: Tensor
) -> tuple[Tensor, Tensor]:
    # In one place: pieces of it, kept one by one, would lie between the scores of all words, and
    # the C library could then not use their space again.
    maxima = queries.new_empty(-(-len(words) // _BLOCK), len(queries))
    columns = queries.T.contiguous()
    for start, piece in words.pieces(queries.dtype, _BLOCK):
        scores = _scaled(piece, metric, root_eps) @ columns  # [m, Q]
        if missing := -len(piece) % _BLOCK:
            scores = functional.pad(scores, (0, 0, 0, missing), value=-torch.inf)
        best = scores.view(-1, _BLOCK, len(queries)).amax(1)
        maxima[start // _BLOCK :][: len(best)] = best
    blocks = maxima.T.topk(k, sorted=False).indices  # [Q, k]
    rows = (blocks.unsqueeze(2) * _BLOCK + torch.arange(_BLOCK)).flatten(1)
    rows = rows.masked_fill_(rows >= len(words), -1)
    return best_rows(score_rows(words, rows, queries, metric, root_eps), rows, k)
