"""Backward pass of `sam.fast.sequence_op`: the loop, and the products over all steps at once."""

from typing import Any, ClassVar

import torch
from torch import Tensor

from sam.fast.array_views import as_arrays, writable_grad
from sam.fast.cell_tensors import Parameters, RecurrentState
from sam.fast.loops import sequence_backward
from sam.fast.loops.kernel_arrays import SavedForBackward, Start
from sam.fast.packing import packed
from sam.fast.threads import in_threads
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
        before: RecurrentState,
        saved: dict[str, Tensor],
        lengths: Tensor | None,
    ) -> None:
        self.ctx, self.inputs, self.before, self.saved = ctx, inputs, before, saved
        self.steps, self.batch_size = inputs.shape[:2]
        self.lengths = lengths
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

    def run(self, parameters: Parameters, grads: tuple[Tensor | None, ...]) -> list[Tensor]:
        """Through all steps; returns the gradients of what was carried in."""
        hidden, reads, *last, _ = grads
        saved, before = self.saved, self.before
        units = before.hidden.shape[1]
        hidden = torch.zeros_like(saved["hidden"]) if hidden is None else hidden.contiguous()
        reads = torch.zeros_like(saved["reads"]) if reads is None else reads.contiguous()
        carried = RecurrentState(*map(writable_grad, last, before))
        both = torch.cat([carried.reads, carried.hidden], 1)
        moving = hidden, reads, self.ctx.tape.begin()[0], both, carried.cell, carried.values
        active = torch.empty(self.batch_size, dtype=torch.bool, device="cpu")
        room = torch.empty_like(carried.hidden), active, saved["words"][0, :, 0, 0].clone()
        state = sequence_backward.Grads(*as_arrays(*moving, *room))
        width = self.inputs.shape[2]
        recurrent = torch.cat([parameters.weight_ih[:, width:], parameters.weight_hh], 1)
        weights = sequence_backward.WeightsBack(
            *as_arrays(packed(recurrent), packed(parameters.weight))
        )
        lengths = self.lengths
        if lengths is None:
            lengths = torch.full((self.batch_size,), self.steps, device="cpu")
        # The kernel goes by the rows of slots, and looks at no array of slots.
        none = lengths.new_empty(0, 0, 0)
        names = self.saved_type._fields
        arrays = self.saved_type(*as_arrays(*(saved.get(name, none) for name in names)))
        start = Start(
            *as_arrays(
                self.before.cell.contiguous(), none, self.before.values.contiguous(), lengths
            )
        )
        in_threads(
            lambda lo, hi: self.unroll(
                lo, hi, arrays, start, weights, self.rows, state, *self.settings
            ),
            self.batch_size,
        )
        reads, hidden = both.split([both.shape[1] - units, units], 1)
        return [hidden, carried.cell, reads, carried.values]

    def grad_inputs(self, parameters: Parameters) -> Tensor:
        """Gradient of the inputs, once `run` has put those of the gates where the gates were."""
        gates = self.saved["gates"].view(-1, self.saved["gates"].shape[2])
        return torch.mm(gates, parameters.weight_ih[:, : self.inputs.shape[2]]).view_as(self.inputs)

    def grad_parameters(self) -> list[Tensor]:
        """Gradients of the parameters, each as one product over all steps."""
        saved = self.saved
        gates = saved["gates"].flatten(0, 1).t()
        controls = saved["controls"].flatten(0, 1).t()
        # Few rows and many columns take a library less time than many rows and few columns.
        inner = torch.mm(self.inputs.reshape(-1, self.inputs.shape[2]).t(), gates.t()).t()
        reads = self._earlier(gates, saved["reads"], self.before.reads)
        hidden = self._earlier(gates, saved["hidden"], self.before.hidden)
        bias = gates.sum(1)
        weight = torch.mm(controls, saved["hidden"].flatten(0, 1))
        return [torch.cat([inner, reads], 1), hidden, bias, bias.clone(), weight, controls.sum(1)]

    def _earlier(self, gates: Tensor, values: Tensor, first: Tensor) -> Tensor:
        """Gates times what the step before put out: `first`, then all of `values` but the last."""
        product = torch.mm(gates[:, : self.batch_size], first)
        rest = values[:-1].flatten(0, 1)
        return product.addmm_(gates[:, self.batch_size :], rest)
