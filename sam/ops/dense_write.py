"""The write of SAM over all N words, for dense weights.

    w^W_t = alpha_t (gamma_t w^R_{t-1} + (1 - gamma_t) I_t)             (SAM paper, eq. 5)
    M_t   = (1 - I_t 1^T) o M_{t-1} + sum_v w^W_{t,v} a_{t,v}^T         (SAM paper, eq. 3)

I_t marks one slot a write head. The plain forms write the equations down with I_t as a one-hot
matrix; multiplying by it would keep M_{t-1} and the matrix for the backward pass.
"""

import torch
from torch import Tensor
from torch.nn import functional

from sam.shape_checks import check_shapes


def dense_write_weights_plain(before: Tensor, alpha: Tensor, gamma: Tensor, new: Tensor) -> Tensor:
    """The readable form of `dense_write_weights`: same arguments, same results."""
    marks = functional.one_hot(new, before.shape[2]).to(before.dtype)
    gamma = gamma[:, :, None]
    return alpha[:, :, None] * (gamma * before + (1 - gamma) * marks)


def write_weights_forward(before: Tensor, alpha: Tensor, gamma: Tensor, new: Tensor) -> Tensor:
    """`dense_write_weights` without its checks."""
    again = alpha * gamma
    weights = before * again.unsqueeze(2)
    # In place: the product is not what its backward pass needs.
    return weights.scatter_add_(2, new.unsqueeze(2), (alpha - again).unsqueeze(2))


def dense_write_weights(before: Tensor, alpha: Tensor, gamma: Tensor, new: Tensor) -> Tensor:
    """w^W: a head writes to where it read before and to one new slot (SAM paper, eq. 5).

    Args:
        before: w^R_{t-1}, [B, V, N].
        alpha: write gate, [B, V].
        gamma: interpolation gate, [B, V]; 1 writes where the head read, 0 to the new slot.
        new: the one of I_t, int64 [B, V].

    Returns:
        w^W_t, [B, V, N].

    Raises:
        ShapeError: the shapes disagree.

    Cost: O(V N) time a batch row; keeps `before` and O(V) numbers for the backward pass.
    """
    check_shapes(
        before=(before, "B V N"), alpha=(alpha, "B V"), gamma=(gamma, "B V"), new=(new, "B V")
    )
    return write_weights_forward(before, alpha, gamma, new)


def dense_write_plain(words: Tensor, weights: Tensor, add: Tensor, *, erase: Tensor) -> Tensor:
    """The readable form of `dense_write`: same arguments, same results."""
    erased = functional.one_hot(erase, words.shape[1]).amax(1).to(words.dtype)
    return words * (1 - erased[:, :, None]) + torch.bmm(weights.transpose(1, 2), add)


def write_forward(words: Tensor, weights: Tensor, add: Tensor, erase: Tensor) -> Tensor:
    """`dense_write` without its checks."""
    erased = words.scatter(1, erase.unsqueeze(2).expand(-1, -1, words.shape[2]), 0.0)
    # In place on the copy that the erase made: neither step keeps it for its backward pass.
    return erased.baddbmm_(weights.transpose(1, 2), add)


def dense_write(words: Tensor, weights: Tensor, add: Tensor, *, erase: Tensor) -> Tensor:
    """Sets some words to zero, then adds to all by weight (SAM paper, eq. 3).

    Args:
        words: M_{t-1}, [B, N, W]. It stays as it was.
        weights: w^W_t, [B, V, N].
        add: a, [B, V, W].
        erase: slots to set to zero first, the ones of I_t, int64 [B, E].

    Returns:
        M_t, [B, N, W].

    Raises:
        ShapeError: the shapes disagree.

    Cost: O(V N W) time a batch row and one new copy of the words; keeps `weights`, `add` and
        `erase` for the backward pass, but no words.
    """
    check_shapes(
        words=(words, "B N W"), weights=(weights, "B V N"), add=(add, "B V W"), erase=(erase, "B E")
    )
    return write_forward(words, weights, add, erase)
