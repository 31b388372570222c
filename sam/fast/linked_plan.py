"""What all steps of an SDNC's cell have in common, found out once for many of them.

Where their numbers lie in flat arrays, and the arrays that the loops over a sequence want beside.
"""

import numpy as np
import torch
from torch import Tensor

from sam.controller import LSTMController
from sam.fast.array_views import as_arrays
from sam.fast.cell_tensors import Parameters
from sam.fast.controller_layers import KINDS, LaidOut, Layers
from sam.fast.loops.episode_starts import Borders
from sam.fast.loops.kernel_arrays import LSTM, Weights
from sam.fast.loops.tiles import PANEL
from sam.fast.parts import Parts
from sam.fast.step_request import StepRequest


class LinkedPlan:
    """What all steps of one batch with the same settings have in common.

    Args:
        request: the memory and settings of a step.
        parameters: of controller and interface.
        inputs: x, [B, I].
    """

    def __init__(self, request: StepRequest, parameters: Parameters, inputs: Tensor) -> None:
        (batch, heads, top_k), word = request.slots.shape, request.store.word_size
        width, units, controls = inputs.shape[1], *reversed(parameters.weight.shape)
        read, written = heads * word, request.write.slots.shape[2]
        found, real, whole = (1, batch, heads, top_k), as_arrays(inputs)[0].dtype, np.int64
        self.batch, self.read, self.width, self.units = batch, read, width, units
        self.dtype = inputs.dtype
        self.accesses = heads * top_k + written
        # What is kept for the backward pass; the last three are copied for the next state.
        self.kept = Parts(
            left=(batch, width + read + units),
            prev_cell=(batch, units),
            prev_values=(batch, heads, top_k),
            gates=(1, batch, 4 * units),
            controls=(1, batch, controls),
            cosine=found,
            content=found,
            parts=(1, batch, heads, 3, top_k),
            words=(*found, word),
            found=(*found, word),
            hidden=(1, batch, units),
            cells=(1, batch, units),
            values=found,
        )
        self.state = Parts(
            hidden=(batch, units),
            cell=(batch, units),
            values=(batch, heads, top_k),
            write_values=(batch, 1, written),
            reads=(1, batch, read),
        )
        self.copied = self.kept.starts["hidden"], self.state.starts["write_values"]
        self.rows = Parts(slots=found, near=found, lru=(1, batch, 1), prev=(batch, heads, top_k))
        self.slots = Parts(slots=(batch, heads, top_k), write_slots=(batch, 1, written))
        count = heads * top_k
        first = np.arange(batch, 2 * batch)
        self.first_rows = np.concatenate([first.repeat(n) for n in (count, count, 1, count)])
        # Arrays that the loops go by or work with.
        self.both = np.empty((batch, read + units), real)
        self.lengths = np.ones(batch, whole)
        self.begins = np.empty((0, batch), np.bool_)
        self.nothing = np.zeros(units, real)
        self.active = np.ones(batch, np.bool_)
        self.no_slots = np.empty((0, heads, top_k), whole)
        self.no_values = np.empty((0, heads, top_k), real)
        self.held = np.full(batch, request.store.memory_size)
        self.not_needed = np.empty((0, 0, 0), whole)
        self.room = (
            np.empty((batch, units), real),
            np.empty(batch, np.bool_),
            np.empty((batch, word), real),
        )
        self.zeros = np.zeros((1, batch, max(units, read)), real)
        self.borders = Borders(
            *(np.empty((0, 1, 1), real), np.empty((0, 1, 1), whole), np.empty(0, whole)),
            np.zeros(batch, np.bool_),
        )
        panel = PANEL // inputs.element_size()
        none = np.empty((0, 1, 1, 1), real)
        self.no_weights = Weights(
            LSTM,
            np.empty((1, 0, read + units, panel), real),
            *(none, none),
            4 * units,
            np.empty((0, units, panel), real),
            np.empty(0, real),
        )

    def lay_out(self, parameters: Parameters, back: bool) -> LaidOut:
        """The parameters for the loops, in one direction."""
        layers = Layers(KINDS[LSTMController], 1, self.units)
        with torch.no_grad():
            return layers.lay_out(parameters, self.width, self.read, back=back)
