"""SDNC's step by autograd on one fresh copy of the memory per step, with given slots.

Dense, slow, differentiable: what the gradients of the in-place memory are compared with. The links
are those of the loops, so that forward and backward weights are constants.
"""

import numpy as np
import torch
from torch import Tensor

from tests.reference.sdnc_loops import Links

EPS = 1e-6


def rollout(
    keys: Tensor,
    modes: Tensor,
    adds: Tensor,
    write_gates: Tensor,
    interpolation_gates: Tensor,
    strengths: Tensor,
    *,
    oldest: Tensor,
    read_slots: Tensor,
    memory_size: int,
    top_k: int,
    num_links: int,
    gamma: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Reads [T, B, R, W] and M_T [B, N, W] for controls [T, B, ...] and frozen slots.

    `oldest` is [T, B]; `read_slots` is [T, B, R, K] with -1 where fewer words had weight.
    """
    steps, batch_size, heads, size = keys.shape
    memory = keys.new_zeros(batch_size, memory_size, size)
    written = torch.zeros(batch_size, memory_size, dtype=torch.bool)
    read_weights = keys.new_zeros(batch_size, heads, memory_size)
    links = [Links(memory_size, num_links) for _ in range(batch_size)]
    reads = []
    for t in range(steps):
        one_hot = torch.nn.functional.one_hot(oldest[t], memory_size).to(keys.dtype)
        alpha, again = write_gates[t], interpolation_gates[t]
        write_weights = alpha * (again * read_weights.mean(1) + (1 - again) * one_hot)
        memory = memory * (1 - one_hot[:, :, None]) + write_weights[:, :, None] * adds[t]
        written = written | one_hot.bool()
        before = read_weights.detach().numpy()
        onwards, back = np.zeros(before.shape), np.zeros(before.shape)
        for row, link in enumerate(links):
            link.update(range(memory_size), write_weights[row].tolist())
            for head in range(heads):
                onwards[row, head] = link.forward(before[row, head])
                back[row, head] = link.backward(before[row, head])
        norms = (memory.square().sum(-1) + EPS).sqrt()[:, None]
        key_norms = (keys[t].square().sum(-1) + EPS).sqrt()[:, :, None]
        scores = torch.einsum("brw,bnw->brn", keys[t], memory) / (norms * key_norms)
        candidates = scores.detach().masked_fill(~written[:, None], -torch.inf)
        found = candidates >= candidates.topk(top_k, 2).values[:, :, -1:]
        found &= written[:, None]
        scores = (strengths[t][:, :, None] * scores).masked_fill(~found, -torch.inf)
        parts = torch.stack([torch.from_numpy(back), scores.softmax(-1), torch.from_numpy(onwards)])
        mixed = torch.einsum("brm,mbrn->brn", modes[t], parts)
        chosen = torch.zeros(batch_size, heads, memory_size + 1, dtype=torch.bool)
        chosen.scatter_(2, read_slots[t] + 1, True)
        read_weights = mixed.masked_fill(~chosen[:, :, 1:], 0.0)
        if gamma is not None:
            powers = read_weights.clamp(min=0) ** gamma
            read_weights = powers / powers.sum(2, keepdim=True)
        reads.append(torch.einsum("brn,bnw->brw", read_weights, memory))
    return torch.stack(reads), memory
