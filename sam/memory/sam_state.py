"""What a controller tells a SAM memory at a step, and what the memory keeps between two steps."""

from typing import Any, NamedTuple, TypeVar

from torch import Tensor

from index import VectorIndex
from sam import state as states
from sam import state_rows
from sam.memory import word_access, word_changes
from sam.memory.protocol import Field
from sam.ops.sparse import SparseWeights
from sam.ops.squash import Activation
from sam.row_numbers import row_mask
from sam.store.access_order import AccessOrder
from sam.store.companions import all_together, changed_together, together
from sam.store.word_store import WordStore

S = TypeVar("S")


class SAMControls(NamedTuple):
    """What the controller tells the memory at one step. V is H, or 1 with a shared write head."""

    keys: Tensor  # q, [B, H, W]
    adds: Tensor  # a, [B, V, W]
    write_gates: Tensor  # alpha in (0, 1), [B, V]
    interpolation_gates: Tensor  # gamma in (0, 1), [B, V]: 1 writes where it read, 0 to a new word
    strengths: Tensor | None = None  # beta, [B, H]; None is 1 for every head


def access_fields(heads: int, writes: int, size: int, strength: Activation) -> tuple[Field, ...]:
    """Layout of `SAMControls`, whose words have W = `size` numbers."""
    fields = (
        Field("keys", (heads, size)),
        Field("adds", (writes, size)),
        Field("write_gates", (writes,), "sigmoid"),
        Field("interpolation_gates", (writes,), "sigmoid"),
    )
    return fields if strength == "none" else (*fields, Field("strengths", (heads,), strength))


def rows_in_use(state: S, picked: Any) -> S:
    """`sam.state_rows.rows` of a sparse memory, with space for the words of these rows only."""
    of: Any = state
    places = state_rows.picked_rows(picked, of)
    order = of.order.rows(places)
    bound = order.slot_bound
    parts = of._replace(order=None)._asdict()
    for name, part in parts.items():
        if isinstance(part, tuple):
            parts[name] = state_rows.rows(part, places)
        elif part is not None:
            parts[name] = part.rows(places, bound)
    return type(of)(**parts | {"order": order})


def begun_anew(state: S, mask: Any, start: Any = None) -> S:
    """`sam.state.reset` of a sparse memory; rows over a base see it again as it is."""
    after: Any = states.reset(state, mask, start)
    if after.order.base is not None:
        after.index.begin(row_mask(mask, states.device_of(after)))
    return after


def slots_of(state: Any, places: Tensor) -> Tensor:
    """The slots of what `read_weights` and `write_weights` of this state call slots.

    Over a base these are places, a row's words in the order in which it met them; in any other
    memory they are slots already.

    Args:
        state: of a sparse memory.
        places: int64 [B, ...], -1 for none.
    """
    return places if state.order.base is None else state.order.slots_of(places)


class SAMState(NamedTuple):
    """The memory between two steps. Words, order and index are changed in place.

    The parts belong together: those of two states, or of two moments, are refused.
    """

    words: WordStore  # M
    read_weights: SparseWeights  # w^R of the last step, [B, H, K]
    write_weights: SparseWeights  # w^W of the last step, [B, V, J], for the trace
    order: AccessOrder  # U^(2)
    # The written words; tuples have a method of this name, which nobody calls on a state.
    index: VectorIndex  # pyright: ignore[reportIncompatibleMethodOverride]

    detach = together(states.detach)
    clone = together(states.clone)
    reset = changed_together(begun_anew)
    to = together(states.to)
    rows = together(rows_in_use)
    cat = staticmethod(all_together(state_rows.cat))
    put = changed_together(state_rows.put)
    batch_size = property(state_rows.batch_size)
    get = word_access.get
    slots_of = slots_of
    diff = word_changes.diff
    apply = changed_together(word_changes.apply_diff)
    words_in_use = property(word_access.words_in_use)
    nbytes = property(states.nbytes)
    __deepcopy__ = states.deepcopied

    @together
    def resize(self, memory_size: int) -> "SAMState":
        """The state of a larger memory; see `CellState.resize`."""
        words = self.words.resize(memory_size)
        self.order.resize(memory_size)
        self.index.resize(memory_size)
        return self._replace(words=words)
