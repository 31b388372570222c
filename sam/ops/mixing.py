"""Mixing of read modes over sparse weights (SAM paper, supplement D.1; DNC paper, Methods).

    w^R = pi_1 b + pi_2 c + pi_3 f

over the slots of the backward weights b, the content weights c and the forward weights f, cut to
the K largest and not divided by their sum: what is missing to 1 means "read nothing". The choice of
the K slots, b and f are constants; on the way back, with g = dL/dw^R at the K slots,

    dL/dpi = (g.b, g.c, g.f)        dL/dc = pi_2 g        at those slots, and 0 elsewhere.

`mix_reads_plain` is the same by autograd; the tests compare the two.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sam.ops.ranking import descending
from sam.ops.sparse import SparseWeights


def mix_reads_plain(
    modes: Tensor,
    backward: SparseWeights,
    content: SparseWeights,
    forward: SparseWeights,
    top_k: int,
) -> SparseWeights:
    """The readable twin of `mix_reads`: same arguments, same results. O(M^2) for M slots."""
    parts = backward.detach(), content, forward.detach()
    slots, order = torch.cat([part.slots for part in parts], 2).sort(2)
    scaled = [part.values * modes[:, :, i : i + 1] for i, part in enumerate(parts)]
    values = torch.cat(scaled, 2).gather(2, order)
    same = slots[..., :, None] == slots[..., None, :]
    repeated = same.tril(-1).any(3)
    values = (same * values[:, :, None]).sum(3).masked_fill(repeated | (slots < 0), 0.0)
    order = descending(values.detach())[1][:, :, :top_k]
    values = values.gather(2, order)
    return SparseWeights(slots.gather(2, order).masked_fill(values == 0, -1), values)


class _MixReads(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        modes: Tensor,
        content: Tensor,
        backward: Tensor,
        forward: Tensor,
        slots: tuple[Tensor, Tensor, Tensor],
        top_k: int,
    ) -> tuple[Tensor, Tensor]:
        values = torch.cat([backward, content, forward], 2)
        totals, known = _by_slot(torch.cat(slots, 2), values, backward.shape[2], content.shape[2])
        mixed = torch.matmul(modes.unsqueeze(2), totals).squeeze(2)
        mixed, order = descending(mixed)
        mixed, order = mixed.narrow(2, 0, top_k).contiguous(), order.narrow(2, 0, top_k)
        chosen = known.gather(2, order).masked_fill_(mixed == 0, -1)
        # b, c and f at the chosen slots.
        parts = totals.gather(3, order.unsqueeze(2).expand(-1, -1, 3, -1))
        ctx.save_for_backward(modes, parts, slots[1], chosen)
        ctx.mark_non_differentiable(chosen)
        return chosen, mixed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, _: Tensor, grad: Tensor) -> Any:  # type: ignore[override]
        modes, parts, slots, chosen = ctx.saved_tensors
        grad = grad.masked_fill(chosen < 0, 0.0).unsqueeze(3)
        grad_modes = torch.matmul(parts, grad).squeeze(3)
        same = (slots.unsqueeze(3) == chosen.unsqueeze(2)).to(grad.dtype)
        grad_content = torch.matmul(same, grad).squeeze(3).mul_(modes[:, :, 1:2])
        return grad_modes, grad_content, None, None, None, None


def _by_slot(slots: Tensor, values: Tensor, first: int, second: int) -> tuple[Tensor, Tensor]:
    """Sums of b, c and f for each different slot.

    Args:
        slots: of b, c and f one after the other, int64 [B, R, M].
        values: their weights, [B, R, M].
        first, second: how many of them belong to b and to c.

    Returns:
        The sums [B, R, 3, M] and the slots [B, R, M], ascending; beyond the different slots the
        sums are 0 and the slots -1.
    """
    size = slots.shape[2]
    ascending, order = slots.sort(2)
    changes = ascending.narrow(2, 1, size - 1) != ascending.narrow(2, 0, size - 1)
    group = torch.zeros_like(slots)
    torch.cumsum(changes, 2, out=group.narrow(2, 1, size - 1))
    known = torch.full_like(slots, -1).scatter_(2, group, ascending)
    # Back in the order of the values, where b, c and f can be told apart.
    group = torch.empty_like(slots).scatter_(2, order, group)
    group.narrow(2, first, second).add_(size)
    group.narrow(2, first + second, size - first - second).add_(2 * size)
    totals = values.new_zeros(*slots.shape[:2], 3 * size).scatter_add_(2, group, values)
    return totals.view(*slots.shape[:2], 3, size), known


def mix_reads(
    modes: Tensor,
    backward: SparseWeights,
    content: SparseWeights,
    forward: SparseWeights,
    top_k: int,
) -> SparseWeights:
    """The K largest of the mixed read weights; of equal ones those of the lower slot.

    Args:
        modes: pi, how much of b, c and f, at least 0, [B, R, 3].
        backward: b, [B, R, ...]; here and in the others a slot may come repeatedly and counts with
            the sum of its weights; -1 with value 0 is none. No gradient.
        content: c, [B, R, ...], each slot once.
        forward: f, [B, R, ...]. No gradient.
        top_k: K, how many to keep, at most as many as there are slots in all.

    Returns:
        w^R, [B, R, K], from the largest on; slot -1 wherever the weight is 0.

    Cost: O(M log M) time a head for M slots in all; keeps O(K) numbers a head for the backward
    pass, which can be taken once.
    """
    slots = backward.slots, content.slots, forward.slots
    given = modes, content.values, backward.values.detach(), forward.values.detach()
    return SparseWeights(*_MixReads.apply(*given, slots, top_k))  # type: ignore[misc]
