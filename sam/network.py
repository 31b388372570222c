"""Unrolling a cell over time: the model users call, with the manners of nn.LSTM."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from index import Base, VectorStore
from sam import state as states
from sam.cell import CellState, MemoryCell
from sam.customized import is_customized
from sam.embedding import ImageEmbedding
from sam.errors import ConfigError, ShapeError
from sam.inputs import SequenceInputs, Starts, check_inputs
from sam.journal import Journal
from sam.monitor import report_units
from sam.ops.joined_linear import joined_linear
from sam.recurrent_module import RecurrentModule, either_state
from sam.state_checks import check_cell_state
from sam.state_files import load_state
from sam.trace import Tracer
from sam.transforms import check_derivatives, check_ordinary
from sam.uncompiled import uncompiled

try:  # faster forms of the steps, decided in one place
    from sam.fast.dispatch import take_sequence, take_step
except ModuleNotFoundError as missing:
    if missing.name != "sam.fast":
        raise

    def take_sequence(
        cell: MemoryCell,
        inputs: Tensor,
        state: CellState,
        lengths: Tensor | None = None,
        starts: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, CellState] | None:
        return None

    def take_step(
        cell: MemoryCell, inputs: Tensor, state: CellState, active: Tensor | None = None
    ) -> tuple[Tensor, CellState]:
        return cell(inputs, state, active)


class MemoryNetwork(RecurrentModule):
    """A recurrent network with an external memory: any controller with any memory.

        outputs, state = model(inputs, state=None, *, starts=None, trace=False, hx=None)

    Feeding a sequence in chunks and passing the state on gives what one call gives. A state is
    consumed by the call it is passed to; see `sam.state`. For truncated backpropagation through
    time pass `state.detach()`.

    Args:
        cell: the recurrent part.
        output_size: width of the outputs; y_t = linear([h_t ; r_t]).
        embedding: applied to the inputs first, to all steps at once; see
            `sam.embedding.make_embedding`.
        dropout: fraction of the (embedded) inputs, and of [h_t ; r_t] before the output layer, that
            is dropped in training; what is fed back to the controller is left alone.
        batch_first: inputs and outputs are [B, T, ...] instead of [T, B, ...].
        device, dtype: of the output layer; torch's defaults without them.

    Attributes:
        base: a `BaseMemory`, or another `index.Base` or a `VectorStore`, over which every episode
            begins unless told, or None. It may be set.

    Cost: T times the cell's step. The output layer is applied to all steps at once.
    """

    base: Base | VectorStore | None = None

    def __init__(
        self,
        cell: MemoryCell,
        output_size: int,
        *,
        embedding: nn.Linear | ImageEmbedding | None = None,
        dropout: float = 0.0,
        batch_first: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if not 0 <= dropout < 1:
            raise ConfigError(f"dropout: expected a value in [0, 1), got {dropout}")
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.embedding = embedding
        self.cell = cell
        width = cell.controller.output_size + cell.read_size
        self.output = nn.Linear(width, output_size, device=device, dtype=dtype)
        self.batch_first = batch_first

    def check_converted(self, like: Tensor) -> None:
        self.cell.check_converted(like)

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.output_size}, batch_first={self.batch_first}"

    @property
    def input_size(self) -> int:
        return self.cell.input_size if self.embedding is None else self.embedding.in_features

    @property
    def output_size(self) -> int:
        return self.output.out_features

    def initial_state(
        self,
        batch_size: int,
        *,
        words: Tensor | None = None,
        base: Base | VectorStore | None = None,
        base_writes: bool = True,
    ) -> CellState:
        """The state at the start of an episode, on the parameters' device, in their dtype.

        Args:
            batch_size: B.
            words: what the memory holds from the start, word i in slot i: [n, W], the same for
                every batch row, or [B, n, W], with n at most the memory size; floats of any dtype,
                on any device. They are copied and detached: no gradient flows to them. A batch row
                that `starts` or `reset` begins anew is empty, its loaded words are gone.
            base: words that all batch rows share, word i in slot i, instead of `words`: nothing
                of them is copied but what a row reads or writes. A row that begins anew has all
                of the base again. The attribute `base` unless told, or given `words`.
            base_writes: whether words of the base are written over, in the row alone that does so,
                once all other slots were; else those slots are used again.

        Raises:
            ShapeError: `words` has another shape or dtype, or more words than the memory; or the
                base has.
            NonFiniteError: a word is NaN or infinite.
            ConfigError: the memory cannot be given words, or a base, or both were given, or the
                base goes with other settings.

        Cost: O(B n W) once; no later step, and no backward pass, costs more for it. With a base a
        few kilobytes.
        """
        if base is None and words is None:
            base = self.base
        over = {} if base is None else {"base": base, "base_writes": base_writes}
        return self.cell.initial_state(batch_size, words=words, **over)

    def load_state(
        self,
        source: str | Path | Mapping[str, Any],
        *,
        memory_size: int | None = None,
        base: Base | VectorStore | None = None,
    ) -> CellState:
        """A state from a file, or from what `state.state_dict()` returned; see `sam.load_state`."""
        return load_state(source, self, memory_size=memory_size, base=base)

    @uncompiled
    def forward(
        self,
        inputs: Tensor | PackedSequence,
        state: CellState | None = None,
        *,
        starts: Starts | None = None,
        trace: bool = False,
        hx: CellState | None = None,
    ) -> tuple[Any, CellState]:
        """Runs the cell over a sequence.

        Args:
            inputs: [T, B, I], or [B, T, I] with `batch_first`; [T, I] is a batch of one; or
                sequences of different lengths as a `PackedSequence`, of which T is the longest.
                B and T may be 0.
            state: where to go on from; a fresh one by default. It is consumed. One with a journal
                records the steps, see `sam.past_states.record`.
            starts: bool [T, B], or [B, T] with `batch_first`, or [T] as the inputs: a batch row
                begins a new episode with this step, so its state is reset first. A tensor, an
                array or lists.
            trace: whether the returned state's `trace` holds what was read and written where.
            hx: another name for `state`, that of nn.LSTM.

        Returns:
            Outputs [T, B, O], [B, T, O], [T, O], or packed as the inputs were; and the state, each
            batch row's after its own last step, with one row for inputs [T, I].

        Raises:
            ShapeError: `inputs`, `starts` or `state` have another shape, dtype or device.
            NonFiniteError: an input is NaN or infinite.
            StaleStateError: the state was consumed by an earlier call.
            ConfigError: `trace` is asked for, and the memory's state has no weights to record; or
                `state` and `hx` are both given; or the inputs are packed, and the state has a
                journal.
            UnsupportedError: there is no form of such a call, see `sam.transforms`.
        """
        check_derivatives(self.cell.memory)
        given = check_inputs(inputs, self.input_size, starts, self.output.weight, self.batch_first)
        steps, batch_size = given.inputs.shape[:2]
        # A sparse memory is looked at by its steps, but a reset changes it before them.
        whole = given.starts is not None or steps == 0 or batch_size == 0
        begun = either_state(state, hx)
        if begun is None:
            now = self._fresh(batch_size, steps if given.starts is None else 0)
        else:
            now = self._checked(begun, batch_size, whole=whole)
        journal = now.journal
        if journal is not None and given.packed is not None:
            raise ConfigError(
                "inputs: expected a tensor for a state with a journal, got a PackedSequence"
            )
        embedded = given.inputs if self.embedding is None else self.embedding(given.inputs)
        features = self.dropout(embedded) if self._drops else embedded
        tracer = Tracer(now.memory) if trace else None
        hidden, reads, stretches = [], [], given.stretches() if batch_size else []
        if given.starts is not None and stretches and tracer is None and journal is None:
            found = take_sequence(self.cell, features, now, given.lengths, given.starts)
            if found is not None:  # all stretches at once
                stretches, now = [], found[2]
                hidden.append(found[0])
                reads.append(found[1])
        initial = _initial_parts(self.cell, now) if given.starts is not None and stretches else None
        for start, stop in stretches:
            if journal is not None:
                journal.before(now, None if given.starts is None else given.starts[start])
            if given.starts is not None:
                now = now.reset(given.starts[start], initial)
            *found, now = self._run(features[start:stop], now, given, start, tracer, journal)
            hidden.append(found[0])
            reads.append(found[1])
        if hidden:
            units = _joined(hidden)
            outputs = self._outputs(units, _joined(reads))
            report_units(self.cell, units)
        else:  # of no numbers, with a graph all the same
            outputs = self._outputs(*(_nothing(features, part) for part in self._widths))
        now = now._replace(trace=None if tracer is None else tracer.trace())
        return given.returned(outputs, self.batch_first), now

    def _run(
        self,
        features: Tensor,
        state: CellState,
        given: SequenceInputs,
        start: int,
        tracer: Tracer | None,
        journal: Journal | None,
    ) -> tuple[Tensor, Tensor, CellState]:
        """h and r of all steps, [n, B, ...], and the state after them; `start` is the first one."""
        if tracer is None and journal is None:
            lengths = None if given.lengths is None else given.lengths - start
            found = take_sequence(self.cell, features, state, lengths)
            if found is not None:
                return found
        hidden, reads = [], []
        for step, inputs in enumerate(features.unbind(0), start):
            if journal is not None and step > start:
                journal.before(state)
            output, state = take_step(self.cell, inputs, state, given.active(step))
            hidden.append(output)
            reads.append(state.reads)
            if tracer is not None:
                tracer.record(state.memory)
            if journal is not None:
                journal.after(state)
        return torch.stack(hidden), torch.stack(reads), state._replace(journal=journal)

    def _outputs(self, hidden: Tensor, reads: Tensor) -> Tensor:
        """The output layer, for all steps at once; where it can be, without a copy [h ; r]."""
        if self._drops or is_customized(self.output, nn.Linear):
            return self.output(self.dropout(torch.cat([hidden, reads], -1)))
        return joined_linear(hidden, reads, self.output.weight, self.output.bias)

    @property
    def _drops(self) -> bool:
        """Whether the dropout does anything, or somebody listens to it."""
        dropout = self.dropout  # or what somebody has put in its place
        return is_customized(dropout, nn.Dropout) or (dropout.p > 0 and dropout.training)

    @property
    def _widths(self) -> tuple[int, int]:
        """C and R W."""
        return self.cell.controller.output_size, self.cell.read_size

    def _fresh(self, batch_size: int, steps: int) -> CellState:
        """`initial_state` with room for what so many steps write."""
        own = type(self).initial_state is MemoryNetwork.initial_state
        own = own and self.base is None and type(self.cell) is MemoryCell
        # Somebody may have put another one into either.
        if own and not any("initial_state" in vars(part) for part in (self, self.cell)):
            return self.cell.initial_state(batch_size, steps=steps)
        return self.initial_state(batch_size)

    def _checked(self, state: Any, batch_size: int, *, whole: bool) -> CellState:
        """The state given, once it is checked."""
        if not isinstance(state, CellState):
            raise ShapeError(f"state: expected this model's CellState, got {type(state).__name__}")
        kind = getattr(self.cell.memory, "State", object)
        if not isinstance(state.memory, kind):
            raise ShapeError(
                f"state: expected this model's {kind.__name__}, got {type(state.memory).__name__}"
            )
        check_cell_state(self.cell, state, batch_size, whole=whole)
        check_ordinary(state.reads)
        return state


def _nothing(features: Tensor, width: int) -> Tensor:
    """[T, B, width] where T or B is 0."""
    return features.new_zeros(*features.shape[:2], width)


def _joined(parts: list[Tensor]) -> Tensor:
    """Stretches of time one after another."""
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _initial_parts(cell: MemoryCell, state: CellState) -> CellState:
    """What `state.reset` needs of a cell's initial state; None for what resets itself."""
    size = {"device": state.reads.device, "dtype": state.reads.dtype}
    parts: dict[str, Any] = {"controller": None, "memory": None}
    for name in parts:
        part, now = getattr(cell, name), getattr(state, name)
        if not states.resets_itself(now):
            start = part.initial_state(len(state.reads), **size)
            parts[name] = _as_large(start, now)
    return CellState(**parts, reads=torch.zeros_like(state.reads))


def _as_large(start: Any, state: Any) -> Any:
    """An initial state with as many words as `state`, which may have grown."""
    resize = getattr(start, "resize", None)
    if isinstance(start, tuple) and resize is not None:
        for fresh, used in zip(start, state, strict=True):
            if isinstance(fresh, Tensor) and fresh.shape != used.shape:
                sizes = zip(fresh.shape, used.shape, strict=True)
                return resize(next(new for old, new in sizes if old != new))
    return start
