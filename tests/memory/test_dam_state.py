"""DAM's state: left alone by a step, reset, resized; its settings and constructor."""

import pytest
import torch

from sam.errors import ConfigError
from sam.memory.dam import DAMMemory
from sam.models.dam_model import DAM
from tests.reference.dam_rollout import at, draw_controls, rollout


def test_a_step_leaves_its_state_as_it_was():
    memory = DAMMemory(memory_size=6, word_size=4, num_heads=2)
    controls = draw_controls(6, 2, 2, 2, 4, seed=5)
    *_, states = rollout(memory, controls)
    kept = states[-1].clone()
    first, _ = memory.step(at(controls, 0), states[-1])
    second, _ = memory.step(at(controls, 0), states[-1])
    assert torch.equal(first, second)
    assert all(torch.equal(a, b) for a, b in zip(states[-1][:4], kept[:4], strict=True))


def test_reset_rows_are_as_fresh_ones_and_the_others_go_on():
    memory = DAMMemory(memory_size=6, word_size=4, num_heads=2, initial_word=0.3)
    controls = draw_controls(9, 3, 2, 2, 4, seed=6)
    *_, states = rollout(memory, controls)
    mask = torch.tensor([True, False, True])
    state = states[-1].reset(mask)
    fresh = memory.initial_state(3, dtype=torch.float64)
    for found, new, old in zip(state[:4], fresh[:4], states[-1][:4], strict=True):
        assert torch.equal(found[mask], new[mask]) and torch.equal(found[~mask], old[~mask])
    assert state.words[0].eq(0.3).all() and state.initial_word == 0.3


def test_a_resized_state_keeps_its_words_and_writes_the_new_ones_next():
    memory = DAMMemory(memory_size=5, word_size=4, num_heads=2, initial_word=0.2)
    controls = draw_controls(6, 2, 2, 2, 4, seed=7)
    *_, states = rollout(memory, controls)
    state = states[-1].resize(9)
    assert state.words.shape == (2, 9, 4) and state.words[:, 5:].eq(0.2).all()
    assert torch.equal(state.words[:, :5], states[-1].words)
    for name in ("read_weights", "write_weights", "usage"):
        found, old = getattr(state, name), getattr(states[-1], name)
        assert torch.equal(found[..., :5], old) and not found[..., 5:].any()
    reads, chosen, after = rollout(memory, controls, state)
    assert chosen[0].tolist() == [[5, 6], [5, 6]]
    assert reads.isfinite().all() and after[-1].words.shape == (2, 9, 4)
    with pytest.raises(ConfigError, match="memory_size: expected at least the 9 words"):
        state.resize(8)


def test_constructor_passes_its_settings_on():
    model = DAM(
        3, 2, memory_size=9, word_size=5, num_heads=2, decay=0.9, shared_write=True, strength="none"
    )
    memory = DAMMemory(
        memory_size=9, word_size=5, num_heads=2, decay=0.9, shared_write=True, strength="none"
    )
    assert model.cell.memory == memory
    assert DAM(3, 2).cell.memory == DAMMemory()
    outputs, state = model(torch.randn(4, 2, 3), trace=True)
    assert outputs.shape == (4, 2, 2)
    assert state.trace.read_slots is None and state.trace.read_weights.shape == (4, 2, 2, 9)
    assert state.trace.write_weights.shape == (4, 2, 1, 9)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"memory_size": 0}, "memory_size: expected an integer of at least 1, got 0"),
        ({"memory_size": 3}, "num_heads: expected at most memory_size=3, got 4"),
        ({"decay": 1.0}, r"decay: expected a value in \[0, 1\), got 1.0"),
        ({"strength": "exp"}, "strength: expected one of"),
        ({"initial_word": float("nan")}, "initial_word: expected a finite number, got nan"),
    ],
)
def test_wrong_settings_are_refused(settings, text):
    with pytest.raises(ConfigError, match=text):
        DAMMemory(**settings)
    assert DAMMemory(memory_size=3, shared_write=True).num_writes == 1
