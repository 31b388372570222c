"""The models by name: thin constructors with the papers' defaults."""

import itertools
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from index import IndexConfig
from sam import state as states
from sam.cell import MemoryCell
from sam.controller import CONTROLLERS, LSTMState, set_forget_bias
from sam.errors import ConfigError, ShapeError, unknown_name
from sam.memory.sam import SAMMemory
from sam.network import MemoryNetwork, check_inputs, make_embedding
from sam.shapes import check_shape

ControllerName = Literal["lstm", "gru", "feedforward"]


def _input_width(
    input_size: int, output_size: int, hidden_size: int, embedding_size: int | None
) -> int:
    """Width of what the recurrent layer is given, once the sizes are checked."""
    width = input_size if embedding_size is None else embedding_size
    sizes = {
        "input_size": input_size,
        "output_size": output_size,
        "hidden_size": hidden_size,
        "embedding_size": width,
    }
    for name, value in sizes.items():
        if not isinstance(value, int) or value < 1:
            raise ConfigError(f"{name}: expected an integer of at least 1, got {value!r}")
    return width


class SAM(MemoryNetwork):
    """Sparse Access Memory (Rae et al. 2016): a memory of any size at a cost per step that does not
    depend on it. Defaults are those of the paper's benchmark and training (supplement C, E).

    Args:
        input_size: I.
        output_size: O; outputs are not squashed.
        hidden_size: units of the controller.
        memory_size: N, words; they take space when first written.
        word_size: W.
        num_heads: H, access heads; each reads and writes.
        top_k: K, words read a head.
        index: how the K nearest words are found: a name, or an `index.IndexConfig`.
        controller: "lstm", "gru" or "feedforward".
        access_threshold, shared_write, strength, renormalise, similarity: see `SAMMemory`.
        embedding_size: width of a linear embedding of the inputs, for one-hot ones; default none.
        dropout: of inputs and of what the output layer sees, in training; see `MemoryNetwork`.
        forget_bias: initial bias of an LSTM controller's forget gate; more keeps what it has read
            for longer before training.
        batch_first: inputs and outputs are [B, T, ...] instead of [T, B, ...].

    Raises:
        ConfigError: a size is not positive, or `top_k` or `num_heads` exceeds `memory_size`.
        UnknownNameError: no such index or controller.

    Cost: see `SAMMemory`; the controller adds O(hidden_size (hidden_size + I + H W)) a step.
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        *,
        hidden_size: int = 100,
        memory_size: int = 1024,
        word_size: int = 32,
        num_heads: int = 4,
        top_k: int = 4,
        index: str | IndexConfig = "exact",
        controller: ControllerName = "lstm",
        access_threshold: float = 0.005,
        shared_write: bool = False,
        strength: Literal["oneplus", "softplus", "none"] = "oneplus",
        renormalise: bool = True,
        similarity: Literal["cosine", "euclidean"] = "cosine",
        embedding_size: int | None = None,
        dropout: float = 0.0,
        forget_bias: float = 1.0,
        batch_first: bool = False,
    ) -> None:
        width = _input_width(input_size, output_size, hidden_size, embedding_size)
        if controller not in CONTROLLERS:
            raise unknown_name("controller", controller, CONTROLLERS)
        memory = SAMMemory(
            memory_size=memory_size,
            word_size=word_size,
            num_heads=num_heads,
            top_k=top_k,
            index=index,
            access_threshold=access_threshold,
            shared_write=shared_write,
            strength=strength,
            renormalise=renormalise,
            similarity=similarity,
        )
        width += memory.num_reads * memory.word_size
        embedding = make_embedding(input_size, embedding_size)
        options = {"forget_bias": forget_bias} if controller == "lstm" else {}
        cell = MemoryCell(CONTROLLERS[controller](width, hidden_size, **options), memory)
        super().__init__(
            cell, output_size, embedding=embedding, dropout=dropout, batch_first=batch_first
        )


class LSTMModelState(NamedTuple):
    """State of the `LSTM` baseline."""

    layer: LSTMState
    trace: None = None

    detach = states.detach
    clone = states.clone
    reset = states.reset
    to = states.to
    nbytes = property(states.nbytes)


class LSTM(nn.Module):
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
        width = _input_width(input_size, output_size, hidden_size, embedding_size)
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
        inputs: Tensor,
        state: LSTMModelState | None = None,
        *,
        starts: Tensor | None = None,
        trace: bool = False,
    ) -> tuple[Tensor, LSTMModelState]:
        """As `MemoryNetwork.forward`; there is no memory, so `trace` has nothing to record."""
        like = self.output.weight
        inputs, starts = check_inputs(inputs, self.input_size, starts, like, self.batch_first)
        steps, batch_size = inputs.shape[:2]
        now = self.initial_state(batch_size) if state is None else state
        if not isinstance(now, LSTMModelState):
            raise ShapeError(
                f"state: expected this model's LSTMModelState, got {type(now).__name__}"
            )
        if self.embedding is not None:
            inputs = self.embedding(inputs)
        sizes = {"B": batch_size, "C": self.layer.hidden_size}
        check_shape("state.layer.hidden", now.layer.hidden, "B C", sizes)
        # The layer runs over whole stretches between the starts of episodes.
        begins = [] if starts is None else starts.any(1).nonzero()[:, 0].tolist()
        cuts = sorted({0, steps, *begins})
        hidden = []
        for begin, end in itertools.pairwise(cuts):
            if starts is not None:
                now = now.reset(starts[begin])
            layer = (now.layer.hidden[None], now.layer.cell[None])
            outputs, (last, cell) = self.layer(inputs[begin:end], layer)
            hidden.append(outputs)
            now = LSTMModelState(LSTMState(last[0], cell[0]))
        if hidden:
            outputs = self.output(torch.cat(hidden))
        else:
            outputs = inputs.new_zeros(0, batch_size, self.output_size)
        return (outputs.transpose(0, 1) if self.batch_first else outputs), now


_MODELS: dict[str, type[nn.Module]] = {"lstm": LSTM, "sam": SAM}


def available_models() -> tuple[str, ...]:
    """Names that `make_model` takes."""
    return tuple(sorted(_MODELS))


def model_class(name: str) -> type[nn.Module]:
    """The class registered under `name`.

    Raises:
        UnknownNameError: no such model; the text lists the known ones.
    """
    if name not in _MODELS:
        raise unknown_name("model", name, _MODELS)
    return _MODELS[name]


def make_model(name: str, input_size: int, output_size: int, **settings: Any) -> nn.Module:
    """Builds a model by name; `settings` are its constructor's keyword arguments."""
    return model_class(name)(input_size, output_size, **settings)


def register_model(name: str, cls: type[nn.Module]) -> None:
    """Adds a model for `make_model` and the recipes.

    Args:
        name: not taken yet.
        cls: called as ``cls(input_size, output_size, **settings)``, settings keyword-only.

    Raises:
        ConfigError: the name is taken.
    """
    if name in _MODELS:
        raise ConfigError(f"model: expected a name that is not taken, got {name!r}")
    _MODELS[name] = cls
