"""Reading and writing all N words at once, as NTM, DAM and DNC do.

The write with H heads is the product of their erases, then the sum of their adds (NTM, 3.2):

    M_t = M_{t-1} o prod_h (1 - w^h e^h^T) + sum_h w^h a^h^T

and back, with G = dL/dM_t, where M^h is the memory after the erases of the heads before h, and G^h
is G times the erases of the heads after h:

    dw^h(i) = sum_j a^h(j) G(i, j) - sum_j e^h(j) G^h(i, j) M^h(i, j)        da^h = G^T w^h
    de^h(j) = - sum_i w^h(i) G^h(i, j) M^h(i, j)      dM_{t-1} = G o prod_h (1 - w^h e^h^T)

Nothing is divided by an erase, so one that is exactly 0 is no special case. `erase_add_plain` is
the same by autograd; the tests compare the two.
"""

from typing import Any

import torch
from torch import Tensor

from sam.once_differentiable import operation, twice_differentiable
from sam.shape_checks import check_shapes


def read_words(words: Tensor, weights: Tensor) -> Tensor:
    """r^h = sum_i w^h(i) M(i) (NTM paper, eq. 2).

    Args:
        words: M, [B, N, W].
        weights: w, [B, H, N].

    Returns:
        What each head reads, [B, H, W].

    Raises:
        ShapeError: the batch or the number of slots disagrees.

    Cost: O(B H N W) time; keeps its inputs, without a copy, for the backward pass.
    """
    check_shapes(words=(words, "B N W"), weights=(weights, "B H N"))
    return torch.bmm(weights, words)


def _check_write(words: Tensor, weights: Tensor, erase: Tensor, add: Tensor) -> None:
    check_shapes(
        words=(words, "B N W"),
        weights=(weights, "B H N"),
        erase=(erase, "B H W"),
        add=(add, "B H W"),
    )


def erase_add_plain(words: Tensor, weights: Tensor, erase: Tensor, add: Tensor) -> Tensor:
    """The readable form of `erase_add`: same arguments, same results."""
    for head in range(weights.shape[1]):
        words = words * (1 - weights[:, head, :, None] * erase[:, head, None, :])
    return words + torch.bmm(weights.transpose(1, 2), add)


def _erased(
    words: Tensor, weights: Tensor, erase: Tensor, head: int, into: Tensor | None = None
) -> Tensor:
    """words o (1 - w^h e^h^T), in a tensor of its own, [B, N, W]; `into` is made if not given.

    As words + words o (-w e^T), one pass less, and exactly 0 where w e is 1.
    """
    part = torch.mul(weights[:, head, :, None], -erase[:, head, None, :], out=into)
    return torch.addcmul(words, words, part, out=part)


class _EraseAdd(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, words: Tensor, weights: Tensor, erase: Tensor, add: Tensor) -> Tensor:
        ctx.save_for_backward(words, weights, erase, add)
        result, spare = _erased(words, weights, erase, 0), None
        for head in range(1, weights.shape[1]):
            result, spare = _erased(result, weights, erase, head, spare), result
        if weights.shape[1] == 1:
            return result.addcmul_(weights[:, 0, :, None], add)
        return result.baddbmm_(weights.transpose(1, 2), add)

    @staticmethod
    @twice_differentiable(erase_add_plain, 4)
    def backward(ctx: Any, grad: Tensor) -> Any:  # type: ignore[override]
        words, weights, erase, add = ctx.saved_tensors
        heads = weights.shape[1]
        before = [words]  # M^h
        for head in range(heads - 1):
            before.append(_erased(before[-1], weights, erase, head))
        grad_weights = torch.bmm(add, grad.transpose(1, 2))
        grad_add = torch.bmm(weights, grad)
        grad_erase = torch.empty_like(erase)
        for head in reversed(range(heads)):
            part = grad * words if head == 0 else before[head].mul_(grad)
            here = slice(head, head + 1)
            grad_weights[:, here].baddbmm_(erase[:, here], part.transpose(1, 2), alpha=-1)
            grad_erase[:, here] = torch.bmm(weights[:, here], part)
            if head > 0 or ctx.needs_input_grad[0]:
                grad = _erased(grad, weights, erase, head, part)  # G^{h-1}
        return grad if ctx.needs_input_grad[0] else None, grad_weights, grad_erase.neg_(), grad_add


_erase_add = operation(_EraseAdd, erase_add_plain)


def erase_add(words: Tensor, weights: Tensor, erase: Tensor, add: Tensor) -> Tensor:
    """Erases, then adds, with H heads (NTM paper, eq. 3-4 and section 3.2).

        M_t = M_{t-1} o prod_h (1 - w^h e^h^T) + sum_h w^h a^h^T

    The seed of this library, "Implementing Augmented Memory Networks" (2022), writes A, attention,
    for w, E for e, X for a, and a superscript D for "diagonal matrix of". With its dimensions put
    right, one head's write is, for M [N, W], A^D [N, N], E^D and X^D [W, W], and ones 1 [N, W]:

        erase       M_e = M - A^D . M . E^D                  =  M o (1 - A E^T)
        add         M_x = M + A^D . 1 . X^D                  =  M + A X^T
        combined    M'  = M + A^D . (1 . X^D - M . E^D)      =  M o (1 - A E^T) + A X^T

    The seed's erase, M - A^D . (E^D . 1), exists for N = W only and lacks the factor M. Taken
    literally it is `erase_add_subtractive`.

    Args:
        words: M_{t-1}, [B, N, W].
        weights: w, [B, H, N].
        erase: e in [0, 1], [B, H, W].
        add: a, [B, H, W].

    Returns:
        M_t, [B, N, W], a tensor of its own.

    Raises:
        ShapeError: the shapes disagree.

    Cost: O(B H N W) time, three passes over the words for one head. It keeps its inputs, without a
    copy, for the backward pass.
    """
    _check_write(words, weights, erase, add)
    return _erase_add(words, weights, erase, add)


def erase_add_subtractive(words: Tensor, weights: Tensor, erase: Tensor, add: Tensor) -> Tensor:
    """The seed's write taken literally, with its dimensions put right; for comparison only.

        M' = M + A^D . (1 . X^D - 1 . E^D) = M + A (X - E)^T

    The erase takes off a constant and not a share of what is there, so this is `erase_add` only
    where a word's entry is 1 or A E^T is 0. Only X - E matters: the gradients of the two are
    opposite, nothing is ever forgotten, and words written again and again grow without bound.

    Args, Returns, Raises: as `erase_add`; the heads' writes are summed.

    Cost: O(B H N W) time; keeps `weights` and X - E, and no words, for the backward pass.
    """
    _check_write(words, weights, erase, add)
    return torch.baddbmm(words, weights.transpose(1, 2), add - erase)
