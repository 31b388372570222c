"""What the sparse memories, SAM and SDNC, have in common: how an episode starts, how a step begins
and ends, and what it checks of the state that it is given.

Batch rows outside of `active`, bool [B], stay as they are; None is all rows.
"""

import warnings
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from index import IndexConfig, LayeredIndex, Neighbors, as_base, make_index
from index.registry import as_index_config, index_class
from sam import state as states
from sam.errors import ConfigError, ShapeError
from sam.memory.sam_state import SAMState
from sam.ops.similarity import EPS
from sam.ops.sparse import SparseWeights, no_weights
from sam.shape_checks import check_rows, check_tensors
from sam.store.access_order import AccessOrder
from sam.store.companions import check_together, join
from sam.store.overlay_order import OverlayOrder
from sam.store.word_store import WordStore

# Of the words of a sparse memory, as of those of its index.
DTYPES = (torch.float32, torch.float64)


def fitting_index(
    index: str | IndexConfig, metric: Literal["cosine", "l2"], why: str = ""
) -> IndexConfig:
    """The index asked for, with the metric and the epsilon of the norms of the memory's similarity.

    Args:
        index: a name, or a configuration that leaves both at their defaults or says the same.
        metric: of the memory.
        why: why it is that one, for the message.

    Raises:
        ConfigError: the configuration has another metric or epsilon.
    """
    config, default = as_index_config(index), IndexConfig()
    if config.metric not in (metric, default.metric):
        raise ConfigError(f"index: expected metric {metric!r}{why}, got {config.metric!r}")
    if config.norm_eps not in (EPS, default.norm_eps):
        raise ConfigError(
            f"index: expected norm_eps={EPS}, that of the model, got {config.norm_eps}"
        )
    return replace(config, metric=metric, norm_eps=EPS)


def check_available(memory: Any, index: IndexConfig) -> None:
    """Makes an index once, so that what it lacks shows before the first step.

    Args:
        memory: the settings, a `SAMMemory` or `SDNCMemory`.
        index: how the nearest words are found.

    Raises:
        BackendMissingError: a package is not installed that the index, or `compiled`, needs.
        ValueError: an option is none of the index's, or does not fit the memory.

    Cost: that of an empty index.
    """
    sizes = {"capacity": memory.memory_size, "word_size": memory.word_size}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the one of each episode says it
        make_index(index, batch_size=1, device="cpu", **sizes)
    if memory.compiled:  # the loops of a step need what those of an exact index need
        make_index(IndexConfig(compiled=True), batch_size=1, device="cpu", **sizes)


def sparse_start(
    memory: Any,
    index: str | IndexConfig,
    batch_size: int,
    *,
    words: Tensor | None,
    device: torch.device | str | None,
    dtype: torch.dtype,
    base: Any = None,
    base_writes: bool = True,
) -> SAMState:
    """The parts of an episode's first state: empty, with words in the first slots, or over a base.

    Args:
        memory: the settings, a `SAMMemory` or `SDNCMemory`.
        index: how the nearest words are found.
        batch_size: B.
        words: what the memory holds from the start, or None.
        device: where the state lives.
        dtype: of the words.
        base: an `index.Base` or a `VectorStore`, the words of the first slots of all rows; or None.
        base_writes: see `OverlayOrder`.

    Raises:
        ShapeError, NonFiniteError: `words` are no words of this memory; see `given_words`.
        TypeError: `base` is no base, nor a `VectorStore`.
        ShapeError, ConfigError: it is none of this memory; see `check_base`.

    Cost: a few kilobytes whatever `memory_size` is, and with a base; O(B n W) with n words.
    """
    size = memory.memory_size
    kind: Any = {"device": device, "dtype": dtype}
    store = WordStore(batch_size, size, memory.word_size, words=words, **kind)
    loaded = 0 if words is None else words.shape[-2]
    sizes = {"batch_size": batch_size, "capacity": size, "word_size": memory.word_size}
    config, writes = as_index_config(index), memory.num_writes
    if base is None:
        found_by = index_class(config.kind)(config, **sizes, **kind)  # of no memories, too
        order = AccessOrder(batch_size, size, writes, device=device, loaded=loaded)
    else:
        base = as_base(base)
        check_base(memory, base, words, base_writes)
        layers: Any = {"base": base, "overlay": index_class(config.kind)}
        found_by = LayeredIndex(config, **sizes, **kind, **layers)
        over: Any = {"base": base, "base_writes": base_writes, "device": device}
        order = OverlayOrder(batch_size, size, writes, **over)
    if loaded:
        # Room beyond the words, or the first step would have to move all of them.
        found_by.reserve(store.capacity)
        same = words is not None and words.dim() == 2  # then an index learns from them once
        mine = store.words[: 1 if same else batch_size, :loaded]
        found_by.load(mine.expand(batch_size, -1, -1))
    return SAMState(
        words=store,
        read_weights=no_weights(batch_size, memory.num_reads, memory.top_k, **kind),
        write_weights=no_weights(batch_size, memory.num_writes, memory.num_write_slots, **kind),
        order=order,
        index=found_by,
    )


def check_base(memory: Any, base: Any, words: Tensor | None, base_writes: bool) -> None:
    """Checks that a memory can lie over a base.

    Raises:
        ConfigError: there are words as well, or settings do not go with a base.
        ShapeError: its words are of another size, or more than the memory has.
    """
    if words is not None:
        raise ConfigError("words: expected None with a base, which is what the memory begins with")
    if base.word_size != memory.word_size:
        raise ShapeError(
            f"base: expected words of word_size={memory.word_size} numbers, got {base.word_size}"
        )
    own = memory.memory_size - len(base)
    if own < 0:
        raise ShapeError(
            f"base: expected at most memory_size={memory.memory_size} words, got {len(base)}"
        )
    if not base_writes and own < memory.num_writes:
        raise ConfigError(
            f"base_writes: expected True with {own} slots beside those of the base, got False; a "
            f"step writes over {memory.num_writes}"
        )
    if base.in_step and base_writes and memory.compiled is not False:
        raise ConfigError(
            "base_writes: expected False, or a memory with compiled=False, over a base that many "
            "processes hold, got True: compiled steps fetch words when a row needs them, alone"
        )
    if base.metric != memory.metric:
        raise ConfigError(f"base: expected metric {memory.metric!r}, got {base.metric!r}")
    if not getattr(memory, "renormalise", True):
        raise ConfigError(
            "base: expected a memory with renormalise=True, got False, which reads all words"
        )


class StepStart(NamedTuple):
    """What a step writes with. Inactive rows have no slots (-1) and shut gates."""

    prev_read: SparseWeights  # w^R_{t-1}, [B, H, K]
    lru_slots: Tensor  # l_t, the least recently accessed slot of each write head, int64 [B, V]
    write_gates: Tensor  # alpha_t, [B, V]


def begin_step(memory: Any, controls: Any, state: Any, active: Tensor | None) -> StepStart:
    """Checks what a step is given, and takes the slots to write over.

    Args:
        memory: the settings, a `SAMMemory` or `SDNCMemory`.
        controls: of this step.
        state: of the step before.
        active: rows that take the step.

    Raises:
        StaleStateError: the state was consumed already.
        ShapeError: state or controls do not fit the settings or one another.
    """
    keys = controls.keys
    memory.check_state(state, keys)
    named = zip(controls._fields, controls, memory.control_shapes(len(keys)), strict=True)
    check_tensors(
        [(f"controls.{n}", part, size) for n, part, size in named if part is not None], keys
    )
    if active is not None:
        check_rows("active", active, len(keys), keys.device)
    start = StepStart(state.read_weights, state.order.lru_slots(), controls.write_gates)
    state.order.load(state.words.buffer)
    if active is None:
        return start
    # Without a slot nothing is written; a shut gate keeps the pads zero.
    return StepStart(
        start.prev_read.reset(~active),
        start.lru_slots.masked_fill(~active[:, None], -1),
        start.write_gates * active[:, None],
    )


def find_nearest(state: Any, slots: Tensor, words: Tensor, keys: Tensor, top_k: int) -> Neighbors:
    """Tells the index the words [B, M, W] now at slots [B, M]; finds K words for each key."""
    order, index = state.order, state.index
    told: Any = index, state.words.buffer, slots, words, keys, top_k
    return order.exchange(*told, slot_bound=order.slot_bound)


def end_step(
    memory: Any,
    state: Any,
    words: WordStore,
    read: SparseWeights,
    write: SparseWeights,
    active: Tensor | None,
) -> Any:
    """Records which words were accessed; returns the next state.

    Args:
        memory: the settings.
        state: before the step; its order is changed in place.
        words: the store's handle after the step.
        read, write: w^R_t and w^W_t.
        active: rows that took the step; the others keep their last weights.
    """
    read_seen = read if active is None else read.reset(~active)
    # From the latest access to the earliest: a head's strongest read counts as the last.
    state.order.record_access(
        torch.cat([read_seen.slots.flatten(1), write.slots.flatten(1)], 1),
        torch.cat([read_seen.values.flatten(1), write.values.flatten(1)], 1),
        memory.access_threshold,
    )
    # No gradient comes through the weights of an earlier write.
    write = SparseWeights(write.slots, write.values.detach())
    if active is not None:
        read = states.where(active, read, state.read_weights)
        write = states.where(active, write, state.write_weights)
    after = state._replace(words=words, read_weights=read, write_weights=write)
    return join(after, memory)


def check_parts(
    state: Any, memory: Any, given: Tensor, *, read: tuple[Any, ...], write: tuple[Any, ...]
) -> None:
    """Checks the state of a sparse memory before a step.

    Args:
        state: a `SAMState` or what has the same fields.
        memory: the settings, with `top_k`, `word_size` and `num_writes`.
        given: what the step is given, [B, ...]; for batch size, dtype and device.
        read: what the slots of w^R look like, beside the batch: H, and K or None for any.
        write: the same for w^W: V, and J or None.

    Raises:
        StaleStateError: the state was consumed already.
        ShapeError: parts do not belong together, or a shape, dtype or device is another.
    """
    if not isinstance(state, memory.State):
        raise ShapeError(f"state: expected a {memory.State.__name__}, got {type(state).__name__}")
    settings = check_together(state)
    batch_size, like = len(given), state.words.buffer.rows
    if batch_size != like.shape[1]:
        raise ShapeError(f"state.words: expected batch size B={batch_size}, got {like.shape[1]}")
    if settings is not memory:
        _check_sizes(state, memory, given)
        _check_slots("read", state.read_weights.slots, (batch_size, *read))
        _check_slots("write", state.write_weights.slots, (batch_size, *write))
    weights = ("read", state.read_weights), ("write", state.write_weights)
    check_tensors(
        [(f"state.{name}_weights.values", of.values, of.slots.shape) for name, of in weights], like
    )
    if given.dtype != like.dtype or given.device != like.device:
        raise ShapeError(
            f"state.words: expected {given.dtype} on {given.device} as what the memory is given, "
            f"got {like.dtype} on {like.device}"
        )


def _check_slots(name: str, slots: Tensor, wanted: tuple[Any, ...]) -> None:
    """Checks the slots of the last step; a size of None is any."""
    fits = slots.dim() == len(wanted) and all(
        size in (None, found) for size, found in zip(wanted, slots.shape, strict=True)
    )
    if not fits:
        shape = ", ".join("any" if size is None else str(size) for size in wanted)
        raise ShapeError(
            f"state.{name}_weights.slots: expected shape [{shape}], got {[*slots.shape]}"
        )


def _check_sizes(state: Any, memory: Any, given: Tensor) -> None:
    """Checks what does not change from step to step against the settings."""
    batch_size, words, order, index = len(given), state.words, state.order, state.index
    writes, metric = memory.num_writes, memory.metric
    size = words.memory_size
    for name, found, wanted in (
        ("words: expected word size W", words.word_size, memory.word_size),
        ("order: expected slots handed out V", order.count, writes),
        ("order: expected slots N", order.memory_size, size),
        ("index: expected slots N", index.capacity, size),
        ("index: expected word size W", index.word_size, memory.word_size),
        ("index: expected batch size B", index.batch_size, batch_size),
        ("index: expected metric", index.config.metric, metric),
    ):
        if found != wanted:
            raise ShapeError(f"state.{name}={wanted} as this memory has, got {found}")
