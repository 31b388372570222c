"""The k highest of many scores, in a pass that runs at the speed of memory."""

from torch import Tensor

DEPTH = 16  # scores of a column


def best_of_columns(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k highest of [B, Q, n] and where they stand, both [B, Q, k], best first.

    The scores are laid out in columns of DEPTH, and the maximum of each is taken first: the k best
    all lie in the k columns with the highest maxima. n is a multiple of DEPTH, of at least k DEPTH.
    """
    square = scores.unflatten(-1, (DEPTH, -1))
    columns = square.amax(-2).topk(k, sorted=False).indices
    candidates = square.gather(-1, columns.unsqueeze(-2).expand(*square.shape[:-1], k))
    best = candidates.flatten(-2).topk(k)
    within = best.indices.div(k, rounding_mode="floor")
    return best.values, within * square.shape[-1] + columns.gather(-1, best.indices.remainder(k))
