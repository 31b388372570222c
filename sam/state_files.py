"""States on disk: `state.save(path)`, and `load_state(path, model)` to go on from there.

`state.state_dict()` is the same without a file, for whoever has a file of their own.

A file holds what the next step needs: words, order of access, links, weights, the controller's
state and the last reads; of an index its words, as it has scaled them, and nothing it has learned.
Gradients, a trace and a journal are not saved.

A state is walked field by field as in `sam.state`. Tensors, None, numbers and text are saved as
they are; a stateful object says with `content()` what is to be saved, and an empty one takes it
with `restored(given)`. The empty state that is filled comes from the model itself, so whatever is
in the file is compared with what this model would have.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from index.contents import Contents, is_backed
from index.tensor_files import read_parts, write_parts
from sam.errors import CheckpointError, ConfigError
from sam.ops.sparse import SparseWeights
from sam.store.companions import check_together, join
from sam.store.word_store import WordStore

_FORMAT = "sparse-access-memory state 1"
_PLAIN = (bool, int, float, str, type(None))


def save_state(state: Any, path: str | Path) -> None:
    """Writes the state to a file, for `sam.load_state`; whole or not at all. It stays as it is.

    Args:
        state: what a model returned; gradients, a trace and a journal are left out.
        path: the file to write or replace; a safetensors file.

    Raises:
        StaleStateError: the state was consumed.
        ShapeError: its parts are those of several states.
        ConfigError: something of your own in it does not say how it is saved.
        BackendMissingError: safetensors is not installed.
        OSError: the file cannot be written.

    Cost: time and bytes of the words touched so far, whatever the memory size.
    """
    write_parts(path, "state", _parts(state))


def state_dict(state: Any) -> dict[str, Any]:
    """The state as a flat dict of tensors and plain values, for `load_state`; it stays as it is.

    `torch.save` writes it, and `torch.load` with `weights_only=True` reads it. The tensors are
    copies, on the state's device, without gradients; a trace and a journal are left out.

    Raises:
        StaleStateError, ShapeError, ConfigError: as `save_state`.

    Cost: time and bytes of the words touched so far, whatever the memory size.
    """
    return {"format": _FORMAT} | {
        name: part.detach().clone(memory_format=torch.contiguous_format)
        if isinstance(part, Tensor)
        else part
        for name, part in _parts(state).items()
    }


def _parts(state: Any) -> dict[str, Any]:
    """Tensors and plain values by dotted name."""
    parts: dict[str, Any] = {"kind": _spelled(state)}
    for name, leaf in _leaves(_without_past(state)):
        if isinstance(leaf, (Tensor, *_PLAIN)):
            parts[name] = leaf
        else:
            parts |= {f"{name}.{key}": part for key, part in leaf.content().items()}
    return parts


def load_state(
    source: str | Path | Mapping[str, Any],
    model: nn.Module,
    *,
    memory_size: int | None = None,
    base: Any = None,
) -> Any:
    """Makes a state that was saved, to go on with the model that it comes from.

    Args:
        source: a file of `state.save`, which may come from a stranger: nothing in it is run; or
            what `state.state_dict()` returned, which stays as it is.
        model: a model like the one that returned the state: the same memory, controller and index,
            parameters of the same dtype. The state will be on the device of its parameters.
        memory_size: of a state that was made larger by `resize`; the model's by default.
        base: the `BaseMemory` that the state lies over, which is not in the file; that of the model
            unless told.

    Returns:
        The state, detached. With an exact index the model goes on from it as from the original, to
        the last bit; an approximate one learns anew and may choose other words.

    Raises:
        CheckpointError: the file is damaged, or the state is none of this model, or lies over
            another base.
        BackendMissingError: safetensors is not installed.
        OSError: there is no such file, or it cannot be read.

    Cost: time and bytes of the words touched when it was saved, and what an index takes to learn.
    """
    given = _given(source)
    make: Any = model.initial_state
    over = _base_of(given, getattr(model, "base", None) if base is None else base)

    def empty_state(batch_size: int) -> Any:
        empty = make(batch_size, **over)
        return empty if memory_size is None else empty.resize(memory_size)

    given.same("kind", _spelled(make(1)))
    empty = empty_state(_batch_size(empty_state(1), given))
    try:
        state = _filled(empty, "", given)
    except ConfigError as error:
        raise given.refuse("state", "one of this model", error) from error
    given.finish()
    _check_slots(state, given)
    return state


def _base_of(given: Contents, base: Any) -> dict[str, Any]:
    """The base to begin with, once it is known to be the one that the state lies over."""
    name = "memory.order.base"
    if name not in given.names():
        if base is not None:
            raise given.refuse(name, "that of a state over a base", "a state without one")
        return {}
    identity = given.setting(name, str)
    if base is None or base.identity != identity:
        got = "none; load_state takes it as base=" if base is None else repr(base.identity)
        raise given.refuse(name, f"the base {identity!r}", got)
    return {"base": base, "base_writes": given.setting("memory.order.base_writes", bool)}


def _given(source: str | Path | Mapping[str, Any]) -> Contents:
    """The parts of a file or a dict, on the CPU, of nobody else."""
    if isinstance(source, str | Path):
        return read_parts(source, "state", CheckpointError)
    if not isinstance(source, Mapping):
        raise CheckpointError(
            f"source: expected a path or the dict of state_dict(), got {type(source).__name__}"
        )
    parts = {str(name): part for name, part in source.items()}
    with torch.inference_mode(False):  # or they could not be written to outside of it
        tensors = {name: _here(part) for name, part in parts.items() if isinstance(part, Tensor)}
    settings = {name: part for name, part in parts.items() if name not in tensors}
    given = Contents("state_dict", tensors, settings, CheckpointError)
    given.same("format", _FORMAT)
    return given


def _here(tensor: Tensor) -> Tensor:
    """A copy on the CPU; what claims to be larger than it is stays, and will be refused."""
    if type(tensor) is Tensor and not is_backed(tensor):
        return tensor
    return tensor.detach().to("cpu", copy=True)


def _without_past(state: Any) -> Any:
    past = {name: None for name in ("trace", "journal") if hasattr(state, name)}
    return state._replace(**past) if past else state


def _spelled(state: Any) -> str:
    """The classes a state is made of: ``CellState(LSTMState, SAMState)``, then weights and such."""
    if hasattr(state, "layers"):
        return f"{type(state).__name__}({', '.join(map(_spelled, state.layers))})"
    parts = [getattr(state, name) for name in ("controller", "memory") if hasattr(state, name)]
    inside = f"({', '.join(map(_spelled, parts))})" if parts else ""
    return type(state).__name__ + inside


def _named(state: tuple[Any, ...]) -> Iterator[tuple[str, Any]]:
    names = getattr(state, "_fields", None) or map(str, range(len(state)))
    return zip(names, state, strict=True)


def _leaves(state: tuple[Any, ...], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """What a state is made of, by dotted name."""
    for name, value in _named(state):
        if isinstance(value, tuple):
            if _has_words(value):
                check_together(value)
            yield from _leaves(value, f"{prefix}{name}.")
        elif isinstance(value, (Tensor, *_PLAIN)) or hasattr(value, "content"):
            yield prefix + name, value
        else:
            raise ConfigError(
                f"state.{prefix}{name}: expected tensors, plain values, or an object with the "
                f"methods content and restored, got a {type(value).__name__}"
            )


def _batch_size(empty: Any, given: Contents) -> int:
    """B, by a tensor of the file that is as long as it is said to be."""
    for name, leaf in _leaves(empty):
        if isinstance(leaf, Tensor) and leaf.dim() and leaf.numel():
            return len(given.tensor(name, (None, *leaf.shape[1:]), _dtype(leaf, name, given)))
    raise ConfigError("state: expected a tensor with the batch first, got none to tell B from")


def _dtype(like: Tensor, name: str, given: Contents) -> torch.dtype:
    """Of a tensor that is wanted; a controller puts out half precision under autocast."""
    found = given.peek(name)
    if found is None or like.dtype != torch.float32 or name.startswith("memory."):
        return like.dtype
    return found.dtype if found.dtype in (torch.bfloat16, torch.float16) else like.dtype


def _filled(empty: Any, name: str, given: Contents) -> Any:
    """The state `empty` with what is given in the place of each of its parts."""
    if isinstance(empty, tuple):
        prefix = f"{name}." if name else ""
        parts = (_filled(value, prefix + key, given) for key, value in _named(empty))
        make: Any = getattr(type(empty), "_make", tuple)
        filled = make(parts)
        return join(filled) if _has_words(filled) else filled
    if isinstance(empty, Tensor):
        return given.tensor(name, empty.shape, _dtype(empty, name, given)).to(empty.device)
    if isinstance(empty, _PLAIN):
        return given.setting(name, type(empty))
    return empty.restored(given.under(name))


def _has_words(state: Any) -> bool:
    """Whether this is the state of a sparse memory, whose parts belong together."""
    return isinstance(getattr(state, "words", None), WordStore) and hasattr(state, "order")


def _check_slots(state: Any, given: Contents) -> None:
    """Looks that weights are on slots that a sparse memory has handed out: loops rely on it."""
    memory: Any = getattr(state, "memory", None)
    order = getattr(memory, "order", None)
    if order is None:
        return
    handed_out = order.places_in_use[:, :, None]
    weights = {name: value for name, value in _named(memory) if isinstance(value, SparseWeights)}
    if hasattr(memory, "links"):
        weights["links.precedence"] = memory.links.precedence
    for name, value in weights.items():
        if bool(((value.slots < -1) | (value.slots >= handed_out)).any()):
            raise given.refuse(f"memory.{name}", "slots that were handed out", "others")
    occupied = given.peek("memory.index.occupied")
    if occupied is not None and order.base is None:
        slots = torch.arange(occupied.shape[1])
        if bool((occupied & (slots >= handed_out[:, :, 0].cpu())).any()):
            raise given.refuse("memory.index.occupied", "slots that were handed out", "others")
