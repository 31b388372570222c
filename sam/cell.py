"""One time step: controller, interface, memory (SAM paper, 3.3; DNC paper, Methods).

z_t = [x_t ; r_{t-1}]            the words read at the previous step go to the controller
h_t = controller(z_t)
p_t = interface(h_t)
r_t = memory(p_t)
y_t = linear([h_t ; r_t])        made by the network, for all steps at once
"""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sam import state as states
from sam.controller import Controller
from sam.customized import is_customized
from sam.errors import ConfigError, ShapeError
from sam.fast.dispatch import follows, take_step
from sam.interface import Interface
from sam.memory.protocol import Memory
from sam.setting_checks import check_sizes
from sam.shape_checks import check_rows
from sam.state_checks import check_cell_state
from sam.state_files import save_state
from sam.trace import Trace


class CellState(NamedTuple):
    """State of controller and memory between two steps."""

    controller: Any
    memory: Any
    reads: Tensor  # r, [B, R W]
    trace: Trace | None = None  # of the call that returned this state, if it was asked for

    detach = states.detach
    clone = states.clone
    reset = states.reset
    to = states.to
    nbytes = property(states.nbytes)
    __deepcopy__ = states.deepcopied
    save = save_state

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
        if resize is None:
            raise ConfigError(
                f"memory_size: expected a memory whose state has the method resize, "
                f"got {type(self.memory).__name__}"
            )
        return self._replace(memory=resize(memory_size))


class MemoryCell(nn.Module):
    """A controller and a memory, joined by an interface.

    Args:
        controller: an nn.Module with the protocol of `sam.controller.Controller`; its input is
            what the cell is given beside the R W numbers read, so its `input_size` is I + R W.
        memory: anything with the protocol of `sam.memory.Memory`.

    Raises:
        ConfigError: the controller's input is not wider than what the memory returns.
    """

    def __init__(self, controller: Controller, memory: Memory) -> None:
        super().__init__()
        read_size = memory.num_reads * memory.word_size
        if controller.input_size <= read_size:
            raise ConfigError(
                f"controller.input_size: expected more than the R W = {read_size} numbers the "
                f"memory returns, got {controller.input_size}"
            )
        self.controller, self.memory = controller, memory
        self.interface = Interface(controller.output_size, memory)
        self.input_size = controller.input_size - read_size
        self.read_size = read_size

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        words: Tensor | None = None,
    ) -> CellState:
        """The state at the start of an episode.

        Args:
            batch_size: B.
            device: the parameters' by default.
            dtype: the parameters' by default.
            words: what the memory holds from the start, for memories that can be given words.

        Raises:
            ConfigError: there are words, and the memory's `initial_state` has no such keyword; or
                the dtype is float16.
        """
        weight = self.interface.linear.weight
        device = weight.device if device is None else device
        dtype = weight.dtype if dtype is None else dtype
        if dtype is torch.float16:
            raise ConfigError(
                "dtype: expected float32, float64 or, for a dense memory, bfloat16, got float16, "
                "in which the length of an empty word has no gradient; torch.autocast may be used"
            )
        given = {} if words is None else {"words": words}
        if given and not _takes(self.memory.initial_state, "words"):
            raise ConfigError(
                "words: expected a memory whose initial_state takes the keyword words, "
                f"got a {type(self.memory).__name__}"
            )
        return CellState(
            controller=self.controller.initial_state(batch_size, device=device, dtype=dtype),
            memory=self.memory.initial_state(batch_size, device=device, dtype=dtype, **given),
            reads=torch.zeros(batch_size, self.read_size, device=device, dtype=dtype),
        )

    def forward(
        self, inputs: Tensor, state: CellState, active: Tensor | None = None
    ) -> tuple[Tensor, CellState]:
        """One step.

        Args:
            inputs: x_t, [B, I].
            state: of the previous step; it is consumed.
            active: bool [B]; the state of the other batch rows stays as it is, and their h_t is of
                no use.

        Returns:
            h_t, [B, C], and the next state, whose `reads` are r_t.

        Raises:
            ShapeError: a part of the state has another type, shape, dtype or device than those of
                this cell, or belongs to another state; or `active` is not bool [B].
            StaleStateError: the state was consumed by an earlier step.
        """
        if not isinstance(state, CellState):
            raise ShapeError(f"state: expected a CellState, got {type(state).__name__}")
        following = follows(self, state, inputs) if active is None else None
        if following is None:
            check_cell_state(self, state, len(inputs), whole=False)
        if active is None:
            taken = take_step(self, inputs, state, following)
            if taken is not None:
                return taken
        else:
            check_rows("active", active, len(inputs), inputs.device)
        hidden, controller = self.controller(torch.cat([inputs, state.reads], 1), state.controller)
        if torch.is_autocast_enabled(hidden.device.type):
            # Addressing and words keep the width of the memory.
            with torch.autocast(hidden.device.type, enabled=False):
                words, memory = self._access(hidden.to(state.reads.dtype), state.memory, active)
        else:
            words, memory = self._access(hidden, state.memory, active)
        reads = words.flatten(1)
        if active is not None:
            controller = states.where(active, controller, state.controller)
            reads = torch.where(active[:, None], reads, state.reads)
        return hidden, CellState(controller, memory, reads)

    def _access(self, hidden: Tensor, state: Any, active: Tensor | None) -> tuple[Tensor, Any]:
        """The memory's step; batch rows that are not `active` keep their state."""
        step_raw = getattr(self.memory, "step_raw", None)
        linear = self.interface.linear
        changed = is_customized(self.interface, Interface) or is_customized(linear, nn.Linear)
        if step_raw is None or changed:
            controls = self.interface(hidden)
        else:
            values = linear(hidden)
            taken = step_raw(values, state, active)
            if taken is not None:
                return taken
            controls = self.interface.squashed(values)
        if active is None:
            return self.memory.step(controls, state)
        if _takes(self.memory.step, "active"):
            return self.memory.step(controls, state, active=active)  # type: ignore[call-arg]
        words, after = self.memory.step(controls, state)
        return words, states.where(active, after, state)


def _takes(function: Callable[..., Any], name: str) -> bool:
    """Whether a function can be given this keyword."""
    parameters = inspect.signature(function).parameters
    return name in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())
