"""What a pickled index must hold: loops that look at no bounds will go over it."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from index.checks import check_size
from index.config import IndexConfig
from index.errors import NonFiniteError, ShapeError

_PARTS = (
    ("config", IndexConfig),
    *((name, int) for name in ("batch_size", "capacity", "word_size", "_in_use")),
    *((name, Tensor) for name in ("_like", "_root_eps", "_words", "_penalty")),
    ("_promised", int | None),
)


def check_pickled(state: Mapping[str, Any]) -> None:
    """Checks the attributes that a `StoredIndex` is made of again.

    Raises:
        ValueError: one is missing, of another kind, or does not fit the others; as ShapeError
            where it is a tensor of another shape or dtype, as NonFiniteError where it has NaN.

    Cost: O(bytes of the words).
    """
    for name, kind in _PARTS:
        value = state.get(name, "nothing")
        if not isinstance(value, kind) or isinstance(value, bool):
            wanted = getattr(kind, "__name__", str(kind))
            got = value if value == "nothing" else type(value).__name__
            raise ValueError(f"pickled index: expected {wanted} as {name}, got {got}")
    for name in ("batch_size", "capacity", "word_size"):
        check_size(f"pickled index: {name}", state[name])
    like, words, penalty = state["_like"], state["_words"], state["_penalty"]
    if like.dtype not in (torch.float32, torch.float64):
        raise ShapeError(f"pickled index: expected float32 or float64, got {like.dtype}")
    held = words.shape[1] if words.dim() == 3 else 1
    shapes = (
        ("_root_eps", ()),
        ("_words", (state["batch_size"], held, state["word_size"])),
        ("_penalty", (state["batch_size"], held)),
    )
    for name, shape in shapes:
        tensor = state[name]
        kind, wanted = (tensor.dtype, tensor.device), (like.dtype, like.device)
        if tensor.shape != shape or kind != wanted or held < 1:
            raise ShapeError(
                f"pickled index: expected {name} {[*shape]} of {like.dtype} on {like.device}, "
                f"got {[*tensor.shape]} of {tensor.dtype} on {tensor.device}"
            )
    most = min(held - 1, state["capacity"])
    for name, value in (("_in_use", state["_in_use"]), ("_promised", state["_promised"] or 0)):
        if not 0 <= value <= most:
            raise ValueError(f"pickled index: expected {name} from 0 to {most}, got {value}")
    if not bool(words.isfinite().all()):
        raise NonFiniteError("pickled index: expected finite words, got NaN or infinity")
    beyond = penalty[:, 1 + state["_in_use"] :]
    if not bool(((penalty == 0) | penalty.isneginf()).all()) or not bool(beyond.isneginf().all()):
        raise ValueError("pickled index: expected _penalty 0 below _in_use, or -inf, got others")
