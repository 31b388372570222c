"""The k best of all words, by comparing each with each query.

There are two ways, with the same result. In pieces: product and top-k of as many words at a time
as have 16 MiB of scores, since for larger tensors the system allocates new pages each time, which
costs more than the arithmetic. In stages, from 32 MiB of words on: of the product only the highest
score of every 64 words is kept, and the words of the best blocks are scored a second time; that is
four times as fast as one product and one top-k where 32 queries share a million words.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from index.metric import Metric
from index.storage import Storage
from index.topk import DEPTH, topk_by_columns

# In pieces: scores held at a time, and from how many words on, and how many scores of all queries,
# the best of every 16 come first.
_PIECE_BYTES = 16 * 2**20
_GROUPS_FROM = 2048
_GROUPS_FROM_SCORES = 2**15
# In stages: from how many bytes of words on, words to a block, and scores held at a time: on a
# CPU what its caches hold. Another device is better served by few large products.
_STAGES_FROM_BYTES = 32 * 2**20
_BLOCK = 64
_HELD_BYTES = 4 * 2**20
_HELD_BYTES_ELSEWHERE = 64 * 2**20
# Of rounded words, so many bytes are decoded at a time.
_DECODED_BYTES = 2 * 2**20


def scan(
    words: Tensor,
    penalty: Tensor,
    queries: Tensor,
    k: int,
    metric: Metric,
    storage: Storage | None = None,
) -> tuple[Tensor, Tensor]:
    """The k best words of each memory for each query of it.

    Args:
        words: what is kept of words, [B, R, W or width], divided by their norms where the metric is
            cosine. Any R is legal, one that `rounded_up` returns is fast.
        penalty: added to a word's scores, [B, R]: 0, or -inf for what must not be found.
        queries: [B, Q, W], divided by their norms where the metric is cosine. No gradient passes.
        k: at most R.
        metric: how a word scores.
        storage: decodes rounded words, some at a time; None if they are not rounded.

    Returns:
        Scores, -inf for what must not be found, and where the words stand, int64; both [B, Q, k],
        best first, no word twice.

    Cost: O(B Q R W) time. In pieces 16 MiB of scores at a time; in stages 4 MiB (64 MiB away from
    the CPU), R / 64 scores a query, and words to score twice, at most a quarter of all. Nothing
    waits for the device. Under l2 about ten times as slow, since distances are summed from
    differences, which cannot cancel.
    """
    if words.shape[1] >= _GROUPS_FROM and metric != "l2" and _stages_pay(words, queries, k):
        return _in_stages(words, penalty, queries, k, storage)
    return _in_pieces(words, penalty, queries, k, metric, storage)


def rounded_up(count: int) -> int:
    """The next number of words that falls into whole groups, and into whole blocks if large."""
    whole = _BLOCK if count > _GROUPS_FROM else DEPTH
    return -(-count // whole) * whole


def _in_pieces(
    words: Tensor, penalty: Tensor, queries: Tensor, k: int, metric: Metric, storage: Storage | None
) -> tuple[Tensor, Tensor]:
    """`scan` by the top-k of the top-k of pieces."""
    rows = words.shape[1]
    width = max(1, queries.shape[0] * queries.shape[1]) * queries.element_size()
    most = min(_PIECE_BYTES // width, _decoded_at_once(queries, storage))
    if rows <= most:
        scores, places = _best(_scores(_decoded(words, storage), penalty, queries, metric), k)
    else:
        step = rounded_up(max(k, most))
        # Places for the best of all pieces: see `index.kmeans.nearest_centroids`.
        size = *queries.shape[:2], rows // step * k + min(k, rows % step)
        held = queries.new_empty(size), queries.new_empty(size, dtype=torch.int64)
        for number, start in enumerate(range(0, rows, step)):
            count = min(step, rows - start)
            piece, closed = words.narrow(1, start, count), penalty.narrow(1, start, count)
            piece = _decoded(piece, storage)
            scores, places = _best(_scores(piece, closed, queries, metric), min(k, count))
            mine = slice(number * k, number * k + scores.shape[2])
            held[0][:, :, mine], held[1][:, :, mine] = scores, places + start
        scores, order = held[0].topk(k)
        places = held[1].gather(-1, order)
    return (-scores.square() if metric == "l2" else scores), places


def _decoded(kept: Tensor, storage: Storage | None) -> Tensor:
    return kept if storage is None else storage.decode(kept)


def _decoded_at_once(queries: Tensor, storage: Storage | None) -> int:
    """How many words of each memory are decoded at a time."""
    word = queries.shape[0] * queries.shape[2] * queries.element_size()
    return 2**62 if storage is None else max(1, _DECODED_BYTES // word)


def _scores(words: Tensor, penalty: Tensor, queries: Tensor, metric: Metric) -> Tensor:
    """Scores of words [B, R, W], under l2 minus distances, [B, Q, R]."""
    penalty = penalty.unsqueeze(1)
    if metric == "l2":
        mode = "donot_use_mm_for_euclid_dist"
        return penalty - torch.cdist(queries, words, compute_mode=mode)
    return torch.baddbmm(penalty, queries, words.transpose(1, 2))


def _best(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k highest of [B, Q, R] and where they stand, both [B, Q, k], best first."""
    groups = scores.shape[2] // DEPTH
    many = scores.shape[2] >= _GROUPS_FROM and scores.numel() >= _GROUPS_FROM_SCORES
    if not many or 8 * k > groups or scores.shape[2] % DEPTH:
        return scores.topk(k)
    return topk_by_columns(scores, k)


def _stages_pay(words: Tensor, queries: Tensor, k: int) -> bool:
    """Whether there are many words, few to score twice, and the product is a fast one.

    In stages the product is words times queries. Beside queries times words, as in pieces, that
    takes 0.5 to 0.8 times as long for 32 queries and more, and for a few queries against words of
    64 numbers and more; in between up to 2.5 times as long.
    """
    rows, size, count = words.shape[1], queries.shape[2], queries.shape[1]
    return (
        len(words) * rows * size * queries.element_size() >= _STAGES_FROM_BYTES
        and rows % _BLOCK == 0
        and 4 * count * k * _BLOCK <= rows
        and (count >= 32 or (1 <= count <= 4 and size >= 64))
    )


def _in_stages(
    words: Tensor, penalty: Tensor, queries: Tensor, k: int, storage: Storage | None
) -> tuple[Tensor, Tensor]:
    """`scan` by inner products: the k best all lie in the k blocks with the highest maxima."""
    batch, rows, _ = words.shape
    count, size = queries.shape[1:]
    on_cpu = words.device.type == "cpu"
    block_bytes = batch * count * _BLOCK * queries.element_size()
    blocks_held = (_HELD_BYTES if on_cpu else _HELD_BYTES_ELSEWHERE) // block_bytes
    step = max(1, min(blocks_held, _decoded_at_once(queries, storage) // _BLOCK)) * _BLOCK
    held = queries.new_empty(batch * min(step, rows) * count)
    maxima = []
    for start in range(0, rows, step):
        length = min(step, rows - start)
        scores = held[: batch * length * count].view(batch, length, count)
        closed, piece = penalty.narrow(1, start, length), words.narrow(1, start, length)
        piece = _decoded(piece, storage)
        torch.baddbmm(closed.unsqueeze(2), piece, queries.transpose(1, 2), out=scores)
        maxima.append(_maxima(scores))
    blocks = torch.cat(maxima, 1).transpose(1, 2).topk(k, sorted=False).indices
    within = torch.arange(_BLOCK, device=words.device)
    places = (blocks.unsqueeze(3) * _BLOCK + within).view(batch, count, -1)
    # Each query as a memory of its own, whose words are its candidates.
    candidates = _decoded(_rows(words, places.view(batch, -1)), storage)
    candidates = candidates.view(batch * count, -1, size)
    closed = penalty.gather(1, places.view(batch, -1)).view(batch * count, -1)
    scores = _scores(candidates, closed, queries.reshape(batch * count, 1, size), "dot")
    best = scores.view(batch, count, -1).topk(k)
    return best.values, places.gather(2, best.indices)


def _maxima(scores: Tensor) -> Tensor:
    """The highest score of every block of scores [B, R, Q], [B, R / 64, Q]."""
    batch, _, count = scores.shape
    # Runs of fewer than 32 numbers do not fill the vector units, so 8 words make a longer one.
    side = 1 if count >= 32 else 8
    runs = scores.view(batch, -1, _BLOCK // side, side * count).amax(2)
    return runs.view(batch, -1, side, count).amax(2)


def _rows(words: Tensor, places: Tensor) -> Tensor:
    """What is kept at places [B, M] of words [B, R, width], [B, M, width]."""
    batch, rows, size = words.shape
    if words.stride()[1:] != (size, 1) or words.stride(0) % size:
        words = words.contiguous()
    # One table of all memories, with whatever lies between them: `embedding` copies whole rows,
    # several times as fast as `gather` or indexing with tensors.
    apart = words.stride(0) // size if batch > 1 else 0
    table = words.as_strided((apart * (batch - 1) + rows, size), (size, 1))
    first = torch.arange(batch, device=words.device).unsqueeze(1) * apart
    return F.embedding(places + first, table)
