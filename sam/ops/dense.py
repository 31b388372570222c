"""Reading and writing all N words at once, as NTM, DAM and DNC do."""

import torch
from torch import Tensor


def read_words(words: Tensor, weights: Tensor) -> Tensor:
    """r^h = sum_i w^h(i) M(i) (NTM paper, eq. 2).

    Args:
        words: M, [B, N, W].
        weights: w, [B, H, N].

    Returns:
        What each head reads, [B, H, W].
    """
    return torch.bmm(weights, words)


def erase_add(words: Tensor, weights: Tensor, erase: Tensor, add: Tensor) -> Tensor:
    """Erases, then adds, with H heads (NTM paper, eq. 3-4).

        M_t = M_{t-1} o prod_h (1 - w^h e^h^T) + sum_h w^h a^h^T

    Args:
        words: M_{t-1}, [B, N, W].
        weights: w, [B, H, N].
        erase: e in [0, 1], [B, H, W].
        add: a, [B, H, W].

    Returns:
        M_t, [B, N, W].
    """
    for head in range(weights.shape[1]):
        words = words * (1 - weights[:, head, :, None] * erase[:, head, None, :])
    return words + torch.bmm(weights.transpose(1, 2), add)
