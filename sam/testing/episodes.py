"""Episodes: chunks, starts, resets, and sequences of different lengths."""

import itertools
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from sam import state as states
from sam.errors import ShapeError
from sam.testing.subject import Subject, grad_of, packed, raises, require


class Episodes(Subject):
    """How a sequence is divided into calls, episodes and rows."""

    def test_chunks_give_what_one_call_gives(self) -> None:
        model = self.model()
        whole, _ = model(self.inputs())
        state, parts = None, []
        for chunk in self.inputs().split([1, 4, self.steps - 5]):
            outputs, state = model(chunk, state)
            parts.append(outputs)
        self.close(torch.cat(parts), whole, "a sequence in chunks must give what one call gives")

    def test_starts_give_what_separate_episodes_give(self) -> None:
        model, inputs = self.model(), self.inputs()
        together, _ = model(inputs, starts=self.starts((3, 0), (5, 1), (7, 1), (0, 2)))
        for row, cuts in {0: [0, 3], 1: [0, 5, 7], 2: [0], 3: [0]}.items():
            for begin, end in itertools.pairwise([*cuts, self.steps]):
                alone, _ = model(inputs[begin:end, row : row + 1])
                what = "an episode inside a row must be as one in a row of its own"
                self.close(together[begin:end, row : row + 1], alone, what)

    def test_no_gradient_crosses_a_start(self) -> None:
        inputs = self.inputs().requires_grad_()
        outputs, _ = self.model()(inputs, starts=self.starts((4, 0)))
        outputs[6:].sum().backward()
        grad = grad_of(inputs)
        require(not grad[:4, 0].any(), "no gradient may flow to the episode before a start")
        require(bool(grad[:4, 1].any()), "a gradient must flow through time")
        require(bool(grad[4:7, 0].any()), "a gradient must flow back to a start")

    def test_a_reset_is_a_fresh_start(self) -> None:
        model, inputs = self.model(), self.inputs()
        mask = torch.arange(self.batch_size) != 1
        _, state = model(inputs)
        initial = model.initial_state(self.batch_size)
        reset = state.reset(mask, initial) if _begins_elsewhere(initial) else state.reset(mask)
        found, expected = model(inputs, reset)[0], model(inputs)[0]
        what = "state.reset(mask) must put the rows of the mask back to the initial state"
        self.close(found[:, mask], expected[:, mask], what)
        require(not torch.allclose(found[:, 1], expected[:, 1]), "other rows must stay")

    def test_a_reset_takes_a_mask_of_batch_rows_alone(self) -> None:
        model, inputs = self.model(), self.inputs()
        expected = model(inputs)[0][5:]
        _, state = model(inputs[:5])
        row = torch.ones(self.batch_size, dtype=torch.bool)
        for mask in (row[:1], row[:, None], row.long(), row.long().tolist(), None):
            with raises(ShapeError, "a mask that is not bool [B]"):
                state.reset(mask)
        self.close(model(inputs[5:], state)[0], expected, "a refused reset must change nothing")

    def test_rows_of_a_packed_sequence_are_as_alone(self) -> None:
        model, inputs = self.model(), self.inputs()
        lengths = [6, self.steps, 2, 6]
        outputs, state = model(packed(inputs, lengths))
        require(isinstance(outputs, PackedSequence), "packed inputs must give packed outputs")
        padded, _ = pad_packed_sequence(outputs)
        more, _ = model(inputs[:4], state)
        for row, length in enumerate(lengths):
            alone, after = model(inputs[:length, row : row + 1])
            what = "a row of a packed sequence must be as alone"
            self.close(padded[:length, row : row + 1], alone, what)
            alone, _ = model(inputs[:4, row : row + 1], after)
            what = "a row's state must be that after its own last step"
            self.close(more[:, row : row + 1], alone, what)

    def test_the_gradient_of_a_packed_sequence_is_that_of_its_rows(self) -> None:
        model, inputs = self.model(), self.inputs().requires_grad_()
        lengths = [6, self.steps, 2, 6]
        outputs, _ = model(packed(inputs, lengths))
        outputs.data.square().sum().backward()
        found, inputs.grad = grad_of(inputs), None
        for row, length in enumerate(lengths):
            model(inputs[:length, row : row + 1])[0].square().sum().backward()
        self.close(found, grad_of(inputs), "the gradient of a row must be that of the row alone")

    def test_packed_sequences_go_on_from_a_state_and_begin_anew(self) -> None:
        model, inputs, lengths = self.model(), self.inputs(), [6, self.steps, 2, 6]
        starts = self.starts((0, 1), (3, 0), (4, 3), (6, 2))  # the last one after the row's end
        outputs, _ = model(packed(inputs, lengths), model(inputs)[1], starts=starts)
        padded, _ = pad_packed_sequence(outputs)
        whole, _ = model(inputs, model(inputs)[1], starts=starts)
        for row, length in enumerate(lengths):
            what = "starts in a packed sequence must be as in a padded one"
            self.close(padded[:length, row], whole[:length, row], what)


def _begins_elsewhere(state: Any) -> bool:
    """Whether an initial state has other numbers than zeros, and parts of it that do not know."""
    if isinstance(state, tuple) and not states.resets_itself(state):
        return any(map(_begins_elsewhere, state))
    return isinstance(state, Tensor) and bool(state.any())
