"""A memory network as a module of TorchRL, in the manner of its `LSTMModule`.

    env = TransformedEnv(GymEnv("CartPole-v1"), InitTracker())
    memory = MemoryModule(SAM(4, 64, memory_size=2**16), in_key="observation", out_key="features")
    env.append_transform(memory.make_tensordict_primer())
    policy = TensorDictSequential(memory, head)

A tensordict carries an `LSTMModule`'s hidden state from step to step. A memory of a million words
cannot travel so: here the tensordict carries a *ticket*, which says of which journal, step and
batch row the state is, and the module keeps the states of the latest steps, see `CellState.record`.
"""

from typing import Any

import torch
from torch import Tensor

from sam.cell import CellState
from sam.errors import BackendMissingError, ConfigError
from sam.memory.step_journal import has_steps_noted
from sam.network import MemoryNetwork

try:
    from tensordict import TensorDictBase  # pyright: ignore[reportMissingImports]
    from tensordict.nn import (  # pyright: ignore[reportMissingImports]
        TensorDictModuleBase,
        dispatch,
    )
    from torchrl.data import Unbounded  # pyright: ignore[reportMissingImports]
    from torchrl.envs import TensorDictPrimer  # pyright: ignore[reportMissingImports]
    from torchrl.modules import recurrent_mode  # pyright: ignore[reportMissingImports]
except ImportError as error:
    raise BackendMissingError(
        f"sam.integrations.torchrl needs torchrl, got {error}: "
        "pip install 'sparse-access-memory[torchrl]'"
    ) from error

# What a decorator makes of a method is not written down in types.
_dispatch: Any = dispatch


class MemoryModule(TensorDictModuleBase):
    """Runs a network over tensordicts: a step each while acting, whole stretches in training.

    While acting, a tensordict of any batch shape is one step. Rows with `is_init`, or without a
    ticket, begin a new episode. In recurrent mode (`torchrl.modules.set_recurrent_mode`, or
    `default_recurrent_mode`) the last batch dimension is time. Each row then begins with the state
    that its first step was taken from, to the last bit, wherever in a rollout that was, and
    gradients flow through all of its steps. Rows may come in any order, and some of them.

    The states are kept in this module, in this process, without gradients. They are in no
    `state_dict`. Two environments may act with it in turns, as for an evaluation: a ticket that is
    not of the latest step is looked up.

    Args:
        model: a network with a sparse memory (SAM, SDNC).
        in_key: of its inputs, [..., I].
        out_key: of its outputs, [..., O].
        ticket_key: of the tickets, int64 [..., 3].
        history: how many of the latest steps can be replayed, at least.
        default_recurrent_mode: the mode where `set_recurrent_mode` says nothing; acting if None.

    Raises:
        ConfigError: the memory is not a sparse one, or `history` is below 1.

    Cost: a step's is that of the network and of its journal, which keeps one or two kilobytes a
    step and row; replaying takes a copy of the words that the rows had touched.
    """

    def __init__(
        self,
        model: MemoryNetwork,
        *,
        in_key: Any = "observation",
        out_key: Any = "features",
        ticket_key: str = "memory_ticket",
        history: int = 256,
        default_recurrent_mode: bool | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(model, MemoryNetwork) or not has_steps_noted(
            model.initial_state(1).memory
        ):
            raise ConfigError(
                "model: expected a network with a sparse memory (SAM, SDNC), "
                f"got {type(model).__name__}"
            )
        if history < 1:
            raise ConfigError(f"history: expected at least 1 step, got {history}")
        self.model, self.history = model, history
        keys: Any = [out_key, ("next", ticket_key)]
        self.in_keys, self.out_keys = [in_key, ticket_key, "is_init"], keys
        self._recurrent_mode = default_recurrent_mode
        self._states: dict[int, CellState] = {}  # the last state of each journal, by its number
        self._latest = -1

    @property
    def recurrent_mode(self) -> bool:
        """Whether a call is a stretch of time."""
        mode = recurrent_mode()
        return bool(self._recurrent_mode) if mode is None else mode

    def make_tensordict_primer(self) -> Any:
        """A transform by which an environment hands the tickets from step to step."""
        spec = Unbounded(shape=torch.Size((3,)), dtype=torch.int64)
        return TensorDictPrimer({self.in_keys[1]: spec}, default_value=-1, expand_specs=True)

    def forget(self) -> None:
        """Drops all states; tickets from before are of no use any more."""
        self._states.clear()

    @_dispatch
    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Writes the outputs, and while acting the next tickets, into the tensordict.

        Raises:
            ConfigError: a ticket is of a step that is forgotten, or of another process.
            ShapeError, NonFiniteError: as the network's call.
        """
        return self._replayed(tensordict) if self.recurrent_mode else self._acted(tensordict)

    def _acted(self, tensordict: TensorDictBase) -> TensorDictBase:
        shape = tensordict.shape
        inputs, tickets, is_init = self._given(tensordict.reshape(-1))
        fresh = is_init | (tickets[:, 0] < 0)
        state = self._live(tickets, fresh)
        if state is None:
            state = self._restored(tickets, fresh).record()
            self._latest += 1
        outputs, state = self._call(inputs[None], state, fresh[None])
        following = self._keep(state.detach()).to(inputs.device)
        tensordict.set(self.out_keys[0], outputs[0].reshape(*shape, -1))
        tensordict.set(self.out_keys[1], following.reshape(*shape, 3))
        return tensordict

    def _replayed(self, tensordict: TensorDictBase) -> TensorDictBase:
        shape = tensordict.shape
        if not shape:
            raise ConfigError(
                "tensordict: expected time as its last batch dimension, got none; outside of "
                "recurrent mode a call is a single step"
            )
        inputs, tickets, starts = self._given(tensordict.reshape(-1, shape[-1]))
        fresh = starts[:, 0] | (tickets[:, 0, 0] < 0)
        state = self._restored(tickets[:, 0], fresh)
        outputs, _ = self._call(inputs.transpose(0, 1), state, starts.t())
        tensordict.set(self.out_keys[0], outputs.transpose(0, 1).reshape(*shape, -1))
        return tensordict

    def _given(self, rows: TensorDictBase) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs, tickets, and where an episode begins, bool of the shape of `rows`."""
        inputs = rows.get(self.in_keys[0])
        tickets = rows.get(self.in_keys[1], None)
        if tickets is None:
            tickets = torch.full((*rows.shape, 3), -1, device=inputs.device)
        return inputs, tickets, rows.get("is_init").reshape(rows.shape)

    def _call(self, inputs: Tensor, state: CellState, starts: Tensor) -> tuple[Tensor, CellState]:
        """The network over [T, B, I], whatever its layout is."""
        if not self.model.batch_first:
            return self.model(inputs, state, starts=starts)
        outputs, state = self.model(inputs.transpose(0, 1), state, starts=starts.t())
        return outputs.transpose(0, 1), state

    def _live(self, tickets: Tensor, fresh: Tensor) -> CellState | None:
        """The state of the latest step, if the tickets are of it."""
        state = self._states.get(self._latest)
        if state is None or state.batch_size != len(tickets):
            return None
        others = (tickets != self._tickets(state).to(tickets.device)).any(1)
        return None if bool((others & ~fresh).any()) else state

    def _restored(self, tickets: Tensor, fresh: Tensor) -> CellState:
        """A state of its own, of the steps that the tickets [B, 3] name; new where `fresh`."""
        parts, places = [], []
        if bool(fresh.any()):
            parts.append(self.model.initial_state(int(fresh.sum())))
            places.append(fresh.nonzero()[:, 0])
        for number, step in tickets[~fresh, :2].unique(dim=0).tolist():
            of = ~fresh & (tickets[:, 0] == number) & (tickets[:, 1] == step)
            parts.append(self._state_of(number).at(step, rows=tickets[of, 2]))
            places.append(of.nonzero()[:, 0])
        joined = parts[0] if len(parts) == 1 else CellState.cat(parts)
        order = torch.cat(places).argsort()
        in_order = torch.equal(order, torch.arange(len(order), device=order.device))
        return joined if in_order else joined.rows(order)

    def _state_of(self, number: int) -> CellState:
        if number not in self._states:
            raise ConfigError(
                f"{self.in_keys[1]}: expected a step of the latest {self.history} of this process, "
                f"got one that is forgotten; history is how many are kept"
            )
        return self._states[number]

    def _keep(self, state: CellState) -> Tensor:
        """Keeps a state and forgets old ones; returns its tickets."""
        self._states[self._latest] = state
        if len(state.journal or ()) >= self.history:
            state = state.record()
            self._latest += 1
            self._states[self._latest] = state
        steps = 0
        for number in sorted(self._states, reverse=True):
            if steps >= self.history and number < self._latest:
                del self._states[number]
            else:
                steps += len(self._states[number].journal or ())
        return self._tickets(state)

    def _tickets(self, state: CellState) -> Tensor:
        """Of the rows of the latest state, int64 [B, 3]: journal, step, row."""
        rows = torch.arange(state.batch_size)
        step = torch.full_like(rows, len(state.journal or ()))
        return torch.stack([torch.full_like(rows, self._latest), step, rows], 1)
