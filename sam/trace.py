"""What was read and written where: recorded on request, for plots and for looking inside."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from sam import state as states
from sam.errors import ConfigError
from sam.ops.sparse import SparseWeights


class Trace(NamedTuple):
    """Accesses of T steps, detached. Sparse memories give slots; dense ones give None for them,
    and weights over all N words."""

    read_slots: Tensor | None  # int64 [T, B, H, K], -1 where fewer than K words exist
    read_weights: Tensor  # [T, B, H, K], dense: [T, B, H, N]
    write_slots: Tensor | None  # int64 [T, B, V, J]
    write_weights: Tensor  # [T, B, V, J], dense: [T, B, V, N]
    searching: tuple[str, ...] | None = None  # per step what answered: "exact", "ivf", ...

    has_rows = False  # time comes first, so a mask of batch rows says nothing of it

    detach = states.detach
    clone = states.clone
    to = states.to
    nbytes = property(states.nbytes)
    __deepcopy__ = states.deepcopied

    def rows(self, picked: Tensor) -> "Trace":
        """The accesses of some batch rows, int64 [n]."""
        parts = (item for item in self._asdict().items() if isinstance(item[1], Tensor))
        return self._replace(**{name: part.index_select(1, picked) for name, part in parts})

    def reset(self, mask: Tensor) -> "Trace":
        """The past stays as it was."""
        return self


class Tracer:
    """Collects the accesses of a memory step by step.

    Args:
        memory_state: of the memory that is traced.

    Raises:
        ConfigError: it has no `read_weights` or no `write_weights`.

    Cost: bytes of the weights, per step.
    """

    def __init__(self, memory_state: Any) -> None:
        for name in ("read_weights", "write_weights"):
            if not hasattr(memory_state, name):
                raise ConfigError(
                    "trace: expected a memory whose state has the fields read_weights and "
                    f"write_weights, got {type(memory_state).__name__} without {name}"
                )
        self._steps: list[tuple[Any, Any]] = []
        self._searching: list[str] = []

    def record(self, memory_state: Any) -> None:
        """Records the last step's `read_weights` and `write_weights`."""
        weights = memory_state.read_weights.detach(), memory_state.write_weights.detach()
        order = getattr(memory_state, "order", None)
        if getattr(order, "base", None) is not None:
            weights = tuple(w._replace(slots=memory_state.slots_of(w.slots)) for w in weights)
        self._steps.append(weights)
        # Every tuple has a method `index`; only an index says what answers its searches.
        searching = getattr(getattr(memory_state, "index", None), "searching", None)
        if searching is not None:
            self._searching.append(searching)

    def trace(self) -> Trace | None:
        """The steps so far as one, or None if there were none."""
        if not self._steps:
            return None
        reads, writes = zip(*self._steps, strict=True)
        searching = tuple(self._searching) or None
        return Trace(*_stack(reads), *_stack(writes), searching)


def _stack(steps: tuple[Any, ...]) -> tuple[Tensor | None, Tensor]:
    if isinstance(steps[0], SparseWeights):
        slots = torch.stack([step.slots for step in steps])
        return slots, torch.stack([step.values for step in steps])
    return None, torch.stack(steps)
