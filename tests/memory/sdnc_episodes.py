"""Controls to draw and episodes to run, for the tests of SDNC's memory."""

import torch

from sam.memory.sdnc import SDNCControls, SDNCMemory


def draw_controls(steps, batch, heads, size, *, seed):
    """Controls of T steps in float64; gates spread over (0, 1), some of them shut."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(steps, batch, *shape, generator=generator, dtype=torch.float64)

    shut = torch.rand(steps, batch, 1, generator=generator) < 0.2
    return SDNCControls(
        keys=normal(heads, size),
        modes=normal(heads, 3).softmax(3),
        adds=normal(1, size),
        write_gates=torch.sigmoid(1 + normal(1)).masked_fill(shut, 0.001),
        interpolation_gates=torch.sigmoid(normal(1)),
        strengths=1 + normal(heads).abs(),
    )


def rollout(memory, controls, state=None, active=None):
    """Runs the memory; returns reads, read slots, read weights, oldest slots and the state."""
    steps, batch = controls.keys.shape[:2]
    state = memory.initial_state(batch, dtype=torch.float64) if state is None else state
    reads, slots, values, oldest = [], [], [], []
    for step in range(steps):
        now = SDNCControls(*(field[step] for field in controls))
        read, state = memory.step(now, state, active=None if active is None else active[step])
        reads.append(read)
        slots.append(state.read_weights.slots)
        values.append(state.read_weights.values)
        oldest.append(state.write_weights.slots[:, 0, -1])
    return (*tuple(map(torch.stack, (reads, slots, values, oldest))), state)


def leaves_of(controls):
    return SDNCControls(*(field.clone().requires_grad_() for field in controls))


def memory_of(compiled, **settings):
    """A memory whose step is the plain one, or compiled as one operation."""
    if not compiled:
        return SDNCMemory(**settings)
    from sam.fast.linked_step import linked_step

    return type("Compiled", (SDNCMemory,), {"step": linked_step})(**settings)
