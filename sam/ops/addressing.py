"""The weights of NTM heads in one op: content, interpolation, shift, sharpening.

    D(i) = k.M(i) / (n(k) n(M(i)))         w^c = softmax(beta D)               (NTM paper, eq. 5-6)
    w^g  = g w^c + (1 - g) w_{t-1}         w'(i) = sum_d s(d) w^g(i - d)       (eq. 7-8)
    w    = softmax(gamma log w')                                               (eq. 9)

and back from G = dL/dw, where J(w) x = w o (x - sum_j w(j) x(j)) belongs to a softmax:

    y      = J(w) G                  dgamma  = sum_i y(i) log w'(i)
    dw'    = gamma y / w'            ds(d)   = sum_i dw'(i) w^g(i - d)
    dw^g(i) = sum_d s(d) dw'(i + d)  dg      = sum_i dw^g(i) (w^c(i) - w_{t-1}(i))
    dw_{t-1} = (1 - g) dw^g          dw^c    = g dw^g

`content_backward` goes on from dw^c to keys, strengths and words.

`ntm_weights_plain` is the same by autograd; the tests compare the two.
"""

from typing import Any

import torch
from torch import Tensor

from sam.once_differentiable import operation, twice_differentiable
from sam.ops.shift import (
    around,
    convolved,
    floor_of,
    interpolate,
    kernel_gradient,
    sharpen,
    shift,
)
from sam.ops.similarity import ContentParts, content_backward, content_forward, content_weights
from sam.private_torch import softmax_backward
from sam.shape_checks import check_shapes


def ntm_weights_plain(
    keys: Tensor,
    strengths: Tensor,
    gates: Tensor,
    kernels: Tensor,
    gammas: Tensor,
    previous: Tensor,
    words: Tensor,
) -> Tensor:
    """The readable form of `ntm_weights`: same arguments, same results."""
    content = content_weights(keys, strengths, words)
    return sharpen(shift(interpolate(content, previous, gates), kernels), gammas)


def _spread(
    cosine: Tensor, strengths: Tensor, gates: Tensor, kernels: Tensor, previous: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """w^c, w^g extended round the circle, and w'."""
    content = (cosine * strengths.unsqueeze(2)).softmax(2)
    extended = around(torch.lerp(previous, content, gates.unsqueeze(2)), kernels.shape[2] // 2)
    return content, extended, convolved(extended, kernels)


class _NTMWeights(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> Tensor:
        keys, strengths, gates, kernels, gammas, previous, words = inputs
        _, *parts = content_forward(keys, strengths, words)
        logs = _spread(parts[0], strengths, gates, kernels, previous)[2]
        logs.clamp_(min=floor_of(logs)).log_()
        weights = logs.mul_(gammas.unsqueeze(2)).softmax(2)
        ctx.save_for_backward(*inputs, *parts, weights)
        return weights

    @staticmethod
    @twice_differentiable(ntm_weights_plain, 7)
    def backward(ctx: Any, grad: Tensor) -> Any:  # type: ignore[override]
        keys, strengths, gates, kernels, gammas, previous, words, *parts, weights = (
            ctx.saved_tensors
        )
        content, extended, spread = _spread(parts[0], strengths, gates, kernels, previous)
        floor = floor_of(spread)
        lost = spread < floor
        spread.clamp_(min=floor)
        # Sharpening.
        moved = softmax_backward(grad, weights, 2, weights.dtype)  # y, then dw'
        grad_gammas = (moved * spread.log()).sum(2)
        moved.mul_(gammas.unsqueeze(2)).div_(spread).masked_fill_(lost, 0.0)
        # Shift and interpolation.
        grad_kernels = kernel_gradient(extended, moved)
        mixed = convolved(around(moved, kernels.shape[2] // 2), kernels.flip(2))  # dw^g
        grad_gates = torch.mul(content - previous, mixed).sum(2)
        inner = mixed * gates.unsqueeze(2)
        grad_previous = mixed.sub_(inner)
        # Content.
        parts = ContentParts(content, *parts)
        found = content_backward(keys, strengths, words, parts, inner)
        grad_words = found.words_of(words) if ctx.needs_input_grad[6] else None
        moves = grad_gates, grad_kernels, grad_gammas
        return found.keys, found.strengths, *moves, grad_previous, grad_words


_ntm_weights = operation(_NTMWeights, ntm_weights_plain)


def ntm_weights(
    keys: Tensor,
    strengths: Tensor,
    gates: Tensor,
    kernels: Tensor,
    gammas: Tensor,
    previous: Tensor,
    words: Tensor,
) -> Tensor:
    """Where H heads look, from what they look for and where they looked (NTM paper, eq. 5-9).

    Args:
        keys: k, [B, H, W].
        strengths: beta > 0, [B, H].
        gates: g in [0, 1], [B, H]; see `interpolate`.
        kernels: s, [B, H, 2 S + 1]; see `shift`.
        gammas: at least 1, [B, H]; see `sharpen`.
        previous: w_{t-1} of these heads, [B, H, N].
        words: M, [B, N, W].

    Returns:
        w, [B, H, N]; each row sums to 1.

    Raises:
        ShapeError: the shapes disagree.

    Cost: O(B H N (W + S)) time. For the backward pass it keeps its inputs (no copies), D, w and a
    number a word.
    """
    check_shapes(
        {"2S+1": kernels.shape[-1] // 2 * 2 + 1},
        keys=(keys, "B H W"),
        words=(words, "B N W"),
        previous=(previous, "B H N"),
        strengths=(strengths, "B H"),
        gates=(gates, "B H"),
        gammas=(gammas, "B H"),
        kernels=(kernels, "B H 2S+1"),
    )
    return _ntm_weights(keys, strengths, gates, kernels, gammas, previous, words)
