"""SAM's memory step by autograd on one fresh copy of the memory per step, with given slots.

Dense, slow, differentiable: what the gradients of the in-place memory are compared with.
"""

import torch
from torch import Tensor

EPS = 1e-6


def rollout(
    keys: Tensor,
    strengths: Tensor,
    adds: Tensor,
    write_gates: Tensor,
    interpolation_gates: Tensor,
    *,
    oldest: Tensor,
    read_slots: Tensor,
    memory_size: int,
    words: Tensor | None = None,
    starts: Tensor | None = None,
    cut: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Reads [T, B, H, W] and M_T [B, N, W] for controls [T, B, H, ...] and frozen slots.

    `oldest` is [T, B, H]; `read_slots` is [T, B, H, K] with -1 where fewer words were written.
    `words` [B, n, W] are in the memory from the start; `starts` bool [T, B] empties rows before a
    step; before step `cut` the gradient is cut.
    """
    steps, batch_size, heads, size = keys.shape
    memory = keys.new_zeros(batch_size, memory_size, size)
    if words is not None:
        memory[:, : words.shape[1]] = words
    read_weights = keys.new_zeros(batch_size, heads, memory_size)
    reads = []
    for t in range(steps):
        if starts is not None:
            memory = memory.masked_fill(starts[t, :, None, None], 0.0)
            read_weights = read_weights.masked_fill(starts[t, :, None, None], 0.0)
        if t == cut:
            memory, read_weights = memory.detach(), read_weights.detach()
        one_hot = torch.nn.functional.one_hot(oldest[t], memory_size).to(keys.dtype)
        alpha, gamma = write_gates[t, :, :, None], interpolation_gates[t, :, :, None]
        write_weights = alpha * (gamma * read_weights + (1 - gamma) * one_hot)
        kept = 1 - one_hot.sum(1).clamp(max=1)
        memory = memory * kept[:, :, None] + torch.einsum("bhn,bhw->bnw", write_weights, adds[t])
        norms = (memory.square().sum(-1) + EPS).sqrt()[:, None]
        key_norms = (keys[t].square().sum(-1) + EPS).sqrt()[:, :, None]
        scores = torch.einsum("bhw,bnw->bhn", keys[t], memory) / (norms * key_norms)
        chosen = torch.zeros(batch_size, heads, memory_size + 1, dtype=torch.bool)
        chosen.scatter_(2, read_slots[t] + 1, True)
        scores = (strengths[t][:, :, None] * scores).masked_fill(~chosen[:, :, 1:], -torch.inf)
        read_weights = scores.softmax(-1)
        reads.append(torch.einsum("bhn,bnw->bhw", read_weights, memory))
    return torch.stack(reads), memory
