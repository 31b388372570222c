"""SAM's step against the equations in NumPy loops, its gradients against a naive form."""

import numpy as np
import pytest
import torch

from sam.fast.fused_access import fused_step
from sam.memory.sam import SAMMemory
from sam.memory.sam_state import SAMControls
from tests.reference import sam_loops, sam_naive
from tests.reference.finite_differences import check_gradients


def draw_controls(steps, batch, heads, writes, size, *, seed, sharpness=1.0):
    """Controls of T steps as float64 leaves; gates spread over (0, 1), some of them shut."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(steps, batch, *shape, generator=generator, dtype=torch.float64)

    shut = torch.rand(steps, batch, writes, generator=generator) < 0.2
    alpha = torch.sigmoid(normal(writes)).masked_fill(shut, 0.001)
    return SAMControls(
        keys=normal(heads, size),
        adds=normal(writes, size),
        write_gates=alpha,
        interpolation_gates=torch.sigmoid(2 * normal(writes)),
        strengths=1 + sharpness * normal(heads).abs(),
    )


def at(controls, step):
    return SAMControls(*(field[step] for field in controls))


def rollout(memory, controls, state=None):
    """Runs the memory; returns reads, read slots, read weights, oldest slots and the state."""
    steps, batch = controls.keys.shape[:2]
    state = memory.initial_state(batch, dtype=torch.float64) if state is None else state
    reads, slots, values, oldest = [], [], [], []
    for step in range(steps):
        read, state = memory.step(at(controls, step), state)
        reads.append(read)
        slots.append(state.read_weights.slots)
        values.append(state.read_weights.values)
        oldest.append(state.write_weights.slots[:, :, -1])
    return (*tuple(map(torch.stack, (reads, slots, values, oldest))), state)


CASES = {
    "fresh": {"memory_size": 64},
    "full": {"memory_size": 9},
    "one head": {"memory_size": 30, "num_heads": 1},
    "all words": {"memory_size": 6, "top_k": 6},
    "shared write": {"memory_size": 12, "shared_write": True},
    "high threshold": {"memory_size": 16, "access_threshold": 0.3},
}


@pytest.mark.parametrize("case", CASES)
def test_step_follows_the_equations(case):
    memory = SAMMemory(**{"word_size": 5, "num_heads": 3, "top_k": 3} | CASES[case])
    controls = draw_controls(25, 3, memory.num_heads, memory.num_writes, 5, seed=len(case))
    reads, slots, values, oldest, state = rollout(memory, controls)
    for row in range(3):
        expected = sam_loops.episode(
            controls.keys[:, row].numpy(),
            controls.strengths[:, row].numpy(),
            controls.adds[:, row].numpy(),
            controls.write_gates[:, row].numpy(),
            controls.interpolation_gates[:, row].numpy(),
            memory_size=memory.memory_size,
            top_k=memory.top_k,
            delta=memory.access_threshold,
        )
        np.testing.assert_array_equal(oldest[:, row].numpy(), expected.oldest)
        np.testing.assert_array_equal(slots[:, row].numpy(), expected.read_slots)
        np.testing.assert_allclose(values[:, row].numpy(), expected.read_weights, atol=1e-10)
        np.testing.assert_allclose(reads[:, row].numpy(), expected.reads, atol=1e-10)
        words = state.words.words[row].numpy()
        used = min(len(words), memory.memory_size)
        np.testing.assert_allclose(words[:used], expected.memory[:used], atol=1e-10)
        assert not expected.memory[used:].any()


@pytest.mark.parametrize("memory_size", [64, 9, 5])
def test_gradients_equal_the_naive_form(memory_size):
    """Heads share rows, slots are erased and written again, early rows hold fewer than K words."""
    memory = SAMMemory(memory_size=memory_size, word_size=6, num_heads=2, top_k=4)
    controls = draw_controls(20, 3, 2, 2, 6, seed=memory_size)
    ours = SAMControls(*(field.clone().requires_grad_() for field in controls))
    reads, slots, _, oldest, state = rollout(memory, ours)
    assert (slots[0] == -1).any(), "the first step must read fewer than K words"
    shared = (slots[:, :, 0, :, None] == slots[:, :, 1, None, :]) & (slots[:, :, 0, :, None] >= 0)
    assert shared.any(), "two heads must hit one row"
    weight = torch.randn(reads.shape, generator=torch.Generator().manual_seed(1)).double()
    before = state.words.words.clone()
    (reads * weight).sum().backward()

    naive = SAMControls(*(field.clone().requires_grad_() for field in controls))
    expected, last = sam_naive.rollout(
        *(getattr(naive, name) for name in ("keys", "strengths", "adds")),
        naive.write_gates,
        naive.interpolation_gates,
        oldest=oldest,
        read_slots=slots,
        memory_size=memory_size,
    )
    (expected * weight).sum().backward()
    torch.testing.assert_close(reads, expected, rtol=0, atol=1e-12)
    for name in SAMControls._fields:
        found, wanted = getattr(ours, name).grad, getattr(naive, name).grad
        assert wanted.abs().max() > 0
        error = (found - wanted).norm() / wanted.norm()
        assert error < 1e-8, f"{name}: relative error {error}"
    # After the backward pass the memory is still M_T.
    torch.testing.assert_close(state.words.words, before, rtol=0, atol=0)
    used = min(before.shape[1], memory_size)
    torch.testing.assert_close(before[:, :used], last[:, :used].detach(), rtol=0, atol=1e-12)


class Fused(SAMMemory):
    """Stepped as one operation."""

    step = fused_step


@pytest.mark.parametrize("shared", [False, True])
def test_step_in_one_op_equals_the_step_op_by_op(shared):
    results = []
    for kind in (SAMMemory, Fused):
        memory = kind(memory_size=24, word_size=5, num_heads=3, top_k=2, shared_write=shared)
        controls = draw_controls(15, 2, 3, memory.num_writes, 5, seed=2)
        leaves = SAMControls(*(field.clone().requires_grad_() for field in controls))
        reads, slots, values, oldest, state = rollout(memory, leaves)
        (reads * reads.detach().roll(1, 0)).sum().add((values**2).sum()).backward()
        grads = [leaf.grad for leaf in leaves]
        results.append([reads, slots, values, oldest, state.words.words, *grads])
    for found, wanted in zip(*results, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)


def test_unrolled_memory_against_finite_differences():
    memory = SAMMemory(memory_size=5, word_size=3, num_heads=1, top_k=2)
    controls = draw_controls(3, 1, 1, 1, 3, seed=3)
    controls = controls._replace(write_gates=controls.write_gates.clamp(min=0.3))
    slots = rollout(memory, controls)[1]

    def reads(*fields):
        found, chosen, *_ = rollout(memory, SAMControls(*fields))
        assert torch.equal(chosen, slots), "a perturbation must not change the choice of slots"
        return found

    check_gradients(reads, controls)


def test_truncated_gradient_stops_at_detach_and_memory_goes_on():
    memory = SAMMemory(memory_size=32, word_size=4, num_heads=2, top_k=2)
    controls = draw_controls(8, 2, 2, 2, 4, seed=5)
    whole = rollout(memory, controls)[0]
    leaves = SAMControls(*(field.clone().requires_grad_() for field in controls))
    first = SAMControls(*(field[:4] for field in leaves))
    second = SAMControls(*(field[4:] for field in leaves))
    *_, state = rollout(memory, first)
    reads, *_ = rollout(memory, second, state.detach())
    torch.testing.assert_close(reads, whole[4:], rtol=0, atol=1e-12)
    reads.sum().backward()
    assert leaves.adds.grad[:4].abs().max() == 0
    assert leaves.adds.grad[4:].abs().max() > 0


def test_all_words_read_as_dense_content_addressing():
    """SAM with K = N reads as DAM does from the same memory; so does the truncated softmax."""
    from sam.ops import content_weights

    for options in ({"top_k": 8}, {"top_k": 3, "renormalise": False}):
        memory = SAMMemory(memory_size=8, word_size=4, num_heads=2, **options)
        controls = draw_controls(12, 2, 2, 2, 4, seed=8)
        _, slots, values, _, state = rollout(memory, controls)
        dense = content_weights(controls.keys[-1], controls.strengths[-1], state.words.words[:, :8])
        torch.testing.assert_close(values[-1], dense.gather(2, slots[-1]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("options", [{"strength": "none"}, {"similarity": "euclidean"}])
def test_options_change_the_score(options):
    memory = SAMMemory(memory_size=8, word_size=4, num_heads=1, top_k=3, **options)
    controls = draw_controls(10, 2, 1, 1, 4, seed=9)
    if "strength" in options:
        controls = controls._replace(strengths=torch.ones_like(controls.strengths))
    _reads, slots, values, _, state = rollout(memory, controls)
    words, key = state.words.words[:, :8], controls.keys[-1, :, 0]
    if "similarity" in options:
        scores = -(words - key[:, None]).square().sum(-1)
    else:
        norms = (words.square().sum(-1) + 1e-6).sqrt() * (key.square().sum(-1) + 1e-6).sqrt()[
            :, None
        ]
        scores = (words @ key[..., None])[..., 0] / norms
    best = (scores * controls.strengths[-1]).topk(3)
    torch.testing.assert_close(slots[-1, :, 0], best.indices)
    torch.testing.assert_close(values[-1, :, 0], best.values.softmax(-1), rtol=0, atol=1e-12)


def test_rows_of_a_batch_do_not_see_each_other():
    memory = SAMMemory(memory_size=12, word_size=4, num_heads=2, top_k=3)
    controls = draw_controls(15, 3, 2, 2, 4, seed=4)
    together = rollout(memory, controls)[0]
    for row in range(3):
        alone = rollout(memory, SAMControls(*(f[:, row : row + 1] for f in controls)))[0]
        torch.testing.assert_close(alone[:, 0], together[:, row], rtol=0, atol=1e-12)


def test_closed_write_gate_uses_up_no_slot():
    """A word handed out but neither written nor read above the threshold stays the next to go."""
    memory = SAMMemory(memory_size=64, word_size=4, num_heads=1, top_k=1)
    controls = draw_controls(6, 1, 1, 1, 4, seed=6, sharpness=0.0)
    adds = torch.eye(4, dtype=torch.float64)[torch.tensor([0, 1, 2, 2, 2, 3])][:, None, None]
    gates = torch.tensor([1.0, 1.0, 0.0, 0.0, 1.0, 1.0], dtype=torch.float64)[:, None, None]
    controls = controls._replace(
        keys=torch.eye(4, dtype=torch.float64)[torch.zeros(6, dtype=torch.int64)][:, None, None],
        adds=adds,
        write_gates=gates,
        interpolation_gates=torch.zeros_like(gates),
    )
    _, slots, _, oldest, _ = rollout(memory, controls)
    assert slots.flatten().tolist() == [0] * 6
    assert oldest.flatten().tolist() == [0, 1, 2, 2, 2, 3]
