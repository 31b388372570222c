"""DAM's step against the equations in NumPy loops, against SAM, and what it keeps."""

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from benchmarks.bytes.footprint import saved_bytes
from sam.memory import dam
from sam.memory.dam import DAMMemory
from sam.memory.sam import SAMMemory
from sam.memory.sam_state import SAMControls
from sam.ops.dense_access import dense_access_plain
from tests.reference import dam_loops
from tests.reference.dam_rollout import at, begin, draw_controls, leaves_of, rollout

CASES = {
    "roomy": {"memory_size": 30},
    "full": {"memory_size": 7},
    "no more words than heads": {"memory_size": 3},
    "one head": {"memory_size": 9, "num_heads": 1},
    "shared write": {"memory_size": 8, "shared_write": True},
    "fast decay": {"memory_size": 10, "decay": 0.5},
    "last accesses only": {"memory_size": 5, "decay": 0.0},
}


def check_against_loops(memory, controls, state, given):
    """Steps of two batch rows against the loops; `given`: with the slots that we chose."""
    start = state.words.clone()
    reads, chosen, states = rollout(memory, controls, state)
    for row in range(2):
        expected = dam_loops.episode(
            controls.keys[:, row].numpy(),
            controls.strengths[:, row].numpy(),
            controls.adds[:, row].numpy(),
            controls.write_gates[:, row].numpy(),
            controls.interpolation_gates[:, row].numpy(),
            words=start[row].numpy(),
            decay=memory.decay,
            chosen=chosen[:, row].numpy() if given else None,
        )
        np.testing.assert_array_equal(chosen[:, row].numpy(), expected.chosen)
        np.testing.assert_allclose(reads[:, row].numpy(), expected.reads, atol=1e-10)
        for name in ("read_weights", "write_weights", "usage"):
            found = torch.stack([getattr(state, name)[row] for state in states])
            np.testing.assert_allclose(found.numpy(), getattr(expected, name), atol=1e-10)
        np.testing.assert_allclose(states[-1].words[row].numpy(), expected.memory, atol=1e-10)
    return chosen, states


@pytest.mark.parametrize("case", CASES)
def test_step_follows_the_equations(case):
    memory = DAMMemory(**{"word_size": 5, "num_heads": 3} | CASES[case])
    controls = draw_controls(12, 2, memory.num_heads, memory.num_writes, 5, seed=len(case))
    chosen, _ = check_against_loops(memory, controls, begin(memory, 2), given=False)
    assert chosen[0].tolist() == [list(range(memory.num_writes))] * 2
    if memory.memory_size > 3:
        assert (chosen[1:] != chosen[:-1]).any(), "the choice must depend on the usage"


@pytest.mark.parametrize("initial_word", [1e-6, 0.0])
def test_a_fresh_memory_follows_the_equations_and_takes_the_least_used(initial_word):
    memory = DAMMemory(memory_size=20, word_size=5, num_heads=3, initial_word=initial_word)
    controls = draw_controls(10, 2, 3, 3, 5, seed=3)
    state = memory.initial_state(2, dtype=torch.float64)
    assert (state.words == initial_word).all()
    chosen, states = check_against_loops(memory, controls, state, given=True)
    for step in range(1, 10):
        usage = states[step - 1].usage
        lowest = usage.sort(1).values[:, :3]
        torch.testing.assert_close(usage.gather(1, chosen[step]), lowest, rtol=0, atol=1e-12)


@pytest.mark.parametrize("shared", [False, True])
def test_step_in_one_op_equals_the_plain_one(monkeypatch, shared):
    memory = DAMMemory(memory_size=9, word_size=5, num_heads=3, shared_write=shared)
    controls = draw_controls(10, 2, 3, memory.num_writes, 5, seed=2)
    results = []
    for plain in (False, True):
        if plain:
            monkeypatch.setattr(dam, "dense_access", dense_access_plain)
        leaves = leaves_of(controls)
        reads, chosen, states = rollout(memory, leaves, begin(memory, 2))
        loss = (reads * reads.detach().roll(1, 0)).sum() + states[-1].words.square().sum()
        (loss + sum(state.read_weights.square().sum() for state in states)).backward()
        results.append([reads, chosen, *states[-1][:4], *(leaf.grad for leaf in leaves)])
    assert all(grad.any() for grad in results[0][-5:])
    for found, wanted in zip(*results, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("shared", [False, True])
def test_unrolled_memory_against_finite_differences(shared):
    memory = DAMMemory(memory_size=5, word_size=3, num_heads=2, shared_write=shared)
    controls = draw_controls(3, 1, 2, memory.num_writes, 3, seed=3)
    slots = rollout(memory, controls, begin(memory, 1))[1]

    def run(*fields):
        reads, chosen, states = rollout(memory, SAMControls(*fields), begin(memory, 1))
        assert torch.equal(chosen, slots), "a perturbation must not change the choice of slots"
        return reads, states[-1].words

    assert gradcheck(run, list(leaves_of(controls)))


@pytest.mark.parametrize("shared", [False, True])
def test_sam_that_reads_all_words_is_dam(shared):
    """From the same words, with the same slots to write, SAM with K = N is DAM.

    The two choose slots by another rule, so DAM is told SAM's choice through its usage.
    """
    count, size, heads, steps = 6, 4, 2, 12
    settings = {"memory_size": count, "word_size": size, "num_heads": heads}
    sparse = SAMMemory(top_k=count, shared_write=shared, **settings)
    dense = DAMMemory(shared_write=shared, **settings)
    controls = draw_controls(steps, 3, heads, dense.num_writes, size, seed=8)
    then = begin(dense, 3)
    one, other = leaves_of(controls), leaves_of(controls)
    now = sparse.initial_state(3, dtype=torch.float64, words=then.words)
    found, wanted = [], []
    for step in range(steps):
        oldest = now.order.lru_slots()
        told = torch.ones_like(then.usage).scatter_(
            1, oldest, torch.linspace(0, 0.5, oldest.shape[1]).double().expand(3, -1)
        )
        read, now = sparse.step(at(one, step), now)
        found.append(read)
        read, then = dense.step(at(other, step), then._replace(usage=told))
        wanted.append(read)
        torch.testing.assert_close(
            now.read_weights.to_dense(count), then.read_weights, rtol=0, atol=1e-12
        )
    assert (now.write_weights.to_dense(count) > 0).all(), "every word must be written"
    torch.testing.assert_close(torch.stack(found), torch.stack(wanted), rtol=0, atol=1e-12)
    torch.testing.assert_close(now.words.words[:, :count], then.words, rtol=0, atol=1e-12)
    for reads in (found, wanted):
        torch.stack(reads).square().sum().backward()
    for name in SAMControls._fields:
        ours, theirs = getattr(one, name).grad, getattr(other, name).grad
        assert theirs.any()
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)


def test_strength_may_be_left_out():
    settings = {"memory_size": 6, "word_size": 4, "num_heads": 2}
    controls = draw_controls(5, 2, 2, 2, 4, seed=1)
    ones = controls._replace(strengths=torch.ones_like(controls.strengths))
    expected, _, _ = rollout(DAMMemory(**settings), ones)
    memory, reads = DAMMemory(strength="none", **settings), []
    assert [field.name for field in memory.fields] == list(SAMControls._fields[:4])
    state = memory.initial_state(2, dtype=torch.float64)
    for step in range(5):
        given = SAMControls(*(field[step] for field in controls[:4]))
        read, state = memory.step(given, state)
        reads.append(read)
    assert torch.equal(torch.stack(reads), expected)


@pytest.mark.parametrize("initial_word", [1e-6, 0.0])
def test_gradients_stay_sane_in_a_word_erased_and_not_written(initial_word):
    """A shut gate leaves words of zeros; the epsilon in the norm bounds what flows out of them."""
    memory = DAMMemory(memory_size=64, word_size=16, num_heads=2, initial_word=initial_word)
    controls = draw_controls(12, 4, 2, 2, 16, seed=0)
    controls = controls._replace(write_gates=torch.full_like(controls.write_gates, 0.5))
    controls.write_gates[6] = 0.0
    leaves = leaves_of(controls)
    reads, chosen, states = rollout(memory, leaves)
    for state in states:
        state.words.retain_grad()
    (reads * torch.linspace(-1, 1, 16)).sum().backward()
    rows = torch.arange(4)[:, None]
    assert not states[6].words[rows, chosen[6]].any()
    lengths = states[6].words.grad.norm(dim=2)
    assert lengths[rows, chosen[6]].max() < 3 * lengths.median()
    for leaf in leaves:
        ordinary = leaf.grad[torch.arange(12) != 6].abs().max()
        assert leaf.grad[6].isfinite().all() and leaf.grad[6].abs().max() < 10 * ordinary


def test_a_step_keeps_one_copy_of_the_words_and_the_weights():
    batch, heads, count, size = 2, 2, 256, 16
    memory = DAMMemory(memory_size=count, word_size=size, num_heads=heads)
    controls = leaves_of(draw_controls(20, batch, heads, heads, size, seed=1))

    def kept(steps):
        def forward():
            return rollout(memory, SAMControls(*(field[:steps] for field in controls)))

        return saved_bytes(forward, apart_from=controls)

    numbers = (kept(20) - kept(10)) / 10 / batch / 8
    expected = count * size + 3 * heads * count + count
    assert expected <= numbers <= expected + 4 * heads * size + 64
