"""What a state shows of itself: model, batch, words in use, bytes, device."""

from typing import Any

from torch import Tensor

from sam.errors import StaleStateError


def text(state: Any) -> str:
    """`repr` of the state of a model, in about five lines.

    Cost: O(B), a look at every part; on a GPU it waits for the device.
    """
    like = state.reads if hasattr(state, "reads") else state.layer.hidden
    graph = "with a graph" if like.grad_fn is not None else "detached"
    lines = [
        f"model={_model(state)}",
        f"batch={len(like)}, {str(like.dtype).removeprefix('torch.')} on {like.device}, {graph}",
        *_words(getattr(state, "memory", None)),
        f"bytes={state.nbytes:,}",
    ]
    if state.trace is not None:
        lines.append(f"trace={len(state.trace.read_weights)} steps")
    if getattr(state, "journal", None) is not None:
        lines.append(f"journal={len(state.journal)} steps, {state.journal.nbytes:,} bytes of those")
    return "\n  ".join([f"{type(state).__name__}(", *lines]) + "\n)"


def _model(state: Any) -> str:
    if not hasattr(state, "memory"):
        return "LSTM"
    layers = getattr(state.controller, "layers", (state.controller,))
    controller = _name(layers[0])
    several = f"{len(layers)} layers of {controller}" if len(layers) > 1 else controller
    return f"{_name(state.memory)}, controller {several}"


def _name(state: Any) -> str:
    return type(state).__name__.removesuffix("State")


def _over_base(memory: Any, base: Any, width: int) -> str:
    """The base, and how many words of a row's own lie over it."""
    own = memory.order.written_words
    low, high = (int(value) for value in own.aminmax())
    written = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    size = memory.words.memory_size
    over = f"words written={written} a row, over {len(base):,} of a base"
    return f"{over}, of {size:,}, each of {width} numbers"


def _words(memory: Any) -> list[str]:
    words = getattr(memory, "words", None)
    if not hasattr(type(memory), "words_in_use") or words is None:
        return []
    try:
        counts = memory.words_in_use
    except StaleStateError:
        return ["consumed: a call went on from here, and returned the state to go on with"]
    dense = isinstance(words, Tensor)
    size, width = words.shape[1:] if dense else (words.memory_size, words.word_size)
    if len(counts) == 0:
        return [f"words in use=none of {size:,} a row, each of {width} numbers"]
    base = getattr(getattr(memory, "order", None), "base", None)
    if base is not None:
        return [_over_base(memory, base, width)]
    low, high = (int(value) for value in counts.aminmax())
    used = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    return [f"words in use={used} of {size:,} a row, each of {width} numbers"]
