"""The baseline without a memory."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from sam import state as states
from sam import state_rows
from sam.controller import LSTMState, set_forget_bias
from sam.embedding import make_embedding
from sam.errors import ConfigError, ShapeError
from sam.inputs import Starts, check_inputs
from sam.models.assembly import Remembering, input_width
from sam.recurrent_module import RecurrentModule, either_state
from sam.setting_checks import check_fraction, check_sizes
from sam.shape_checks import check_shape
from sam.state_checks import TensorPart, TuplePart
from sam.state_files import load_state, save_state, state_dict
from sam.state_text import text
from sam.transforms import check_ordinary
from sam.uncompiled import uncompiled


class LSTMModelState(NamedTuple):
    """State of the `LSTM` baseline."""

    layer: LSTMState  # [B, C] each; [B, L, C] of several layers
    trace: None = None

    detach = states.detach
    clone = states.clone
    reset = states.reset
    to = states.to
    rows = state_rows.rows
    cat = staticmethod(state_rows.cat)
    put = state_rows.put
    batch_size = property(state_rows.batch_size)
    __getitem__ = state_rows.item  # pyright: ignore[reportAssignmentType]
    nbytes = property(states.nbytes)
    __deepcopy__ = states.deepcopied
    state_dict = state_dict
    save = save_state

    def __repr__(self) -> str:
        return text(self)

    def resize(self, memory_size: int) -> "LSTMModelState":
        """Raises ConfigError: there is no memory here."""
        raise ConfigError(f"memory_size: expected a model with a memory, got LSTM, {memory_size}")


class LSTM(Remembering, RecurrentModule):
    """The baseline: an nn.LSTM and a linear output, called like the other models.

    Args:
        input_size: I.
        output_size: O.
        hidden_size: C.
        num_layers: L.
        embedding_size: width of a linear embedding of the inputs, for one-hot ones; default none.
        image_size: side of an image that the first ``image_size**2`` inputs are; convolutions make
            `embedding_size` features of it, and leave the other inputs. See `ImageEmbedding`.
        dropout: of the (embedded) inputs and of the outputs of each layer, in training.
        batch_first: inputs and outputs are [B, T, ...] instead of [T, B, ...].
        device, dtype: of the parameters; torch's defaults without them.

    Raises:
        ConfigError: a size is not positive, or `dropout` is not in [0, 1).

    Cost: O(L C (I + C)) time a step and batch row.
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        *,
        hidden_size: int = 100,
        num_layers: int = 1,
        embedding_size: int | None = None,
        image_size: int | None = None,
        dropout: float = 0.0,
        batch_first: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        width = input_width(input_size, output_size, hidden_size, embedding_size, image_size)
        check_sizes(num_layers=num_layers)
        check_fraction("dropout", dropout)
        super().__init__()
        kind: Any = {"device": device, "dtype": dtype}
        self.input_size, self.output_size = input_size, output_size
        self.batch_first = batch_first
        self.dropout = nn.Dropout(dropout)
        self.embedding = make_embedding(input_size, embedding_size, image_size, **kind)
        between = dropout if num_layers > 1 else 0.0
        self.layer = nn.LSTM(width, hidden_size, num_layers, dropout=between, **kind)
        self._set_forget_biases()
        self.output = nn.Linear(hidden_size, output_size, **kind)

    def _set_forget_biases(self) -> None:
        parameters = dict(self.layer.named_parameters())
        for layer in range(self.layer.num_layers):
            ih, hh = (parameters[f"bias_{kind}_l{layer}"] for kind in ("ih", "hh"))
            set_forget_bias(ih, hh, 1.0)

    def reset_parameters(self) -> None:
        super().reset_parameters()
        self._set_forget_biases()

    def flatten_parameters(self) -> None:
        """Packs the layer's parameters into one piece of memory, where cuDNN gains by it."""
        self.layer.flatten_parameters()

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.output_size}, batch_first={self.batch_first}"

    @property
    def _sizes(self) -> tuple[int, ...]:
        """Of h and c without the batch: C, or L and C."""
        layers, units = self.layer.num_layers, self.layer.hidden_size
        return (units,) if layers == 1 else (layers, units)

    def initial_state(self, batch_size: int) -> LSTMModelState:
        """Zeros, on the parameters' device, in their dtype."""
        zeros = self.output.weight.new_zeros(batch_size, *self._sizes)
        return LSTMModelState(LSTMState(zeros, zeros))

    def load_state(
        self, source: str | Path | Mapping[str, Any], *, memory_size: int | None = None
    ) -> LSTMModelState:
        """See `sam.load_state`, which this is."""
        return load_state(source, self, memory_size=memory_size)

    @uncompiled
    def forward(
        self,
        inputs: Tensor | PackedSequence,
        state: LSTMModelState | tuple[Tensor, Tensor] | list[Tensor] | None = None,
        *,
        starts: Starts | None = None,
        trace: bool = False,
        hx: LSTMModelState | tuple[Tensor, Tensor] | list[Tensor] | None = None,
    ) -> tuple[Any, LSTMModelState]:
        """As `MemoryNetwork.forward`; there is no memory, so `trace` has nothing to record.

        The state may also be (h, c) as `nn.LSTM` takes it: [L, B, C] each, or [L, C] of inputs
        [T, I].
        """
        like = self.output.weight
        given = check_inputs(inputs, self.input_size, starts, like, self.batch_first)
        steps, batch_size = given.inputs.shape[:2]
        state = either_state(state, hx)
        now = self._joined(state, batch_size, given.batched)
        if not isinstance(now, LSTMModelState):
            raise ShapeError(
                f"state: expected this model's LSTMModelState, got {type(now).__name__}"
            )
        part = TensorPart(("B", *self._sizes), like.dtype, like.device)
        layer = TuplePart(LSTMState, (".hidden", ".cell"), (part, part))
        layer.check("state.layer", now.layer, {"B": batch_size})
        check_ordinary(now.layer.hidden)
        features = given.inputs if self.embedding is None else self.embedding(given.inputs)
        features = self.dropout(features)
        # The layer runs over whole stretches between the starts and ends of episodes.
        ends = [] if given.lengths is None else given.lengths.tolist()
        begins = [start for start, _ in given.stretches()]
        cuts = sorted({0, steps, *begins, *ends})
        hidden, width = [], self.layer.hidden_size
        for begin, end in itertools.pairwise(cuts):
            if given.starts is not None:
                now = now.reset(given.starts[begin])
            outputs, after = self._run(features[begin:end], now)
            hidden.append(outputs)
            active = given.active(begin)
            now = after if active is None else states.where(active, after, now)
        units = torch.cat(hidden) if hidden else features.new_zeros(0, batch_size, width)
        outputs = self.output(self.dropout(units))
        return given.returned(outputs, self.batch_first), now

    def _joined(self, state: Any, batch_size: int, batched: bool) -> Any:
        """The state to begin with; h and c in the layout of `nn.LSTM` are made one."""
        if state is None:
            return self.initial_state(batch_size)
        if isinstance(state, LSTMModelState) or not isinstance(state, tuple | list):
            return state
        layers, units = self.layer.num_layers, self.layer.hidden_size
        parts, letters = [*state], "L B C" if batched else "L C"
        if len(parts) != 2 or not all(isinstance(part, Tensor) for part in parts):
            raise ShapeError(
                "state: expected this model's LSTMModelState, or the tensors (h, c) of nn.LSTM, "
                f"got a {type(state).__name__} of {len(parts)}"
            )
        for name, part in zip("hc", parts, strict=True):
            check_shape(f"state.{name}", part, letters, {"L": layers, "C": units})
        rows = (part if batched else part[:, None] for part in parts)
        h, c = (part.transpose(0, 1).reshape(part.shape[1], *self._sizes) for part in rows)
        return LSTMModelState(LSTMState(h, c))

    def _run(self, features: Tensor, state: LSTMModelState) -> tuple[Tensor, LSTMModelState]:
        """The last layer's h of some steps, [n, B, C], and the state after them."""
        shape = len(state.layer.hidden), self.layer.num_layers, self.layer.hidden_size
        before = [part.view(shape).transpose(0, 1).contiguous() for part in state.layer]
        kind = features.device.type
        if torch.is_autocast_enabled(kind):  # what torch would do; on some CPUs it fails at it
            features, *before = (
                part.to(torch.get_autocast_dtype(kind)) for part in (features, *before)
            )
        outputs, after = self.layer(features, tuple(before))
        # Autocast computes in another dtype; the state stays in the parameters'.
        dtype, sizes = self.output.weight.dtype, self._sizes
        parts = (part.transpose(0, 1).reshape(shape[0], *sizes).to(dtype) for part in after)
        return outputs, LSTMModelState(LSTMState(*parts))
