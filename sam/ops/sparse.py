"""K-sparse weights over a very large memory, and reading and writing with them."""

from typing import NamedTuple

import torch
from torch import Tensor

from sam import state
from sam.shape_checks import check_rows
from sam.store.word_store import WordStore


class SparseWeights(NamedTuple):
    """Weights of H heads over N words, all but K of them zero."""

    slots: Tensor  # int64 [B, H, K], -1 where there are fewer than K
    values: Tensor  # [B, H, K], 0 where the slot is -1

    detach = state.detach
    clone = state.clone
    to = state.to
    nbytes = property(state.nbytes)

    def reset(self, mask: Tensor) -> "SparseWeights":
        """No slots in the batch rows of `mask`, bool [B]."""
        check_rows("mask", mask, len(self.slots), self.slots.device)
        rows = mask[:, None, None]
        return SparseWeights(self.slots.masked_fill(rows, -1), self.values.masked_fill(rows, 0.0))

    def to_dense(self, memory_size: int) -> Tensor:
        """The weights as [B, H, N]; values of a slot given twice add up. For small N only."""
        dense = self.values.new_zeros(*self.slots.shape[:2], memory_size + 1)
        return dense.scatter_add(2, self.slots + 1, self.values)[:, :, 1:]

    def to_sparse_coo(self, memory_size: int) -> Tensor:
        """The weights as a coalesced sparse tensor [B, H, N]."""
        present = self.slots >= 0
        batch, head, place = present.nonzero(as_tuple=True)
        indices = torch.stack([batch, head, self.slots[batch, head, place]])
        size = (*self.slots.shape[:2], memory_size)
        # Checked explicitly: the default is announced as about to change.
        return torch.sparse_coo_tensor(
            indices, self.values[batch, head, place], size, check_invariants=True
        ).coalesce()


def no_weights(
    batch_size: int,
    heads: int,
    count: int,
    *,
    device: torch.device | str | None,
    dtype: torch.dtype,
) -> SparseWeights:
    """Weights of an episode's start: no slot accessed."""
    return SparseWeights(
        torch.full((batch_size, heads, count), -1, dtype=torch.int64, device=device),
        torch.zeros(batch_size, heads, count, dtype=dtype, device=device),
    )


def write_values(values: Tensor, alpha: Tensor, gamma: Tensor) -> Tensor:
    """w^W = alpha (gamma w^R_{t-1} + (1 - gamma) I) on its K + 1 slots (SAM paper, eq. 5).

    Args:
        values: w^R_{t-1} at the words read before, [B, V, K].
        alpha: write gate, [B, V].
        gamma: interpolation gate, [B, V].

    Returns:
        The weights [B, V, K + 1], the last for the least recently accessed word.

    Cost: O(B V K).
    """
    again = alpha * gamma
    return torch.cat([values * again.unsqueeze(2), (alpha - again).unsqueeze(2)], 2)


def write_values_backward(
    values: Tensor, alpha: Tensor, gamma: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of the three arguments of `write_values` from that of its result."""
    read, new = grad.narrow(2, 0, values.shape[2]), grad.select(2, -1)
    spread = (read * values).sum(2).sub_(new)
    again = (alpha * gamma).unsqueeze(2)
    return read * again, torch.addcmul(new, spread, gamma), spread * alpha


def sparse_read(words: Tensor, values: Tensor) -> Tensor:
    """r = sum_k w(s_k) M(s_k) (SAM paper, eq. 4).

    Args:
        words: the words at the K slots of each head, [B, H, K, W].
        values: their weights, [B, H, K].

    Returns:
        What each head read, [B, H, W].

    Cost: O(B H K W) time; keeps its two inputs for the backward pass.
    """
    return torch.matmul(values[:, :, None, :], words)[:, :, 0]


def sparse_write(
    store: WordStore,
    weights: SparseWeights,
    add: Tensor,
    *,
    erase: Tensor | None = None,
    slot_bound: int | None = None,
) -> WordStore:
    """Erases some words, then adds to the weighted ones (SAM paper, eq. 3).

        M_t = (1 - R_t) o M_{t-1} + A_t,   R_t = I_t 1^T,   A_t = w^W_t a_t^T

    Args:
        store: the memory; its handle is consumed.
        weights: w^W, slots and values [B, H, J].
        add: a, [B, H, W].
        erase: slots to set to zero first, [B, E]: the ones of I_t.
        slot_bound: promise that all slots are smaller; see `WordStore`.

    Returns:
        The next handle of the store.

    Cost: O(B H J W) time and O(B H (J + W)) bytes kept, whatever N is.
    """
    return store.write(weights.slots, weights.values, add, erase=erase, slot_bound=slot_bound)
