"""SDNC's step against the equations in NumPy loops, its gradients against a naive form."""

import numpy as np
import pytest
import torch

from sam.memory.sam import SAMMemory
from sam.memory.sam_state import SAMControls
from sam.memory.sdnc import SDNCControls, SDNCMemory
from sam.store.companions import join
from tests.memory.sdnc_episodes import draw_controls, leaves_of, rollout
from tests.reference import sdnc_loops, sdnc_naive
from tests.reference.finite_differences import check_gradients

CASES = {
    "fresh": {"memory_size": 64},
    "full": {"memory_size": 9},
    "one head": {"memory_size": 30, "num_reads": 1},
    "one link": {"memory_size": 12, "num_links": 1},
    "all words": {"memory_size": 6, "top_k": 6, "num_links": 6},
    "sources decay": {"memory_size": 10, "decay_sources": True},
    "high threshold": {"memory_size": 16, "access_threshold": 0.3},
    "renormalised": {"memory_size": 20, "read_sharpening": 1.0},
    "sharpened": {"memory_size": 20, "read_sharpening": 2.0},
    "sharpened by a power of its own": {"memory_size": 9, "read_sharpening": 1.7},
}


@pytest.mark.parametrize("case", CASES)
def test_step_follows_the_equations(case):
    settings = {"word_size": 5, "num_reads": 3, "top_k": 3, "num_links": 2} | CASES[case]
    memory = SDNCMemory(**settings)
    controls = draw_controls(25, 3, memory.num_reads, 5, seed=len(case))
    reads, slots, values, oldest, state = rollout(memory, controls)
    assert (slots[0] < 0).any() or memory.top_k == 1, "at first fewer than K words are read"
    for row in range(3):
        expected = sdnc_loops.episode(
            controls.keys[:, row].numpy(),
            controls.strengths[:, row].numpy(),
            controls.modes[:, row].numpy(),
            controls.adds[:, row, 0].numpy(),
            controls.write_gates[:, row, 0].numpy(),
            controls.interpolation_gates[:, row, 0].numpy(),
            memory_size=memory.memory_size,
            top_k=memory.top_k,
            num_links=memory.num_links,
            decay_sources=memory.decay_sources,
            delta=memory.access_threshold,
            gamma=memory.read_sharpening,
        )
        np.testing.assert_array_equal(oldest[:, row].numpy(), expected.oldest)
        np.testing.assert_array_equal(slots[:, row].numpy(), expected.read_slots)
        np.testing.assert_allclose(values[:, row].numpy(), expected.read_weights, atol=1e-10)
        np.testing.assert_allclose(reads[:, row].numpy(), expected.reads, atol=1e-10)
        used = min(state.words.capacity, memory.memory_size)
        words = state.words.words[row, :used].numpy()
        np.testing.assert_allclose(words, expected.memory[:used], atol=1e-10)
        assert not expected.memory[used:].any()
        incoming = state.links.to_dense()[row, :used, :used].numpy()
        np.testing.assert_allclose(incoming, expected.links.incoming[:used, :used], atol=1e-10)
        assert incoming.any()


@pytest.mark.parametrize(
    ("memory_size", "gamma"), [(64, None), (9, None), (5, None), (64, 2.0), (9, 1.0), (5, 1.5)]
)
def test_gradients_equal_the_naive_form(memory_size, gamma):
    """Heads share rows, slots are erased and written again, early rows hold fewer than K words."""
    settings = {"memory_size": memory_size, "top_k": 3, "num_links": 3}
    memory = SDNCMemory(word_size=6, num_reads=2, read_sharpening=gamma, **settings)
    controls = draw_controls(20, 3, 2, 6, seed=memory_size)
    ours, naive = leaves_of(controls), leaves_of(controls)
    reads, slots, _, oldest, state = rollout(memory, ours)
    assert (slots[0] == -1).any()
    weight = torch.randn(reads.shape, generator=torch.Generator().manual_seed(1)).double()
    before = state.words.words.clone()
    (reads * weight).sum().backward()
    expected, last = sdnc_naive.rollout(
        *naive, oldest=oldest, read_slots=slots, gamma=gamma, **settings
    )
    (expected * weight).sum().backward()
    torch.testing.assert_close(reads, expected, rtol=0, atol=1e-12)
    for name in SDNCControls._fields:
        found, wanted = getattr(ours, name).grad, getattr(naive, name).grad
        assert wanted.abs().max() > 0
        error = (found - wanted).norm() / wanted.norm()
        assert error < 1e-8, f"{name}: relative error {error}"
    # After the backward pass the memory is still M_T.
    torch.testing.assert_close(state.words.words, before, rtol=0, atol=0)
    used = min(before.shape[1], memory_size)
    torch.testing.assert_close(before[:, :used], last[:, :used].detach(), rtol=0, atol=1e-12)


class Replayed:
    """Links that lead where they led before: b and f stay, whatever is written."""

    def __init__(self, links):
        self.links, self.record, self.step = links, [], 0

    def update(self, slots, weights, *, slot_bound):
        if self.links is not None:
            self.links.update(slots, weights, slot_bound=slot_bound)

    def follow(self, slots, values):
        if self.links is not None:
            self.record.append(self.links.follow(slots, values))
        self.step += 1
        return self.record[self.step - 1]

    def replay(self):
        self.links, self.step = None, 0
        return self


@pytest.mark.parametrize("gamma", [None, 2.0])
def test_unrolled_memory_against_finite_differences(gamma):
    sizes = {"memory_size": 5, "word_size": 3, "num_reads": 1, "top_k": 2, "num_links": 2}
    memory = SDNCMemory(read_sharpening=gamma, **sizes)
    controls = draw_controls(3, 1, 1, 3, seed=3)
    controls = controls._replace(write_gates=controls.write_gates.clamp(min=0.3))
    state = memory.initial_state(1, dtype=torch.float64)
    links = Replayed(state.links)
    slots = rollout(memory, controls, join(state._replace(links=links)))[1]
    assert any(weights.values.any() for both in links.record for weights in both)

    def reads(*fields):
        fresh = memory.initial_state(1, dtype=torch.float64)
        fresh = join(fresh._replace(links=links.replay()))
        found, chosen, *_ = rollout(memory, SDNCControls(*fields), fresh)
        assert torch.equal(chosen, slots), "a perturbation must not change the choice of slots"
        return found

    check_gradients(reads, controls)


def test_content_mode_alone_reads_as_sam_with_a_shared_write():
    controls = draw_controls(12, 2, 2, 4, seed=8)
    content = torch.tensor([0.0, 1.0, 0.0]).double().expand(controls.modes.shape)
    sizes = {"memory_size": 8, "word_size": 4, "top_k": 3}
    ours = rollout(SDNCMemory(num_reads=2, **sizes), controls._replace(modes=content))[0]
    sam = SAMMemory(num_heads=2, shared_write=True, **sizes)
    state = sam.initial_state(2, dtype=torch.float64)
    for step, found in enumerate(ours):
        fields = {name: getattr(controls, name)[step] for name in SAMControls._fields}
        reads, state = sam.step(SAMControls(**fields), state)
        torch.testing.assert_close(found, reads, rtol=0, atol=1e-12)


def test_reads_go_along_the_links():
    """Write a, b, c; find a by content, then go on twice, then back once."""
    memory = SDNCMemory(memory_size=16, word_size=4, num_reads=1, top_k=2, num_links=4)
    eye = torch.eye(4, dtype=torch.float64)
    backward, content, forward = 0, 1, 2
    modes = torch.eye(3).double()[[content] * 4 + [forward, forward, backward]]
    ones = torch.ones(7, 1, 1).double()
    controls = SDNCControls(
        keys=eye[[0] * 7][:, None, None],
        modes=modes[:, None, None],
        adds=eye[[0, 1, 2, 3, 3, 3, 3]][:, None, None],
        write_gates=torch.tensor([1.0] * 3 + [0.0] * 4).double()[:, None, None],
        interpolation_gates=0 * ones,
        strengths=200 * ones,
    )
    reads = rollout(memory, controls)[0][:, 0, 0]
    torch.testing.assert_close(reads[3:], eye[[0, 1, 2, 1]], rtol=0, atol=1e-10)
