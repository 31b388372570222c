"""DNC's step against the equations in NumPy loops, its gradients, its bytes and its invariants."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck

from benchmarks.bytes.footprint import saved_bytes
from sam.memory.dnc import DNCControls, DNCMemory, DNCState
from sam.ops.squash import squash_plain
from tests.reference import dnc_loops

OPTIONS = {
    "one write head": {},
    "two write heads": {"num_writes": 2},
    "three write heads": {"num_writes": 3},
    "masked": {"masked": True, "num_writes": 2},
    "mask floor": {"masked": True, "mask_floor": 0.1},
    "deallocate": {"deallocate": True},
    "sharpened links": {"sharpen_links": True},
    "everything": {
        "masked": True,
        "mask_floor": 0.2,
        "deallocate": True,
        "sharpen_links": True,
        "num_writes": 2,
    },
}


def make_memory(memory_size=7, word_size=4, num_reads=3, **options):
    return DNCMemory(memory_size=memory_size, word_size=word_size, num_reads=num_reads, **options)


def draw_controls(memory, steps, batch, *, seed, scale=1.0):
    """Controls of T steps, float64 [T, B, ...], squashed as the interface does."""
    layout = tuple((field.shape, field.activation) for field in memory.fields)
    size = sum(int(np.prod(shape)) for shape, _ in layout)
    generator = torch.Generator().manual_seed(seed)
    values = scale * torch.randn(steps * batch, size, generator=generator, dtype=torch.float64)
    names = [field.name for field in memory.fields]
    fields = dict(zip(names, squash_plain(values, layout), strict=True))
    return DNCControls(
        **{name: value.unflatten(0, (steps, batch)) for name, value in fields.items()}
    )


def at(controls, step):
    return DNCControls(*(None if field is None else field[step] for field in controls))


def row_of(fields, row, *, batch_dim=0):
    """One batch row of controls or state, as NumPy arrays."""
    return type(fields)(*(None if f is None else f.select(batch_dim, row).numpy() for f in fields))


def used_state(memory, batch, *, seed=0):
    """A state that is nowhere zero, its usages well apart: the sort has no ties to break."""
    size, reads, writes = memory.memory_size, memory.num_reads, memory.num_writes
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(batch, *shape, generator=generator, dtype=torch.float64)

    order = torch.stack([torch.randperm(size, generator=generator) for _ in range(batch)])
    links = draw(writes, size, size).softmax(-1) / size
    links.diagonal(dim1=2, dim2=3).zero_()
    return DNCState(
        words=draw(size, memory.word_size),
        read_weights=0.9 * draw(reads, size).softmax(-1),
        write_weights=0.1 * draw(writes, size).softmax(-1),
        usage=(order.double() + 0.5) / size,
        links=links,
        precedence=0.8 * draw(writes, size).softmax(-1),
    )


def rollout(memory, controls, state):
    """Reads [T, B, R, W] and the states after each step."""
    reads, history = [], []
    for step in range(len(controls.read_keys)):
        read, state = memory.step(at(controls, step), state)
        reads.append(read)
        history.append(state)
    return torch.stack(reads), history


def compare(memory, controls, state, options):
    """Asserts that every batch row does what the loops do."""
    reads, history = rollout(memory, controls, state)
    for row in range(reads.shape[1]):
        expected = dnc_loops.episode(
            row_of(controls, row, batch_dim=1), row_of(state, row), **options
        )

        def same(found, wanted):
            np.testing.assert_allclose(found.numpy(), wanted, rtol=0, atol=1e-10)

        same(reads[:, row], expected.reads)
        for name in ("read_weights", "write_weights", "usage"):
            found = torch.stack([getattr(after, name)[row] for after in history])
            same(found, getattr(expected, name))
        for name in ("words", "links", "precedence"):
            same(getattr(history[-1], name)[row], getattr(expected, name))


@pytest.mark.parametrize("case", OPTIONS)
def test_step_follows_the_equations(case):
    memory = make_memory(**OPTIONS[case])
    controls = draw_controls(memory, 8, 3, seed=len(case), scale=2.0)
    options = {k: v for k, v in OPTIONS[case].items() if k not in ("masked", "num_writes")}
    compare(memory, controls, used_state(memory, 3), options)


@pytest.mark.parametrize("writes", [1, 2])
def test_first_step_of_an_episode_follows_the_equations(writes):
    """From zeros; later steps are left out, for rounding decides there among equal usages."""
    memory = make_memory(num_writes=writes)
    state = memory.initial_state(3, dtype=torch.float64)
    assert not any(field.any() for field in state)
    compare(memory, draw_controls(memory, 1, 3, seed=5), state, {})


@pytest.mark.parametrize("case", ["one write head", "two write heads", "everything"])
def test_unrolled_memory_against_finite_differences(case):
    """With the write weights that the usage sees held fixed: they get no gradient there."""
    memory = make_memory(memory_size=5, word_size=2, num_reads=2, **OPTIONS[case])
    controls, state = draw_controls(memory, 3, 1, seed=1), used_state(memory, 1, seed=1)
    names = [name for name, field in controls._asdict().items() if field is not None]
    _, history = rollout(memory, controls, state)
    written = [state.write_weights, *(after.write_weights for after in history)]
    orders = [after.usage.argsort(1) for after in history]

    def reads(words, read_weights, usage, links, precedence, *fields):
        now = DNCState(words, read_weights, written[0], usage, links, precedence)
        given = DNCControls(**dict(zip(names, fields, strict=True)))
        found = []
        for step in range(3):
            read, now = memory.step(at(given, step), now._replace(write_weights=written[step]))
            assert torch.equal(now.usage.argsort(1), orders[step]), "the order must not change"
            found.append(read)
        return torch.stack(found)

    leaves = [value for name, value in state._asdict().items() if name != "write_weights"]
    leaves += [getattr(controls, name) for name in names]
    assert gradcheck(reads, [leaf.clone().requires_grad_() for leaf in leaves])


def test_gradient_reaches_every_control():
    memory = make_memory(**OPTIONS["everything"])
    controls = draw_controls(memory, 4, 2, seed=3)
    leaves = DNCControls(*(field.clone().requires_grad_() for field in controls))
    reads, _ = rollout(memory, leaves, memory.initial_state(2, dtype=torch.float64))
    reads.square().sum().backward()
    for name, leaf in leaves._asdict().items():
        assert leaf.grad is not None and leaf.grad.isfinite().all(), name
        assert leaf.grad[1:].abs().max() > 0, name


@pytest.mark.parametrize(
    ("reads", "options"),
    [(4, {}), (1, {}), (4, {"deallocate": True}), (4, {"masked": True}), (4, {"num_writes": 2})],
)
def test_bytes_kept_per_step(reads, options):
    """Links once, words once, and a few numbers a word; nothing else grows as the square of N."""
    size, word_size = 96, 8
    memory = make_memory(size, word_size, reads, **options)
    writes = memory.num_writes
    controls = draw_controls(memory, 12, 1, seed=4)
    leaves = DNCControls(*(None if f is None else f.float().requires_grad_() for f in controls))

    def kept(steps):
        def forward():
            state, out = memory.initial_state(1), []
            for step in range(steps):
                reads, state = memory.step(at(leaves, step), state)
                out.append(reads)
            return out

        return saved_bytes(forward, apart_from=[leaf for leaf in leaves if leaf is not None])

    numbers = (kept(12) - kept(6)) / 6 / 4
    extra = numbers - writes * size**2 - size * word_size
    assert 0 < extra <= size * ((2 * writes + 3) * reads + 10 * writes + 3)


@given(st.integers(0, 2**31), st.sampled_from(sorted(OPTIONS)), st.sampled_from([0.3, 2.0, 30.0]))
def test_weights_and_links_stay_in_range(seed, case, scale):
    """Gates and modes from undecided to fully open or shut."""
    memory = make_memory(memory_size=6, **OPTIONS[case])
    controls = draw_controls(memory, 8, 2, seed=seed, scale=scale)
    _, history = rollout(memory, controls, memory.initial_state(2, dtype=torch.float64))
    tolerance = 1e-9
    for state in history:
        for name in ("read_weights", "write_weights", "precedence"):
            weights = getattr(state, name)
            assert (weights >= -tolerance).all(), name
            assert (weights.sum(-1) <= 1 + tolerance).all(), name
        assert (state.usage >= -tolerance).all() and (state.usage <= 1 + tolerance).all()
        assert (state.links >= -tolerance).all()
        assert not state.links.diagonal(dim1=2, dim2=3).any()
        for dim in (2, 3):
            assert (state.links.sum(dim) <= 1 + tolerance).all()
        assert all(field.isfinite().all() for field in state)
