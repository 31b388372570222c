"""The baseline without a memory."""

import itertools
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from sam import state as states
from sam.controller import LSTMState, set_forget_bias
from sam.errors import ConfigError, ShapeError
from sam.inputs import check_inputs
from sam.models.assembly import Remembering, input_width
from sam.network import make_embedding
from sam.state_checks import TensorPart, TuplePart
from sam.state_files import save_state, state_dict
from sam.transforms import check_ordinary


class LSTMModelState(NamedTuple):
    """State of the `LSTM` baseline."""

    layer: LSTMState
    trace: None = None

    detach = states.detach
    clone = states.clone
    reset = states.reset
    to = states.to
    nbytes = property(states.nbytes)
    __deepcopy__ = states.deepcopied
    state_dict = state_dict
    save = save_state

    def resize(self, memory_size: int) -> "LSTMModelState":
        """Raises ConfigError: there is no memory here."""
        raise ConfigError(f"memory_size: expected a model with a memory, got LSTM, {memory_size}")


class LSTM(Remembering):
    """The baseline: one nn.LSTM layer and a linear output, called like the other models.

    Args:
        input_size: I.
        output_size: O.
        hidden_size: C.
        embedding_size: width of a linear embedding of the inputs, for one-hot ones; default none.
        batch_first: inputs and outputs are [B, T, ...] instead of [T, B, ...].

    Raises:
        ConfigError: a size is not positive.

    Cost: O(C (I + C)) time a step and batch row.
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        *,
        hidden_size: int = 100,
        embedding_size: int | None = None,
        batch_first: bool = False,
    ) -> None:
        width = input_width(input_size, output_size, hidden_size, embedding_size)
        super().__init__()
        self.input_size, self.output_size = input_size, output_size
        self.batch_first = batch_first
        self.embedding = make_embedding(input_size, embedding_size)
        self.layer = nn.LSTM(width, hidden_size)
        parameters = dict(self.layer.named_parameters())
        set_forget_bias(parameters["bias_ih_l0"], parameters["bias_hh_l0"], 1.0)
        self.output = nn.Linear(hidden_size, output_size)

    def initial_state(self, batch_size: int) -> LSTMModelState:
        """Zeros, on the parameters' device, in their dtype."""
        zeros = self.output.weight.new_zeros(batch_size, self.layer.hidden_size)
        return LSTMModelState(LSTMState(zeros, zeros))

    def forward(
        self,
        inputs: Tensor | PackedSequence,
        state: LSTMModelState | None = None,
        *,
        starts: Tensor | None = None,
        trace: bool = False,
    ) -> tuple[Any, LSTMModelState]:
        """As `MemoryNetwork.forward`; there is no memory, so `trace` has nothing to record."""
        like = self.output.weight
        given = check_inputs(inputs, self.input_size, starts, like, self.batch_first)
        steps, batch_size = given.inputs.shape[:2]
        now = self.initial_state(batch_size) if state is None else state
        if not isinstance(now, LSTMModelState):
            raise ShapeError(
                f"state: expected this model's LSTMModelState, got {type(now).__name__}"
            )
        part = TensorPart(("B", self.layer.hidden_size), like.dtype, like.device)
        layer = TuplePart(LSTMState, (".hidden", ".cell"), (part, part))
        layer.check("state.layer", now.layer, {"B": batch_size})
        check_ordinary(now.layer.hidden)
        features = given.inputs if self.embedding is None else self.embedding(given.inputs)
        # The layer runs over whole stretches between the starts and ends of episodes.
        ends = [] if given.lengths is None else given.lengths.tolist()
        begins = [start for start, _ in given.stretches()]
        cuts = sorted({0, steps, *begins, *ends})
        hidden = []
        for begin, end in itertools.pairwise(cuts):
            if given.starts is not None:
                now = now.reset(given.starts[begin])
            layer = (now.layer.hidden[None], now.layer.cell[None])
            outputs, (last, cell) = self.layer(features[begin:end], layer)
            hidden.append(outputs)
            # Autocast computes in another dtype; the state stays in the parameters'.
            after = LSTMModelState(LSTMState(last[0].to(like.dtype), cell[0].to(like.dtype)))
            active = given.active(begin)
            now = after if active is None else states.where(active, after, now)
        if hidden:
            outputs = self.output(torch.cat(hidden))
        else:
            outputs = given.inputs.new_zeros(0, batch_size, self.output_size)
        return given.returned(outputs, self.batch_first), now
