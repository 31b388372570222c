"""Backward pass of `sam.fast.sequence_op`: the loop, and the products over all steps at once."""

from typing import Any, ClassVar

import torch
from torch import Tensor

from sam.fast.array_views import as_arrays, writable_grad
from sam.fast.controller_layers import Carried, Matrices
from sam.fast.loops import sequence_backward
from sam.fast.loops.episode_starts import Borders
from sam.fast.loops.kernel_arrays import SavedForBackward, Start
from sam.fast.loops.layers import Grads
from sam.fast.threads import in_threads, rows_at_a_time
from sam.ops.similarity import EPS
from sam.store.gradient_tape import grad_rows


class SequenceBackward:
    """The backward pass of one call.

    Attributes:
        unroll: the compiled function.
        saved_type: how it is given what the forward pass has saved.
    """

    unroll: ClassVar[Any] = staticmethod(sequence_backward.unroll_backward)
    saved_type: ClassVar[Any] = SavedForBackward

    def __init__(
        self,
        ctx: Any,
        rows: tuple[Tensor, ...],
        inputs: Tensor,
        before: Carried,
        saved: dict[str, Tensor],
        lengths: Tensor | None,
        begins: Tensor,
    ) -> None:
        self.ctx, self.inputs, self.before, self.saved = ctx, inputs, before, saved
        self.steps, self.batch_size = inputs.shape[:2]
        self.lengths, self.begins = lengths, begins
        self.rows = self.grad_rows([grad_rows(ctx, i, part) for i, part in enumerate(rows)])

    @property
    def settings(self) -> tuple[float, ...]:
        """The last arguments of `unroll`."""
        return self.ctx.min_strength, EPS

    def grad_rows(self, rows: list[Tensor]) -> Any:
        """The rows of what `Run.slots_saved` names, then of the slots read before the start."""
        read, lru, start = rows
        shape = self.saved["values"].shape
        return sequence_backward.GradRows(
            *as_arrays(read.view(shape), lru.view(*shape[:2], -1), start.view(shape[1:]))
        )

    def run(
        self, parameters: tuple[Tensor, ...], grads: tuple[Tensor | None, ...]
    ) -> tuple[Tensor, ...]:
        """Through all steps; returns the gradients of what was carried in."""
        hidden, reads, *last, _ = grads
        saved, before, layers = self.saved, self.before, self.ctx.layers
        hidden = torch.zeros_like(saved["hidden"]) if hidden is None else hidden.contiguous()
        reads = torch.zeros_like(saved["reads"]) if reads is None else reads.contiguous()
        carried = Carried.of([*map(writable_grad, last, before.tensors)])
        both, step_hidden = carried.both, torch.empty_like(saved["hidden"][0])
        cell = carried.controller[1] if layers.has_cells else step_hidden[:, :0]
        active = torch.empty(self.batch_size, dtype=torch.bool, device="cpu")
        moving = hidden, reads, self.ctx.tape.begin()[0], both, cell, carried.values
        room = step_hidden, active, saved["words"][0, :, 0, 0].clone()
        state, borders = Grads(*as_arrays(*moving, *room)), self.borders()
        width, found = self.inputs.shape[2], before.reads.shape[1]
        self.matrices: Matrices = layers.matrices(parameters[:-2], width, found)
        weights = layers.weights(self.matrices, *parameters[-2:], back=True)
        lengths = self.lengths
        if lengths is None:
            lengths = torch.full((self.batch_size,), self.steps, device="cpu")
        # The kernel goes by the rows of slots, and looks at no array of slots.
        none = lengths.new_empty(0, 0, 0)
        shown = {"cells": saved["hidden"]} | saved
        arrays = self.saved_type(
            *as_arrays(*(shown.get(name, none) for name in self.saved_type._fields))
        )
        first = before.controller[-1].contiguous() if before.controller else step_hidden
        nothing = saved["hidden"].new_zeros(layers.width)
        known = before.values.contiguous(), lengths, self.begins, nothing
        start = Start(*as_arrays(first, none, *known))
        in_threads(
            lambda lo, hi: self.unroll(
                lo, hi, arrays, start, weights, self.rows, state, borders, *self.settings
            ),
            self.batch_size,
            rows_at_a_time(weights),
        )
        reads, hidden = both.tensor_split((found,), 1)
        controller = (hidden, *carried.controller[1:])[: layers.carried]
        return *controller, reads, carried.values

    def borders(self) -> Borders:
        """Room and what else is needed where episodes begin."""
        shape = self.before.values.shape if len(self.begins) else (0, 1, 1)
        rows = torch.empty(shape, dtype=torch.int64, device="cpu")
        owners, layout = rows.new_empty(0), self.ctx.tape.begin()[1]
        if len(self.begins) and layout.rows is not None:
            owners = layout.rows.remainder(self.batch_size)
        emptied = torch.zeros(self.batch_size, dtype=torch.bool, device="cpu")
        values = self.before.values.new_empty(shape)
        return Borders(*as_arrays(values, rows, owners, emptied))

    def grad_inputs(self) -> Tensor:
        """Gradient of the inputs, once `run` has put those of the gates where the gates were."""
        return torch.mm(self.saved["gates"].flatten(0, 1), self.matrices.inputs).view_as(
            self.inputs
        )

    def grad_parameters(self) -> list[Tensor]:
        """Gradients of the parameters, each as one product over all steps."""
        saved = self.saved
        controls, hidden = saved["controls"].flatten(0, 1).t(), saved["hidden"]
        layers = self.ctx.layers.grads(
            saved["gates"], self.inputs, hidden, saved["reads"], self.before, self.begins
        )
        return [*layers, torch.mm(controls, hidden.flatten(0, 1)), controls.sum(1)]
