"""Squashing a controller's output into named controls.

Most fields are a few numbers wide, so the time goes to the number of ops, forward and backward, and
not to the arithmetic in them: neighbours with the same activation are squashed as one.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from itertools import groupby
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

Activation = Literal["none", "sigmoid", "oneplus", "softplus", "softmax", "tanh"]
Layout = tuple[tuple[tuple[int, ...], Activation], ...]
"""Shape without the batch, and activation, of each field in order."""


def oneplus(values: Tensor) -> Tensor:
    """1 + log(1 + e^x), at least 1 (DNC paper, Methods)."""
    return functional.softplus(values) + 1


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda values: values,
    "sigmoid": torch.sigmoid,
    "oneplus": oneplus,
    "softplus": functional.softplus,
    "softmax": lambda values: values.softmax(-1),
    "tanh": torch.tanh,
}
# Activations that look at one number at a time: fields beside each other can be squashed as one.
_JOINED = ("sigmoid", "oneplus", "softplus", "tanh")


def squash_plain(values: Tensor, layout: Layout) -> tuple[Tensor, ...]:
    """The readable form of `squash`: same arguments, same results."""
    parts = values.split([math.prod(shape) for shape, _ in layout], -1)
    return tuple(
        ACTIVATIONS[activation](part.unflatten(-1, shape))
        for part, (shape, activation) in zip(parts, layout, strict=True)
    )


class _Run(NamedTuple):
    """Neighbouring fields that one op squashes."""

    function: Callable[[Tensor], Tensor]
    shapes: tuple[tuple[int, ...], ...]  # of the fields, without the batch
    sizes: tuple[int, ...]  # numbers in each of them


@lru_cache(maxsize=64)
def _runs(layout: Layout) -> tuple[_Run, ...]:
    """Cuts a layout into runs, a field that cannot be joined being a run by itself."""
    keys = [name if name in _JOINED else place for place, (_, name) in enumerate(layout)]
    runs = []
    for _, group in groupby(zip(keys, layout, strict=True), lambda item: item[0]):
        fields = [field for _, field in group]
        shapes = tuple(shape for shape, _ in fields)
        sizes = tuple(math.prod(shape) for shape in shapes)
        runs.append(_Run(ACTIVATIONS[fields[0][1]], shapes, sizes))
    return tuple(runs)


def _shaped(numbers: Tensor, shape: tuple[int, ...]) -> Tensor:
    # A view costs an op in either direction, so there is none where it would change nothing.
    return numbers if len(shape) == 1 else numbers.view(numbers.shape[0], *shape)


def squash(values: Tensor, layout: Layout) -> tuple[Tensor, ...]:
    """Cuts `values` into fields and squashes each.

    Args:
        values: the interface vector p_t, [B, P].
        layout: shape and activation of each field; the shapes' products add up to P. A softmax runs
            over the field's last dimension.

    Returns:
        The fields, each [B, *shape]. Fields without an activation are views of `values`, fields
        squashed by one op are views of its result.

    Cost: O(B P); keeps the squashed fields and `values` for the backward pass, and copies nothing.
    """
    runs = _runs(layout)
    fields: list[Tensor] = []
    parts = values.split_with_sizes([sum(run.sizes) for run in runs], 1)
    for run, part in zip(runs, parts, strict=True):
        if len(run.shapes) == 1:
            fields.append(run.function(_shaped(part, run.shapes[0])))
        else:
            cuts = run.function(part).split_with_sizes(run.sizes, 1)
            fields += map(_shaped, cuts, run.shapes)
    return tuple(fields)
