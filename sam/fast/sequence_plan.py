"""What all calls over sequences of one shape have in common, found out once for many of them.

Where what they fill in lies in flat arrays, and arrays that the loops only look at.
"""

import functools
from typing import NamedTuple

import numpy as np
import torch

from sam.fast.controller_layers import Layers
from sam.fast.loops.episode_starts import Borders
from sam.fast.parts import Parts

_NUMPY = {torch.float32: np.float32, torch.float64: np.float64}


class CallSizes(NamedTuple):
    """Of a call."""

    steps: int  # T
    batch: int  # B
    width: int  # I
    heads: int  # H
    top_k: int  # K
    word: int  # W
    writes: int  # V
    write_slots: int  # J
    controls: int  # P


class SequencePlan:
    """What all calls with the same sizes have in common.

    Nobody writes to the arrays, so that calls in several threads can share them.

    Args:
        layers: of the controller.
        sizes: of the call.
        linked: whether the memory is an SDNC.
        dtype: of the numbers.

    Attributes:
        numbers, slots: what the forward pass fills in beside h and r, [T, B, ...] each; the last of
            `slots` are those read before the first step.
        state, state_slots: what goes to the next call.
    """

    def __init__(self, layers: Layers, sizes: CallSizes, linked: bool, dtype: torch.dtype) -> None:
        steps, batch, _, heads, top_k, word, writes, count, controls = sizes
        self.layers, self.sizes, self.linked = layers, sizes, linked
        self.read, self.accesses = heads * word, heads * top_k + writes * count
        first, found, real = (steps, batch), (heads, top_k), _NUMPY[dtype]
        cells = {"cells": (layers.width,)} if layers.has_cells else {}
        numbers = {
            "gates": (layers.num_layers * layers.gates,),
            **cells,
            "controls": (controls,),
            "cosine": found,
            "values": found,
            "words": (*found, word),
        }
        if linked:
            numbers |= {"content": found, "parts": (heads, 3, top_k), "found": (*found, word)}
        self.numbers = Parts(**{name: (*first, *shape) for name, shape in numbers.items()})
        near = {"near": (*first, *found)} if linked else {}
        self.slots = Parts(
            slots=(*first, *found), **near, lru_slots=(*first, writes), start=(batch, *found)
        )
        # The same by batch row.
        self.rows = Parts(
            slots=(*first, heads * top_k),
            **dict.fromkeys(near, (*first, heads * top_k)),
            lru_slots=(*first, writes),
            start=(batch, heads * top_k),
        )
        self.state = Parts(
            hidden=(batch, layers.width if layers.carried else 0),
            **{name: (batch, *shape) for name, shape in cells.items()},
            reads=(batch, self.read),
            values=(batch, *found),
            write_values=(batch, writes, count),
        )
        self.state_slots = Parts(slots=(batch, *found), write_slots=(batch, writes, count))
        self.both = batch, self.read + self.state.shapes[0][1]
        # Of slots of each row to rows of the store, once they are multiplied by B.
        self.first_row = np.arange(batch, 2 * batch)[:, None]
        self.lengths = np.full(batch, steps)
        self.no_begins = np.empty((0, batch), np.bool_)
        self.nothing = np.zeros(layers.width, real)
        self.no_prev = np.empty((0, *found), np.int64), np.empty((0, *found), real)
        self.not_held = np.zeros(batch, np.int64)
        self.not_needed = np.empty((0, 0, 0), np.int64)
        self.no_borders = Borders(
            *(np.empty((0, 1, 1), real), np.empty((0, 1, 1), np.int64), np.empty(0, np.int64)),
            np.zeros(batch, np.bool_),
        )


plan_of = functools.lru_cache(32)(SequencePlan)
"""The plan for some sizes. Those of the last 32 different calls are kept, O(B + C) bytes each."""
