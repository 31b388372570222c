"""What DNC's options do, its settings, its interface, its state and its constructor."""

import math

import pytest
import torch

from sam.errors import ConfigError
from sam.memory.dnc import DNCControls, DNCMemory
from sam.models.dnc_model import DNC
from tests.memory.test_dnc_reference import at, draw_controls, make_memory, rollout, used_state


def shut(controls, **values):
    """The controls with some fields set to one value everywhere."""
    filled = {n: torch.full_like(getattr(controls, n), value) for n, value in values.items()}
    return controls._replace(**filled)


def modes(controls, place):
    """The controls with one read mode chosen for good."""
    chosen = torch.zeros_like(controls.read_modes)
    chosen[..., place] = 1
    return controls._replace(read_modes=chosen)


@pytest.mark.parametrize(
    ("options", "more"),
    [
        ({}, lambda w, r: 0),
        ({"deallocate": True}, lambda w, r: 0),
        ({"masked": True}, lambda w, r: w * (1 + r)),
        ({"sharpen_links": True}, lambda w, r: 2 * r),
        ({"num_writes": 2}, lambda w, r: 3 * w + 3 + 2 * r),
    ],
)
def test_interface_length(options, more):
    """W R + 3 W + 5 R + 3 in the paper (Methods); the rest is what the options add."""
    memory = DNCMemory(**options)
    w, r = memory.word_size, memory.num_reads
    assert (w, r, memory.memory_size) == (64, 4, 256)
    length = sum(math.prod(field.shape) for field in memory.fields)
    assert length == w * r + 3 * w + 5 * r + 3 + more(w, r)
    given = [n for n in DNCControls._fields if n in {field.name for field in memory.fields}]
    assert [field.name for field in memory.fields] == given, "fields in the order of the controls"


def test_reading_follows_the_order_of_writing():
    """Three words written by allocation; then forward reads find the next, backward the last."""
    memory = make_memory(memory_size=5, num_reads=1)
    controls = draw_controls(memory, 3, 1, seed=1)
    controls = shut(controls, write_gates=1, allocation_gates=1, free_gates=0, erases=1)
    *_, state = rollout(memory, controls, memory.initial_state(1, dtype=torch.float64))[1]
    words = controls.adds[:, 0, 0]
    torch.testing.assert_close(state.words[0, :3], words, rtol=0, atol=1e-12)
    resting = shut(draw_controls(memory, 1, 1, seed=2), write_gates=0, free_gates=0)
    for first, mode, found in ((0, 2, 1), (1, 2, 2), (2, 0, 1), (1, 0, 0)):
        read = torch.eye(5, dtype=torch.float64)[first].expand(1, 1, -1)
        start = state._replace(read_weights=read)
        reads, after = memory.step(at(modes(resting, mode), 0), start)
        torch.testing.assert_close(reads[0, 0], words[found], rtol=0, atol=1e-12)
        assert after.read_weights[0, 0].argmax() == found


def test_freed_word_is_handed_out_again_and_wiped_on_request():
    for deallocate in (False, True):
        memory = make_memory(memory_size=4, num_reads=2, deallocate=deallocate)
        state = used_state(memory, 1)
        state = state._replace(
            usage=torch.full_like(state.usage, 1.0),
            read_weights=torch.eye(4, dtype=torch.float64)[[2, 0]][None],
        )
        controls = draw_controls(memory, 1, 1, seed=3)
        controls = shut(controls, write_gates=0, free_gates=0)
        controls.free_gates[0, 0, 0] = 1  # frees word 2, read by the first head
        _, after = memory.step(at(controls, 0), state)
        torch.testing.assert_close(after.usage, torch.tensor([[1.0, 1, 0, 1]]).double())
        expected = state.words.clone()
        if deallocate:
            expected[:, 2] = 0
        torch.testing.assert_close(after.words, expected, rtol=0, atol=1e-12)
        writing = shut(draw_controls(memory, 1, 1, seed=4), write_gates=1, allocation_gates=1)
        writing = shut(writing, free_gates=0)
        _, after = memory.step(at(writing, 0), after)
        torch.testing.assert_close(
            after.write_weights[0, 0], torch.eye(4)[2].double(), rtol=0, atol=0
        )


def test_memory_in_use_everywhere_is_not_written_by_allocation():
    memory = make_memory()
    state = used_state(memory, 2)
    state = state._replace(usage=torch.ones_like(state.usage))
    controls = shut(
        draw_controls(memory, 1, 2, seed=5), write_gates=1, allocation_gates=1, free_gates=0
    )
    _, after = memory.step(at(controls, 0), state)
    assert not after.write_weights.any()
    torch.testing.assert_close(after.words, state.words, rtol=0, atol=0)


def test_write_heads_allocate_different_words():
    memory = make_memory(memory_size=6, num_writes=3)
    controls = shut(draw_controls(memory, 1, 1, seed=6), write_gates=1, allocation_gates=1)
    _, after = memory.step(at(controls, 0), memory.initial_state(1, dtype=torch.float64))
    expected = torch.eye(6, dtype=torch.float64)[None, :3]
    torch.testing.assert_close(after.write_weights, expected, rtol=0, atol=0)


def test_masks_of_ones_change_nothing_and_a_floor_lifts_masks_of_zeros():
    plain, masked = make_memory(), make_memory(masked=True)
    controls = draw_controls(masked, 4, 2, seed=7)
    state = used_state(plain, 2)
    expected, _ = rollout(plain, controls._replace(read_masks=None, write_masks=None), state)
    found, _ = rollout(masked, shut(controls, read_masks=1, write_masks=1), state)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    blind = shut(controls, read_masks=0, write_masks=0)
    found, _ = rollout(masked, blind, state)
    assert (found - expected).abs().max() > 1e-3
    lifted, _ = rollout(make_memory(masked=True, mask_floor=0.25), blind, state)
    quarter, _ = rollout(masked, shut(controls, read_masks=0.25, write_masks=0.25), state)
    torch.testing.assert_close(lifted, quarter, rtol=0, atol=1e-12)


def test_sharpened_links_are_uniform_before_there_are_any():
    memory = make_memory(sharpen_links=True)
    controls = shut(draw_controls(memory, 1, 2, seed=8), write_gates=0)
    for place in (0, 2):
        start = memory.initial_state(2, dtype=torch.float64)
        _, after = memory.step(at(modes(controls, place), 0), start)
        expected = torch.full_like(after.read_weights, 1 / memory.memory_size)
        torch.testing.assert_close(after.read_weights, expected)


def test_each_direction_has_its_own_sharpness():
    memory = make_memory(sharpen_links=True)
    state = used_state(memory, 2)
    controls = shut(draw_controls(memory, 1, 2, seed=9), forward_sharpness=1, backward_sharpness=1)
    for place, name in ((0, "backward_sharpness"), (2, "forward_sharpness")):
        mild = modes(controls, place)
        sharp = shut(mild, **{name: 30})
        other = {"backward_sharpness", "forward_sharpness"} - {name}
        same = shut(mild, **dict.fromkeys(other, 30))
        peaks = [
            memory.step(at(each, 0), state)[1].read_weights.amax(-1) for each in (mild, sharp, same)
        ]
        assert (peaks[1] > peaks[0] + 1e-3).all()
        torch.testing.assert_close(peaks[2], peaks[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("options", [{}, {"num_writes": 2}])
def test_resized_state_goes_on(options):
    """New words are empty, and the first to be handed out."""
    memory = make_memory(**options)
    controls = draw_controls(memory, 3, 2, seed=10)
    state = rollout(memory, controls, used_state(memory, 2))[1][-1]
    grown = state.resize(11)
    for name, field in grown._asdict().items():
        old = getattr(state, name)
        kept = field[tuple(slice(size) for size in old.shape)]
        torch.testing.assert_close(kept, old, rtol=0, atol=0)
        assert field.count_nonzero() == old.count_nonzero() and 11 in field.shape
    later = draw_controls(memory, 4, 2, seed=11)
    later = shut(later, write_gates=1, allocation_gates=1, free_gates=0)
    reads, history = rollout(memory, later, grown)
    assert reads.isfinite().all()
    torch.testing.assert_close(
        history[0].write_weights[:, :, 7:].sum(2), torch.ones(2, memory.num_writes).double()
    )
    assert (history[-1].words[:, 7:].abs().amax(2) > 0.1).all(), (
        "four steps fill the four new words"
    )
    with pytest.raises(ConfigError, match="memory_size: expected at least the 11 words"):
        grown.resize(10)


def test_reset_rows_are_fresh():
    memory = make_memory()
    state = used_state(memory, 3).reset(torch.tensor([True, False, True]))
    for field, old in zip(state, used_state(memory, 3), strict=True):
        assert not field[0].any() and not field[2].any()
        assert torch.equal(field[1], old[1])


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"memory_size": 0}, "memory_size: expected an integer of at least 1, got 0"),
        ({"num_writes": 1.5}, "num_writes"),
        ({"strength": "tanh"}, "strength: expected one of"),
        ({"masked": True, "mask_floor": 1.0}, r"mask_floor: expected a value in \[0, 1\)"),
        ({"mask_floor": 0.1}, "mask_floor: expected 0 without masked=True, got 0.1"),
    ],
)
def test_settings_are_checked(settings, text):
    with pytest.raises(ConfigError, match=text):
        DNCMemory(**settings)


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "controller": "gru"}])
def test_constructor_builds_a_model_that_trains(options):
    model = DNC(
        3, 2, hidden_size=9, memory_size=6, word_size=4, num_reads=2, num_writes=2, masked=True,
        mask_floor=0.1, deallocate=True, sharpen_links=True, **options,
    )  # fmt: skip
    outputs, state = model(torch.randn(5, 3, 3), trace=True)
    assert outputs.shape == (5, 3, 2)
    assert state.trace.read_weights.shape == (5, 3, 2, 6)
    assert state.trace.write_weights.shape == (5, 3, 2, 6)
    outputs.square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_defaults_are_the_papers():
    """Extended Data Table 2, setting 1."""
    model = DNC(10, 10)
    memory = model.cell.memory
    assert memory == DNCMemory(memory_size=256, word_size=64, num_reads=4, num_writes=1)
    assert model.cell.controller.output_size == 256
    assert model.cell.interface.linear.out_features == 64 * 4 + 3 * 64 + 5 * 4 + 3
