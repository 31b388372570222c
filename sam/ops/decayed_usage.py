"""Which words matter least: a decayed sum of the accesses, and the slots where it is lowest.

    U_t = lambda U_{t-1} + sum_v w^W_{t,v} + sum_h w^R_{t,h}
        = sum_{tau <= t} lambda^{t - tau} (w^W_tau + w^R_tau)       (SAM paper, 3.2, U^(1))

No gradient flows through either: which slot is written is a choice, not a number.
"""

import torch
from torch import Tensor

from sam.errors import ShapeError
from sam.shape_checks import check_shapes


@torch.no_grad()
def decayed_usage(
    usage: Tensor, write_weights: Tensor, read_weights: Tensor, decay: float
) -> Tensor:
    """U_t from U_{t-1} and the accesses of step t, summed over the heads.

    Args:
        usage: U_{t-1}, at least 0, [B, N].
        write_weights: w^W_t, [B, V, N].
        read_weights: w^R_t, [B, R, N].
        decay: lambda in [0, 1], what is left of an access one step later.

    Returns:
        U_t, [B, N], without a gradient. `usage` stays as it was.

    Raises:
        ShapeError: the shapes disagree.

    Cost: O((V + R) N) time a batch row; nothing is kept for the backward pass.
    """
    check_shapes(
        usage=(usage, "B N"),
        write_weights=(write_weights, "B V N"),
        read_weights=(read_weights, "B R N"),
    )
    accessed = write_weights.sum(1).add_(read_weights.sum(1))
    return accessed.add_(usage, alpha=decay)


@torch.no_grad()
def least_used(usage: Tensor, count: int) -> Tensor:
    """The slots with the lowest usage, the lowest first; of equal ones the lower slot first.

    Args:
        usage: U, [B, N].
        count: how many slots, at most N.

    Returns:
        Distinct slots, int64 [B, count].

    Raises:
        ShapeError: there are fewer than `count` slots.

    Cost: O(count N) time a batch row. A search by `topk` would leave the order of equal usages to
    the device, and in a young memory most usages are equal.
    """
    check_shapes(usage=(usage, "B N"))
    if count > usage.shape[1]:
        raise ShapeError(
            f"usage: expected at least count={count} slots, got shape {list(usage.shape)}"
        )
    slots = [usage.argmin(1, keepdim=True)]
    rest = usage.clone() if count > 1 else usage
    for _ in range(count - 1):
        rest.scatter_(1, slots[-1], torch.inf)
        slots.append(rest.argmin(1, keepdim=True))
    return torch.cat(slots, 1)
