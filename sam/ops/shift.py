"""Addressing by location: steps 2 to 4 of the NTM's addressing (NTM paper, eq. 7-9).

    w^g   = g w^c + (1 - g) w_{t-1}                      interpolation
    w'(i) = sum_j w^g(j) s((i - j) mod N)                circular convolution
    w(i)  = w'(i)^gamma / sum_j w'(j)^gamma              sharpening

These are the readable forms; `sam.ops.addressing` has all steps in one op.
"""

import torch
from torch import Tensor

from sam.shape_checks import check_shapes

_FLOOR = 1e-12  # below it a weight counts as this much: gamma's gradient has the factor log w'


def interpolate(content: Tensor, previous: Tensor, gate: Tensor) -> Tensor:
    """Mixes the content weights with the head's weights of the step before (NTM paper, eq. 7).

        w^g = g w^c + (1 - g) w_{t-1}

    Args:
        content: w^c, [B, H, N].
        previous: w_{t-1}, [B, H, N].
        gate: g in [0, 1], [B, H]; 1 takes the content weights alone.

    Returns:
        w^g, [B, H, N].

    Raises:
        ShapeError: the shapes disagree.

    Cost: O(B H N) time; keeps its inputs for the backward pass.
    """
    check_shapes(content=(content, "B H N"), previous=(previous, "B H N"), gate=(gate, "B H"))
    return gate[:, :, None] * content + (1 - gate[:, :, None]) * previous


def shift(weights: Tensor, kernel: Tensor) -> Tensor:
    """Moves weights along the slots, round the ends (NTM paper, eq. 8).

        w'(i) = sum_d s(d) w((i - d) mod N),   d = -S .. S

    Args:
        weights: w, [B, H, N].
        kernel: s, [B, H, 2 S + 1], entry 0 for shift -S and entry 2 S for +S. Shift +1 moves the
            weight of slot j to slot j + 1. S may exceed N: the shifts wrap as often as it takes.

    Returns:
        w', [B, H, N]; it has the sum of `weights` if a kernel sums to 1.

    Raises:
        ShapeError: the shapes disagree, or a kernel has an even number of entries.

    Cost: O(B H N S) time; keeps its inputs and one copy of `weights` for the backward pass.
    """
    odd = {"2S+1": kernel.shape[-1] // 2 * 2 + 1}
    check_shapes(odd, weights=(weights, "B H N"), kernel=(kernel, "B H 2S+1"))
    return convolved(around(weights, kernel.shape[2] // 2), kernel)


def around(weights: Tensor, reach: int) -> Tensor:
    """`weights` with `reach` more entries at both ends, those that come next round the circle.

    [B, H, N] -> [B, H, N + 2 reach]; entry i is that of slot (i - reach) mod N.
    """
    slots = weights.shape[2]
    if reach <= slots:
        return torch.cat([weights[..., slots - reach :], weights, weights[..., :reach]], 2)
    places = torch.arange(-reach, slots + reach, device=weights.device) % slots
    return weights.index_select(2, places)


def _windows(extended: Tensor, count: int) -> tuple[Tensor, ...]:
    """w(i - d) for all slots i, [B, H, N] each, for d = S down to -S: views, no copies."""
    return extended.unfold(2, extended.shape[2] - count + 1, 1).unbind(2)


def convolved(extended: Tensor, kernel: Tensor) -> Tensor:
    """The convolution of eq. 8, of weights that `around` has extended by S: [B, H, N]."""
    windows, shares = _windows(extended, kernel.shape[2]), kernel.split(1, 2)
    moved = windows[-1] * shares[0]
    for window, share in zip(windows[-2::-1], shares[1:], strict=True):
        moved.addcmul_(window, share)
    return moved


def kernel_gradient(extended: Tensor, grad: Tensor) -> Tensor:
    """dL/ds from dL/dw', [B, H, N], and the weights that `around` has extended: [B, H, 2 S + 1]."""
    windows = _windows(extended, extended.shape[2] - grad.shape[2] + 1)
    return torch.stack([(window * grad).sum(2) for window in windows[::-1]], 2)


def sharpen(weights: Tensor, gamma: Tensor) -> Tensor:
    """Raises weights to a power and makes them sum to 1 (NTM paper, eq. 9).

        w(i) = w'(i)^gamma / sum_j w'(j)^gamma = softmax_i(gamma log w'(i))

    The softmax is the same number where the powers of eq. 9 would all be too small for the dtype.

    Args:
        weights: w' >= 0, [B, H, N]; below 1e-12 a weight is taken to be that, without a gradient,
            so a row without any weight becomes uniform.
        gamma: at least 1, [B, H].

    Returns:
        w, [B, H, N]; each row sums to 1.

    Raises:
        ShapeError: the shapes disagree.

    Cost: O(B H N) time; keeps about four numbers a weight for the backward pass.
    """
    check_shapes(weights=(weights, "B H N"), gamma=(gamma, "B H"))
    return (gamma[:, :, None] * weights.clamp(min=floor_of(weights)).log()).softmax(2)


def floor_of(weights: Tensor) -> float:
    """What a weight is at least before its logarithm is taken."""
    return max(_FLOOR, torch.finfo(weights.dtype).tiny)
