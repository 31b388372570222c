"""Mixing of read modes over sparse weights (SAM paper, supplement D.1; DNC paper, Methods).

    w^R = pi_1 b + pi_2 c + pi_3 f

over the slots of the backward weights b, the content weights c and the forward weights f, cut to
the K largest and not divided by their sum: what is missing to 1 means "read nothing". The choice of
the K slots, b and f are constants; in the backward pass, with g = dL/dw^R at the K slots,

    dL/dpi = (g.b, g.c, g.f)        dL/dc = pi_2 g        at those slots, and 0 elsewhere.

`mix_reads_plain` is the same by autograd; the tests compare the two.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from sam.once_differentiable import once_differentiable
from sam.ops.ranking import descending
from sam.ops.sparse import SparseWeights


def mix_reads_plain(
    modes: Tensor,
    backward: SparseWeights,
    content: SparseWeights,
    forward: SparseWeights,
    top_k: int,
) -> SparseWeights:
    """The readable form of `mix_reads`: same arguments, same results. O(M^2) for M slots."""
    parts = backward.detach(), content, forward.detach()
    slots, order = torch.cat([part.slots for part in parts], 2).sort(2)
    scaled = [part.values * modes[:, :, i : i + 1] for i, part in enumerate(parts)]
    values = torch.cat(scaled, 2).gather(2, order)
    same = slots[..., :, None] == slots[..., None, :]
    repeated = same.tril(-1).any(3)
    values = (same * values[:, :, None]).sum(3)
    values = values.masked_fill(repeated | (slots < 0) | (values <= 0), 0.0)
    order = descending(values.detach())[1][:, :, :top_k]
    values = values.gather(2, order)
    return SparseWeights(slots.gather(2, order).masked_fill(values == 0, -1), values)


class _Mixed(NamedTuple):
    """What mixing keeps for the backward pass beside its result."""

    parts: Tensor  # b, c and f at the chosen slots, [B, R, 3, K]
    content: Tensor  # the slots of c, [B, R, ...]
    chosen: Tensor  # [B, R, K]


def _mix_forward(
    modes: Tensor,
    backward: SparseWeights,
    content: SparseWeights,
    forward: SparseWeights,
    top_k: int,
) -> tuple[SparseWeights, _Mixed]:
    """`mix_reads` without a graph, and what `_mix_backward` needs."""
    first, count = backward.slots.shape[2], content.slots.shape[2]
    shape, last = modes.shape, forward.slots.shape[2]
    size = first + count + last
    with torch.inference_mode():  # a fifth cheaper than no_grad
        slots = torch.cat([backward.slots, content.slots, forward.slots], 2)
        values = torch.cat([backward.values, content.values, forward.values], 2)
        # b, c and f are summed for each different slot, in ascending order; 0 beyond.
        known, places = _by_slot(slots)
        places.narrow(2, first, count).add_(size)
        places.narrow(2, first + count, last).add_(2 * size)
        totals = values.new_zeros(*shape[:2], 3 * size).scatter_add_(2, places, values)
        totals = totals.view(-1, 3, size)
        mixed = torch.bmm(modes.reshape(-1, 1, 3), totals).view(slots.shape)
        mixed, order = descending(mixed)
        # Not negative ones, as all other slots have the weight 0.
        mixed, order = mixed.narrow(2, 0, top_k).clamp_(min=0), order.narrow(2, 0, top_k)
    # Outside of the inference mode, since these may be kept for the backward pass.
    mixed = mixed.clone(memory_format=torch.contiguous_format)
    chosen = known.gather(2, order).masked_fill_(mixed == 0, -1)
    kept = totals.view(*shape, size).gather(3, order.unsqueeze(2).expand(*shape, -1))
    return SparseWeights(chosen, mixed), _Mixed(kept, content.slots, chosen)


def _by_slot(slots: Tensor) -> tuple[Tensor, Tensor]:
    """The different ones of slots [B, R, M], ascending, and the place of each slot among them."""
    size = slots.shape[2]
    ascending, order = slots.sort(2)
    changes = ascending.narrow(2, 1, size - 1) != ascending.narrow(2, 0, size - 1)
    group = torch.zeros_like(slots)
    torch.cumsum(changes, 2, out=group.narrow(2, 1, size - 1))
    # Beyond the different ones a slot of no weight.
    known = torch.full_like(slots, -1).scatter_(2, group, ascending)
    return known, torch.empty_like(slots).scatter_(2, order, group)


def _mix_backward(modes: Tensor, mixed: _Mixed, grad: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of pi and c from that of w^R, [B, R, K]; the equations at the top of the file."""
    grad = grad.masked_fill(mixed.chosen < 0, 0.0).unsqueeze(3)
    grad_modes = torch.matmul(mixed.parts, grad).squeeze(3)
    same = (mixed.content.unsqueeze(3) == mixed.chosen.unsqueeze(2)).to(grad.dtype)
    return grad_modes, torch.matmul(same, grad).squeeze(3).mul_(modes.narrow(2, 1, 1))


class _MixReads(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        modes: Tensor,
        values: Tensor,
        backward: SparseWeights,
        slots: Tensor,
        forward: SparseWeights,
        top_k: int,
    ) -> tuple[Tensor, Tensor]:
        content = SparseWeights(slots, values)
        found, mixed = _mix_forward(modes, backward, content, forward, top_k)
        ctx.save_for_backward(modes, *mixed)
        ctx.mark_non_differentiable(found.slots)
        return found.slots, found.values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, _: Tensor, grad: Tensor) -> Any:  # type: ignore[override]
        modes, *mixed = ctx.saved_tensors
        return (*_mix_backward(modes, _Mixed(*mixed), grad), None, None, None, None)


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
        w^R, [B, R, K], from the largest on, none negative; slot -1 wherever the weight is 0.

    Cost: O(M log M) time a head for M slots in all; keeps O(K) numbers a head for the backward
    pass, which can be taken once.
    """
    constant = backward.detach(), content.slots, forward.detach()
    found = _MixReads.apply(modes, content.values, *constant, top_k)
    return SparseWeights(*found)  # type: ignore[misc]
