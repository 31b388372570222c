"""Unrolling a cell over time: the model users call, with the manners of nn.LSTM."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from sam.cell import CellState, MemoryCell
from sam.errors import ConfigError, NonFiniteError, ShapeError
from sam.shapes import check_shape
from sam.trace import Tracer


def check_inputs(
    inputs: Tensor, input_size: int, starts: Tensor | None, like: Tensor, batch_first: bool
) -> tuple[Tensor, Tensor | None]:
    """Checks what a sequence model was given and returns it time first.

    Args:
        inputs: [T, B, I], or [B, T, I] with `batch_first`.
        input_size: I.
        starts: bool [T, B], or [B, T] with `batch_first`, or None.
        like: a parameter of the model, for device and dtype.
        batch_first: which layout the caller uses.

    Raises:
        ShapeError: type, shape, dtype or device is not what the model takes.
        NonFiniteError: an input is NaN or infinite.
    """
    order = "B T" if batch_first else "T B"
    if isinstance(inputs, PackedSequence) or not isinstance(inputs, Tensor):
        raise ShapeError(f"inputs: expected a tensor [{order} I], got {type(inputs).__name__}")
    check_shape("inputs", inputs, f"{order} I", {"I": input_size})
    if inputs.dtype != like.dtype or inputs.device != like.device:
        raise ShapeError(
            f"inputs: expected {like.dtype} on {like.device} as the model's parameters, "
            f"got {inputs.dtype} on {inputs.device}"
        )
    if not bool(inputs.isfinite().all()):
        raise NonFiniteError("inputs: expected finite values, got NaN or infinity")
    if starts is not None:
        sizes = {"T": inputs.shape[1 if batch_first else 0]}
        sizes["B"] = inputs.shape[0 if batch_first else 1]
        check_shape("starts", starts, order, sizes)
        if starts.dtype != torch.bool:
            raise ShapeError(f"starts: expected bool, got {starts.dtype}")
    if batch_first:
        return inputs.transpose(0, 1), None if starts is None else starts.transpose(0, 1)
    return inputs, starts


def make_embedding(input_size: int, embedding_size: int | None) -> nn.Linear | None:
    """A linear map for one-hot inputs, or None without a size.

    Its weights are drawn from N(0, 1), as those of nn.Embedding, so that different one-hot inputs
    look as different to the controller as dense ones of unit variance do. Without it a one-hot
    input of many channels hardly moves a controller that has just been initialised.
    """
    if embedding_size is None:
        return None
    embedding = nn.Linear(input_size, embedding_size, bias=False)
    nn.init.normal_(embedding.weight)
    return embedding


class MemoryNetwork(nn.Module):
    """A recurrent network with an external memory: any controller with any memory.

        outputs, state = model(inputs, state=None, *, starts=None, trace=False)

    Feeding a sequence in chunks and passing the state on gives what one call gives. A state is
    consumed by the call it is passed to; see `sam.state`. For truncated backpropagation through
    time pass `state.detach()`.

    Args:
        cell: the recurrent part.
        output_size: width of the outputs; y_t = linear([h_t ; r_t]).
        embedding: applied to the inputs first, to all steps at once; see `make_embedding`.
        dropout: fraction of the (embedded) inputs, and of [h_t ; r_t] before the output layer, that
            is dropped in training; what is fed back to the controller is left alone.
        batch_first: inputs and outputs are [B, T, ...] instead of [T, B, ...].

    Cost: T times the cell's step. The output layer is applied to all steps at once.
    """

    def __init__(
        self,
        cell: MemoryCell,
        output_size: int,
        *,
        embedding: nn.Linear | None = None,
        dropout: float = 0.0,
        batch_first: bool = False,
    ) -> None:
        if not 0 <= dropout < 1:
            raise ConfigError(f"dropout: expected a value in [0, 1), got {dropout}")
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.embedding = embedding
        self.cell = cell
        self.output = nn.Linear(cell.controller.output_size + cell.read_size, output_size)
        self.batch_first = batch_first

    @property
    def input_size(self) -> int:
        return self.cell.input_size if self.embedding is None else self.embedding.in_features

    @property
    def output_size(self) -> int:
        return self.output.out_features

    def initial_state(self, batch_size: int, *, words: Tensor | None = None) -> CellState:
        """The state at the start of an episode, on the parameters' device, in their dtype.

        Args:
            batch_size: B.
            words: what the memory holds from the start, word i in slot i: [n, W], the same for
                every batch row, or [B, n, W], with n at most the memory size; floats of any dtype,
                on any device. They are copied and detached: no gradient flows to them. A batch row
                that `starts` or `reset` begins anew is empty, its loaded words are gone.

        Raises:
            ShapeError: `words` has another shape or dtype, or more words than the memory.
            NonFiniteError: a word is NaN or infinite.
            ConfigError: the memory cannot be given words.

        Cost: O(B n W) once; no later step, and no backward pass, costs more for it.
        """
        return self.cell.initial_state(batch_size, words=words)

    def forward(
        self,
        inputs: Tensor,
        state: CellState | None = None,
        *,
        starts: Tensor | None = None,
        trace: bool = False,
    ) -> tuple[Tensor, CellState]:
        """Runs the cell over a sequence.

        Args:
            inputs: [T, B, I], or [B, T, I] with `batch_first`.
            state: where to go on from; a fresh one by default. It is consumed.
            starts: bool [T, B], or [B, T] with `batch_first`: a batch row begins a new episode
                with this step, so its state is reset first.
            trace: whether the returned state's `trace` holds what was read and written where.

        Returns:
            Outputs [T, B, O], or [B, T, O], and the state after the last step.

        Raises:
            ShapeError: `inputs`, `starts` or `state` have another shape, dtype or device.
            NonFiniteError: an input is NaN or infinite.
            StaleStateError: the state was consumed by an earlier call.
        """
        inputs, starts = check_inputs(
            inputs, self.input_size, starts, self.output.weight, self.batch_first
        )
        if self.embedding is not None:
            inputs = self.embedding(inputs)
        inputs = self.dropout(inputs)
        steps, batch_size = inputs.shape[:2]
        begins = [False] * steps if starts is None else starts.any(1).tolist()
        now = self._start(state, batch_size)
        tracer = Tracer()
        hidden: list[Tensor] = []
        reads: list[Tensor] = []
        for step, given in enumerate(inputs.unbind(0)):
            if starts is not None and begins[step]:
                now = now.reset(starts[step])
            output, now = self.cell(given, now)
            hidden.append(output)
            reads.append(now.reads)
            if trace:
                tracer.record(now.memory)
        if hidden:
            features = torch.cat([torch.stack(hidden), torch.stack(reads)], -1)
            outputs = self.output(self.dropout(features))
        else:
            outputs = inputs.new_zeros(0, batch_size, self.output_size)
        outputs = outputs.transpose(0, 1) if self.batch_first else outputs
        return outputs, now._replace(trace=tracer.trace())

    def _start(self, state: Any, batch_size: int) -> CellState:
        """The state to begin with: a fresh one, or the one given once it is checked."""
        if state is None:
            return self.initial_state(batch_size)
        if not isinstance(state, CellState):
            raise ShapeError(f"state: expected this model's CellState, got {type(state).__name__}")
        like, sizes = self.output.weight, {"B": batch_size, "RW": self.cell.read_size}
        check_shape("state.reads", state.reads, "B RW", sizes)
        if state.reads.dtype != like.dtype or state.reads.device != like.device:
            raise ShapeError(
                f"state: expected {like.dtype} on {like.device} as the model's parameters, "
                f"got {state.reads.dtype} on {state.reads.device}"
            )
        return state
