"""The life of SDNC's state: rows that pause, copies, growth, loaded words, bytes; its settings."""

import pytest
import torch

from index import IndexConfig
from sam.errors import ConfigError, StaleStateError
from sam.memory.sdnc import SDNCControls, SDNCMemory
from tests.memory.sdnc_episodes import draw_controls, leaves_of, rollout


def test_rows_that_are_not_active_stay_as_they_are():
    """Each row, with steps left out, goes as it goes alone without them."""
    memory = SDNCMemory(memory_size=5, word_size=4, num_reads=2, top_k=2, num_links=2)
    controls = draw_controls(16, 3, 2, 4, seed=4)
    active = torch.rand(16, 3, generator=torch.Generator().manual_seed(2)) < 0.6
    ours, theirs = leaves_of(controls), leaves_of(controls)
    reads, slots, values, oldest, state = rollout(memory, ours, active=active)
    (reads * active[:, :, None, None]).square().sum().backward()
    for row in range(3):
        steps = active[:, row].nonzero()[:, 0]
        assert 3 < len(steps) < 16
        alone = SDNCControls(*(field[steps, row : row + 1] for field in theirs))
        expected, *weights, handed_out, last = rollout(memory, alone)
        expected.square().sum().backward()
        torch.testing.assert_close(reads[steps, row], expected[:, 0], rtol=0, atol=1e-12)
        assert torch.equal(slots[steps, row], weights[0][:, 0])
        assert torch.equal(oldest[steps, row], handed_out[:, 0])
        torch.testing.assert_close(values[steps, row], weights[1][:, 0], rtol=0, atol=1e-12)
        for name in ("read_weights", "write_weights"):
            found, wanted = getattr(state, name), getattr(last, name)
            assert torch.equal(found.slots[row], wanted.slots[0])
        torch.testing.assert_close(state.links.to_dense()[row], last.links.to_dense()[0])
        torch.testing.assert_close(state.words.words[row], last.words.words[0])
    for found, wanted in zip(ours, theirs, strict=True):
        torch.testing.assert_close(found.grad, wanted.grad, rtol=1e-9, atol=1e-12)


def test_state_is_consumed_cloned_reset_and_resized():
    memory = SDNCMemory(memory_size=6, word_size=4, num_reads=2, top_k=3, num_links=2)
    controls = draw_controls(12, 3, 2, 4, seed=6)
    first = SDNCControls(*(field[:8] for field in controls))
    second = SDNCControls(*(field[8:] for field in controls))
    old = rollout(memory, first)[-1]
    expected = rollout(memory, second, old.clone())[0]
    fresh = rollout(memory, second)[0]
    mask = torch.tensor([True, False, True])
    begun = rollout(memory, second, old.clone().reset(mask))[0]
    torch.testing.assert_close(begun[:, mask], fresh[:, mask], rtol=0, atol=1e-12)
    torch.testing.assert_close(begun[:, ~mask], expected[:, ~mask], rtol=0, atol=1e-12)
    larger = rollout(memory, second, old.clone().resize(20))
    assert larger[3].max() > 5 and larger[-1].links.capacity > 6
    reads = rollout(memory, second, old)[0]
    torch.testing.assert_close(reads, expected, rtol=0, atol=0)
    with pytest.raises(StaleStateError):
        rollout(memory, second, old)


def test_loaded_words_are_read_at_once_and_have_no_links():
    memory = SDNCMemory(memory_size=50, word_size=4, num_reads=2, top_k=3, num_links=2)
    words = torch.randn(40, 4, dtype=torch.float64)
    state = memory.initial_state(2, dtype=torch.float64, words=words)
    assert not state.links.to_dense().any()
    controls = draw_controls(5, 2, 2, 4, seed=1)
    keys = words[7].expand(controls.keys.shape)
    _, slots, _, oldest, state = rollout(memory, controls._replace(keys=keys), state)
    assert (slots[0, :, :, 0] == 7).all() and (oldest[0] == 40).all()
    assert state.links.to_dense().any()


def test_bytes_kept_and_held_do_not_depend_on_the_memory_size():
    results = []
    for memory_size in (2**8, 2**30):
        memory = SDNCMemory(memory_size=memory_size, word_size=8, num_reads=2, top_k=3)
        saved, controls = [], leaves_of(draw_controls(12, 2, 2, 8, seed=1))

        def keep(tensor, saved=saved):
            saved.append(tensor.nbytes)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            *_, state = rollout(memory, controls)
        results.append((sum(saved), state.nbytes))
    assert results[0] == results[1]
    saved, held = results[0]
    # 2 (R K + 1) W words and the rest, in float64.
    assert 0 < saved / 12 < 8 * 2 * 2 * 2 * (2 * 3 + 1) * 8 * 2 and 0 < held < 60_000


@pytest.mark.parametrize("strength", ["none", "softplus"])
def test_strength_is_an_option(strength):
    memory = SDNCMemory(memory_size=9, word_size=5, num_reads=2, top_k=3, strength=strength)
    names = {field.name: field.activation for field in memory.fields}
    assert ("strengths" in names) == (strength != "none")
    assert names["modes"] == "softmax" and set(names) <= set(SDNCControls._fields)
    controls = draw_controls(6, 2, 2, 5, seed=3)
    ones = rollout(memory, controls._replace(strengths=torch.ones(6, 2, 2).double()))[0]
    state = memory.initial_state(2, dtype=torch.float64)
    for step, expected in enumerate(ones):
        now = SDNCControls(*(field[step] for field in controls))._replace(strengths=None)
        reads, state = memory.step(now, state)
        torch.testing.assert_close(reads, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"top_k": 9}, "top_k: expected at most memory_size=8, got 9"),
        ({"num_links": 0}, "num_links: expected an integer of at least 1, got 0"),
        ({"num_reads": 0}, "num_reads: expected an integer of at least 1, got 0"),
        ({"strength": "exp"}, "strength: expected one of"),
        ({"access_threshold": 1.0}, "access_threshold"),
        ({"index": IndexConfig(metric="l2")}, "index: expected metric 'cosine', got 'l2'"),
    ],
)
def test_wrong_settings_are_refused(settings, text):
    with pytest.raises(ConfigError, match=text):
        SDNCMemory(**({"memory_size": 8} | settings))
