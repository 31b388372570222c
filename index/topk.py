"""The highest of many scores, in a pass that runs at the speed of memory."""

from torch import Tensor

DEPTH = 16  # scores in a column
# From this many scores on, the maximum of each column is taken first.
_COLUMNS_FROM = 256


def argmax(scores: Tensor) -> tuple[Tensor, Tensor]:
    """The highest value of the last dimension and its position; several times faster than `max`."""
    width = scores.shape[-1]
    if width < _COLUMNS_FROM or width % DEPTH:
        best = scores.max(-1)
        return best.values, best.indices
    square = scores.unflatten(-1, (DEPTH, -1))
    column = square.amax(-2).argmax(-1, keepdim=True)
    within = square.gather(-1, column.unsqueeze(-2).expand(*square.shape[:-1], 1)).squeeze(-1)
    best = within.max(-1)
    return best.values, best.indices * (width // DEPTH) + column.squeeze(-1)


def topk(scores: Tensor, k: int) -> Tensor:
    """Positions of the k highest of [B, Q, n], best first, [B, Q, k]."""
    width = scores.shape[-1]
    if width < _COLUMNS_FROM or width % DEPTH or k * DEPTH > width:
        return scores.topk(k).indices
    return topk_by_columns(scores, k)[1]


def topk_by_columns(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k highest of [B, Q, n] and their positions, both [B, Q, k], best first.

    The scores are laid out in columns of DEPTH, and the maximum of each is taken first: the k best
    all lie in the k columns with the highest maxima. n is a multiple of DEPTH, of at least k DEPTH.
    """
    square = scores.unflatten(-1, (DEPTH, -1))
    columns = square.amax(-2).topk(k, sorted=False).indices
    candidates = square.gather(-1, columns.unsqueeze(-2).expand(*square.shape[:-1], k))
    best = candidates.flatten(-2).topk(k)
    within = best.indices.div(k, rounding_mode="floor")
    return best.values, within * square.shape[-1] + columns.gather(-1, best.indices.remainder(k))


def select_words(scores: Tensor, which: Tensor | None) -> Tensor:
    """Scores [B, M, ...] of the words at some of the B M positions, or of all: [n, ...]."""
    scores = scores.flatten(0, 1)
    return scores if which is None else scores.index_select(0, which)
