"""Packed sequences of different lengths: as each one alone, outputs, state and gradient."""

import pytest
import torch
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pack_sequence

from sam import ConfigError, MemoryCell, MemoryNetwork, ShapeError
from sam.memory.sam import SAMMemory
from tests.models.cases import IN, OUT, B, T, build, draw, models

LENGTHS = [6, T, 2, 6]


def packed(inputs, lengths=LENGTHS):
    return pack_padded_sequence(inputs, torch.tensor(lengths), enforce_sorted=False)


@models
def test_rows_of_a_packed_sequence_are_as_alone(name, options):
    model, inputs = build(name, options), draw(T, B, IN)
    outputs, state = model(packed(inputs))
    assert isinstance(outputs, PackedSequence)
    padded, lengths = torch.nn.utils.rnn.pad_packed_sequence(outputs)
    assert padded.shape == (T, B, OUT) and lengths.tolist() == LENGTHS
    more, _ = model(inputs[:4], state)
    for row, length in enumerate(LENGTHS):
        alone, after = model(inputs[:length, row : row + 1])
        found = padded[:length, row : row + 1]
        torch.testing.assert_close(found, alone, rtol=0, atol=1e-12)
        # The state is that after the row's own last step, not after the longest row's.
        alone, _ = model(inputs[:4, row : row + 1], after)
        torch.testing.assert_close(more[:, row : row + 1], alone, rtol=0, atol=1e-12)


@models
def test_gradient_of_a_packed_sequence_is_that_of_its_rows(name, options):
    model, inputs = build(name, options), draw(T, B, IN).requires_grad_()
    outputs, _ = model(packed(inputs))
    outputs.data.square().sum().backward()
    found = inputs.grad.clone()
    inputs.grad = None
    for row, length in enumerate(LENGTHS):
        model(inputs[:length, row : row + 1])[0].square().sum().backward()
        assert not found[length:, row].any() and found[:length, row].any()
    torch.testing.assert_close(found, inputs.grad, rtol=1e-9, atol=1e-12)


@models
def test_packed_sequences_go_on_from_a_state_and_begin_anew(name, options):
    model, inputs = build(name, options), draw(T, B, IN)
    starts = torch.zeros(T, B, dtype=torch.bool)
    starts[0, 1] = starts[3, 0] = starts[4, 3] = True
    _, state = model(inputs)
    outputs, _ = model(packed(inputs), state, starts=starts)
    padded, _ = torch.nn.utils.rnn.pad_packed_sequence(outputs)
    _, state = model(inputs)
    whole, _ = model(inputs, state, starts=starts)
    for row, length in enumerate(LENGTHS):
        torch.testing.assert_close(padded[:length, row], whole[:length, row], rtol=0, atol=1e-12)


@models
def test_a_start_after_the_end_of_a_row_changes_nothing(name, options):
    model, inputs = build(name, options), draw(T, B, IN)
    starts = torch.zeros(T, B, dtype=torch.bool)
    starts[LENGTHS[2] :, 2] = starts[LENGTHS[0], 0] = True
    expected, state = model(packed(inputs))
    found, other = model(packed(inputs), starts=starts)
    assert torch.equal(found.data, expected.data)
    assert torch.equal(model(inputs, other)[0], model(inputs, state)[0])


@models
def test_packed_sequences_in_every_order(name, options):
    inputs = draw(T, B, IN)
    model = build(name, options, batch_first=True)
    expected, _ = model(packed(inputs))
    rows = [inputs[:length, row] for row, length in enumerate(LENGTHS)]
    found, _ = model(pack_sequence(rows, enforce_sorted=False))
    assert torch.equal(found.data, expected.data)
    assert torch.equal(found.unsorted_indices, expected.unsorted_indices)
    # Sorted by the caller: no indices.
    in_order = [rows[1], rows[0], rows[3], rows[2]]
    found, _ = model(pack_sequence(in_order))
    assert found.sorted_indices is None
    torch.testing.assert_close(found.data, expected.data, rtol=0, atol=1e-12)


@models
def test_packed_inputs_of_another_width_are_refused(name, options):
    with pytest.raises(ShapeError, match=r"inputs.data: expected shape \[steps, I=5\]"):
        build(name, options)(packed(draw(T, B, IN + 1)))


class Forgetful(SAMMemory):
    """A memory that changes in place and cannot leave batch rows alone."""

    def step(self, controls, state):
        return SAMMemory.step(self, controls, state)


def test_a_memory_that_cannot_leave_rows_alone_is_named():
    memory = Forgetful(memory_size=16, word_size=4, num_heads=1, top_k=2)
    controller = build("sam").cell.controller.__class__(IN + 4, 8)
    model = MemoryNetwork(MemoryCell(controller.double(), memory), OUT).double()
    model(draw(T, B, IN))
    with pytest.raises(ConfigError, match="WordStore; let the memory's step take the keyword"):
        model(packed(draw(T, B, IN)))
