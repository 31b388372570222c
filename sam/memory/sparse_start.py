"""How an episode of a sparse memory, SAM or SDNC, starts: empty, with words, or over a base."""

import functools
import warnings
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from index import IndexConfig, LayeredIndex, VectorIndex, as_base, make_index
from index.exact import ExactIndex
from index.registry import as_index_config, index_class
from sam.errors import ConfigError, ShapeError
from sam.memory.sam_state import SAMState
from sam.ops.similarity import EPS
from sam.ops.sparse import no_weights
from sam.store.access_order import AccessOrder
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
    if not isinstance(index, str | IndexConfig):
        raise TypeError(f"index: expected a name or an IndexConfig, got {index!r}")
    return _fitting(index, metric, why)


@functools.lru_cache
def _fitting(index: str | IndexConfig, metric: Literal["cosine", "l2"], why: str) -> IndexConfig:
    """`fitting_index`, once for all episodes."""
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
    room: int = 0,
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
        room: slots to make room for at once, as they will be written to; not over a base.

    Raises:
        ShapeError, NonFiniteError: `words` are no words of this memory; see `given_words`.
        TypeError: `base` is no base, nor a `VectorStore`.
        ShapeError, ConfigError: it is none of this memory; see `check_base`.

    Cost: a few kilobytes whatever `memory_size` is, and with a base; O(B n W) with n words.
    """
    size = memory.memory_size
    kind: Any = {"device": device, "dtype": dtype}
    store = WordStore(batch_size, size, memory.word_size, words=words, room=room, **kind)
    loaded = 0 if words is None else words.shape[-2]
    sizes = {"batch_size": batch_size, "capacity": size, "word_size": memory.word_size}
    config, writes = as_index_config(index), memory.num_writes
    if base is None:
        found_by = _empty_index(config, room, **sizes, **kind)  # of no memories, too
        order = AccessOrder(batch_size, size, writes, device=device, loaded=loaded, room=room)
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


def _empty_index(config: IndexConfig, room: int, **kind: Any) -> VectorIndex:
    """A new index without words; an exact one with room for some slots."""
    made = index_class(config.kind)
    if made is not ExactIndex:
        return made(config, **kind)
    return _first_exact(config, **kind).emptied(room)


@functools.lru_cache(32)
def _first_exact(config: IndexConfig, **kind: Any) -> ExactIndex:
    """What the exact indexes of all episodes with the same sizes are made from."""
    with torch.inference_mode(False):  # or they could not be used outside of it
        return ExactIndex(config, **kind)


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
    if base.metric != memory.metric:
        raise ConfigError(f"base: expected metric {memory.metric!r}, got {base.metric!r}")
    if not getattr(memory, "renormalise", True):
        raise ConfigError(
            "base: expected a memory with renormalise=True, got False, which reads all words"
        )
