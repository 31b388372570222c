"""One time step: controller, interface, memory (SAM paper, 3.3; DNC paper, Methods).

z_t = [x_t ; r_{t-1}]            the words read at the previous step go to the controller
h_t = controller(z_t)
p_t = interface(h_t)
r_t = memory(p_t)
y_t = linear([h_t ; r_t])        made by the network, for all steps at once
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from sam import past_states, state_rows
from sam import state as states
from sam.controller import Controller
from sam.errors import ConfigError, ShapeError
from sam.interface import Interface
from sam.journal import Journal
from sam.memory.protocol import Memory
from sam.memory.word_changes import cell_apply, cell_diff
from sam.recurrent_module import RecurrentModule, either_state
from sam.setting_checks import check_sizes
from sam.shape_checks import check_rows
from sam.state_checks import check_cell_state
from sam.state_files import save_state, state_dict
from sam.state_text import text
from sam.trace import Trace
from sam.transforms import takes
from sam.uncompiled import uncompiled

# Dtypes of states, unless a memory names its own. Not float16: the epsilon in the norms almost
# vanishes there, and the gradient of an empty word is infinite.
DTYPES = (torch.float32, torch.float64, torch.bfloat16)


class CellState(NamedTuple):
    """State of controller and memory between two steps."""

    controller: Any
    memory: Any
    reads: Tensor  # r, [B, R W]
    trace: Trace | None = None  # of the call that returned this state, if it was asked for
    journal: Journal | None = None  # of the steps since `record`, if that was called

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
    record = past_states.record
    at = past_states.at
    diff = cell_diff
    apply = cell_apply

    def __repr__(self) -> str:
        return text(self)

    def resize(self, memory_size: int) -> "CellState":
        """The state of a memory with more words: those it has stay, the new ones are untouched.

        It goes with any model of the same parameters, which do not depend on the memory size. The
        state is consumed. What begins a new episode later on begins with the larger memory.

        Raises:
            ConfigError: `memory_size` is below the present one, or this memory cannot grow.

        Cost: O(words touched) in a sparse memory, O(`memory_size`) in a dense one.
        """
        check_sizes(memory_size=memory_size)
        resize = getattr(self.memory, "resize", None)
        if self.journal is not None:
            raise ConfigError(
                "resize: expected a state without a journal, which is of one memory size; "
                "call record() on the larger state"
            )
        if resize is None:
            raise ConfigError(
                f"memory_size: expected a memory whose state has the method resize, "
                f"got {type(self.memory).__name__}"
            )
        return self._replace(memory=resize(memory_size))


class MemoryCell(RecurrentModule):
    """A controller and a memory, joined by an interface.

    Args:
        controller: an nn.Module with the protocol of `sam.controller.Controller`; its input is
            what the cell is given beside the R W numbers read, so its `input_size` is I + R W.
        memory: anything with the protocol of `sam.memory.Memory`.
        device, dtype: of the interface; torch's defaults without them.

    Raises:
        ConfigError: the controller's input is not wider than what the memory returns, or the memory
            has no states of this dtype.
    """

    def __init__(
        self,
        controller: Controller,
        memory: Memory,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if dtype is not None:
            _check_dtype(memory, dtype)
        read_size = memory.num_reads * memory.word_size
        if controller.input_size <= read_size:
            raise ConfigError(
                f"controller.input_size: expected more than the R W = {read_size} numbers the "
                f"memory returns, got {controller.input_size}"
            )
        self.controller, self.memory = controller, memory
        self.interface = Interface(controller.output_size, memory, device=device, dtype=dtype)
        self.input_size = controller.input_size - read_size
        self.read_size = read_size

    def check_converted(self, like: Tensor) -> None:
        _check_dtype(self.memory, like.dtype)

    def extra_repr(self) -> str:
        memory: Any = self.memory
        if isinstance(memory, nn.Module):
            return ""  # it shows itself
        fields = dataclasses.fields(memory) if dataclasses.is_dataclass(memory) else ()
        settings = {field.name: getattr(memory, field.name) for field in fields}
        shown = [
            f"{name}={getattr(value, 'kind', value)!r}"
            for name, value in settings.items()
            if name == "index" or (isinstance(value, int) and not isinstance(value, bool))
        ]
        return f"(memory): {type(memory).__name__}({', '.join(shown)})"

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        words: Tensor | None = None,
        steps: int = 0,
        **over: Any,
    ) -> CellState:
        """The state at the start of an episode.

        Args:
            batch_size: B.
            device: the parameters' by default.
            dtype: the parameters' by default.
            words: what the memory holds from the start, for memories that can be given words.
            steps: how many will follow, for memories that can make room for what they write.
            over: `base` and `base_writes`, for memories that can lie over a base.

        Raises:
            ConfigError: there are words, or a base, and the memory's `initial_state` has no such
                keyword; or the memory has no states of this dtype.
        """
        weight = self.interface.linear.weight
        device = weight.device if device is None else device
        dtype = weight.dtype if dtype is None else dtype
        _check_dtype(self.memory, dtype)
        given = ({} if words is None else {"words": words}) | over
        for name in given:
            if not takes(self.memory.initial_state, name):
                raise ConfigError(
                    f"{name}: expected a memory whose initial_state takes the keyword {name}, "
                    f"got a {type(self.memory).__name__}"
                )
        if steps and not given and _makes_room(type(self.memory)):
            given["room"] = steps * self.memory.num_writes  # type: ignore[attr-defined]
        return CellState(
            controller=self.controller.initial_state(batch_size, device=device, dtype=dtype),
            memory=self.memory.initial_state(batch_size, device=device, dtype=dtype, **given),
            reads=torch.zeros(batch_size, self.read_size, device=device, dtype=dtype),
        )

    @uncompiled
    def forward(
        self,
        inputs: Tensor,
        state: CellState | None = None,
        active: Tensor | None = None,
        *,
        hx: CellState | None = None,
    ) -> tuple[Tensor, CellState]:
        """One step.

        Args:
            inputs: x_t, [B, I]; [I] is a batch of one.
            state: of the previous step; it is consumed. A fresh one by default.
            active: bool [B]; the state of the other batch rows stays as it is, and their h_t is of
                no use.
            hx: another name for `state`, that of nn.LSTMCell.

        Returns:
            h_t, [B, C], or [C] for inputs [I], and the next state, whose `reads` are r_t.

        Raises:
            ShapeError: the inputs are neither [B, I] nor [I], or `active` is not bool [B]; or a
                part of the state has another type, shape, dtype or device than those of this cell,
                or belongs to another state.
            StaleStateError: the state was consumed by an earlier step.
            ConfigError: `state` and `hx` are both given.
        """
        batched = not isinstance(inputs, Tensor) or inputs.shape != (self.input_size,)
        inputs = inputs if batched else inputs[None]
        if state is None and hx is None and isinstance(inputs, Tensor) and inputs.dim():
            state = self.initial_state(len(inputs))
        now = cast(CellState, state if hx is None else either_state(state, hx))
        self.check_state(inputs, now, active)
        hidden, controller = self.controller(torch.cat([inputs, now.reads], 1), now.controller)
        words, memory = in_memory_width(self.access, hidden, now, active)
        after = next_state(now, controller, memory, words, active)
        return (hidden if batched else hidden[0]), after

    def check_state(self, inputs: Tensor, state: CellState, active: Tensor | None) -> None:
        """Checks what a step is given, whatever form of it runs; raises as `forward`.

        A memory with a method `check_state` looks at its part of the state itself, at each step.
        """
        if not isinstance(inputs, Tensor) or inputs.shape[1:] != (self.input_size,):
            got = [*inputs.shape] if isinstance(inputs, Tensor) else type(inputs).__name__
            raise ShapeError(f"inputs: expected shape [B, I={self.input_size}], got {got}")
        if not isinstance(state, CellState):
            raise ShapeError(f"state: expected a CellState, got {type(state).__name__}")
        check_cell_state(self, state, len(inputs), whole=False)
        if active is not None:
            check_rows("active", active, len(inputs), inputs.device)

    def access(self, hidden: Tensor, state: Any, active: Tensor | None) -> tuple[Tensor, Any]:
        """Interface and memory: from h_t, [B, C], and the memory's state to r_t, [B, R, W].

        Returns r_t and the memory's next state; rows that are not `active` keep theirs.
        """
        controls = self.interface(hidden)
        if active is None:
            return self.memory.step(controls, state)
        if takes(self.memory.step, "active"):
            return self.memory.step(controls, state, active=active)  # type: ignore[call-arg]
        words, after = self.memory.step(controls, state)
        return words, states.where(active, after, state)


Access = Callable[[Tensor, Any, Tensor | None], tuple[Tensor, Any]]
"""`MemoryCell.access`, or another form of it."""


def in_memory_width(
    access: Access, hidden: Tensor, state: CellState, active: Tensor | None
) -> tuple[Tensor, Any]:
    """Runs an access outside of autocast: addressing and words keep the width of the memory."""
    if not torch.is_autocast_enabled(hidden.device.type):
        return access(hidden, state.memory, active)
    with torch.autocast(hidden.device.type, enabled=False):
        return access(hidden.to(state.reads.dtype), state.memory, active)


def next_state(
    state: CellState, controller: Any, memory: Any, words: Tensor, active: Tensor | None
) -> CellState:
    """The state after a step; controller and reads of rows that are not `active` stay.

    Args:
        state: before the step.
        controller, memory: states after it.
        words: r_t, [B, R, W].
        active: bool [B], or None for all rows.
    """
    reads = words.flatten(1)
    if active is not None:
        controller = states.where(active, controller, state.controller)
        reads = torch.where(active[:, None], reads, state.reads)
    return CellState(controller, memory, reads)


def _check_dtype(memory: Any, dtype: torch.dtype) -> None:
    """Raises ConfigError unless the memory has states of this dtype."""
    known = getattr(memory, "dtypes", DTYPES)
    if dtype in known or not dtype.is_floating_point:
        return
    names = " or ".join(str(each).removeprefix("torch.") for each in known)
    raise ConfigError(
        f"dtype: expected {names} for a {type(memory).__name__}, got {dtype}; torch.autocast "
        "computes the rest in half precision, with parameters in float32"
    )


@functools.lru_cache(32)
def _makes_room(kind: type) -> bool:
    """Whether memories of this class can be told how much to make room for at once."""
    # One that derives from a memory of ours may begin its states in its own way.
    return getattr(kind, "makes_room", False) and takes(kind.initial_state, "room")  # type: ignore[attr-defined]
