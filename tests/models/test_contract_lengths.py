"""Packed sequences of different lengths, beyond the contract: order, late starts, errors."""

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence

from sam import ConfigError, MemoryCell, MemoryNetwork, ShapeError
from sam.memory.sam import SAMMemory
from tests.models.cases import IN, OUT, B, T, build, draw, models

LENGTHS = [6, T, 2, 6]


def packed(inputs, lengths=LENGTHS):
    return pack_padded_sequence(inputs, torch.tensor(lengths), enforce_sorted=False)


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
