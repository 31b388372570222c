"""Driving DAM with drawn controls: what its tests share."""

import torch

from sam.memory.sam_state import SAMControls
from sam.ops.decayed_usage import least_used


def draw_controls(steps, batch, heads, writes, size, *, seed, dtype=torch.float64):
    """Controls of T steps; gates spread over (0, 1), some of the write gates nearly shut."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(steps, batch, *shape, generator=generator, dtype=dtype)

    shut = torch.rand(steps, batch, writes, generator=generator) < 0.2
    return SAMControls(
        keys=normal(heads, size),
        adds=normal(writes, size),
        write_gates=torch.sigmoid(normal(writes)).masked_fill(shut, 0.001),
        interpolation_gates=torch.sigmoid(2 * normal(writes)),
        strengths=1 + normal(heads).abs(),
    )


def at(controls, step):
    return SAMControls(*(field[step] for field in controls))


def leaves_of(controls):
    return SAMControls(*(field.clone().requires_grad_() for field in controls))


def rollout(memory, controls, state=None):
    """Runs the memory; returns reads, slots chosen, and the states after each step."""
    steps, batch = controls.keys.shape[:2]
    if state is None:
        state = memory.initial_state(batch, dtype=controls.keys.dtype)
    reads, chosen, states = [], [], []
    for step in range(steps):
        chosen.append(least_used(state.usage, memory.num_writes))
        read, state = memory.step(at(controls, step), state)
        reads.append(read)
        states.append(state)
    return torch.stack(reads), torch.stack(chosen), states


def begin(memory, batch, *, seed=0):
    """A state of random words: words with the same past tie in all but the rounding."""
    state = memory.initial_state(batch, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    return state._replace(words=torch.randn(state.words.shape, generator=generator).double())
