"""What the operations of SAM and SDNC keep for the backward pass: names and purposes."""

from collections.abc import Sequence

from sam.fast.cell_tensors import Parameters, RecurrentState

_GIVEN = (
    *("slots before", "inputs"),
    *(f"{name} before" for name in RecurrentState._fields),
    *Parameters._fields,
)
_NUMBERS = "gates", "cells", "hidden", "controls", "cosine", "values", "words", "reads"

# Names of the tensors that an operation saves, in its order.
PARTS: dict[str, tuple[str, ...]] = {
    "_Unroll": ("slots", "lru_slots", *_GIVEN, *_NUMBERS, "starts", "lengths"),
    "_UnrollLinked": (
        *("slots", "near", "lru_slots", *_GIVEN, *_NUMBERS),
        *("content", "parts", "found", "starts", "lengths"),
    ),
}

# By part of an operation, or by operation.
_REASONS = {
    "_Unroll.words": "M(s), the words read: gradients of w^R and, through the cosine, of the keys",
    "_Unroll.gates": "i, f, g, o of the LSTM: their derivatives; gradients take their place",
    "_Unroll.controls": "keys, words to write, gates, strengths: the derivatives of write and "
    "read; gradients take their place",
    "_Unroll.reads": "r: gradient of the weights that lead from what was read to the LSTM",
    "_Unroll.hidden": "h: gradients of the recurrent weights and of the interface's",
    "_Unroll.cells": "c: what the forget gates multiplied, and the derivative of tanh(c)",
    "_Unroll.slots": "s, where was read: rows of dL/dM to add to",
    "_Unroll.lru_slots": "where was erased: rows of dL/dM to clear",
    "_Unroll.values": "w^R: the derivatives of the softmax and of the write that follows",
    "_Unroll.cosine": "D(q, M(s)): gradients of the strengths and of the cosine's lengths",
    "_Unroll.inputs": "x: gradient of the input weights",
    "_UnrollLinked.near": "s, what was compared by content: rows of dL/dM to add to",
    "_UnrollLinked.content": "c: the derivative of the softmax",
    "_UnrollLinked.parts": "b, c and f of what was read: gradients of the modes",
    "_UnrollLinked.found": "M(s), the words compared: gradients of the keys and the strengths",
    "Addmm": "what a linear layer was given: gradient of its weights",
    "Mm": "what a linear layer was given: gradient of its weights",
    "_JoinedLinear": "what the output layer was given: gradient of its weights",
    "Pow": "y: gradient of the mean of squares taken here",
    "Sigmoid": "a result from which its derivative follows",
    "Tanh": "a result from which its derivative follows",
    "Softplus": "what was given: the derivative",
    "Mul": "a factor: gradient of the other one",
    "_Access": "a step of the memory: words read, slots, weights and controls",
    "_StepCell": "a step of the cell: what `_Unroll` keeps of all",
}


def part_name(operation: str, which: int) -> str:
    """Name of an operation's saved tensor, as OPERATION.PART where its parts have names."""
    names = PARTS.get(operation, ())
    return f"{operation}.{names[which]}" if which < len(names) else operation


def reason(saved_by: Sequence[str]) -> str:
    """What a piece is needed for, in words; empty for an operation that is not SAM's.

    Args:
        saved_by: operations or their parts, each with a shape behind it; see `Kept`.
    """
    # A reason for a part of an operation takes precedence over one for the whole operation.
    names = sorted((text.partition(" [")[0] for text in saved_by), key=lambda name: "." not in name)
    found = dict.fromkeys(_REASONS[name] for name in names if name in _REASONS)
    return "; ".join(found)
