"""Backward pass of `sam.fast.sequence_op`: the loop, and the products over all steps at once."""

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, from_numpy

from index.threads import in_threads
from sam.fast.array_views import as_arrays
from sam.fast.controller_layers import Carried
from sam.fast.loops import sequence_backward
from sam.fast.loops.episode_starts import Borders
from sam.fast.loops.kernel_arrays import SavedForBackward, Start
from sam.fast.loops.layers import Grads
from sam.fast.row_blocks import rows_at_a_time
from sam.fast.sequence_plan import SequencePlan
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
        begins: Tensor | None,
    ) -> None:
        self.ctx, self.inputs, self.before, self.saved = ctx, inputs, before, saved
        self.plan: SequencePlan = ctx.plan
        self.lengths, self.begins = lengths, begins
        slots = self.plan.slots
        found = (grad_rows(ctx, i, part).numpy() for i, part in enumerate(rows))
        shaped = (part.reshape(shape) for part, shape in zip(found, slots.shapes, strict=True))
        self.rows = self.grad_rows(dict(zip(slots.names, shaped, strict=True)))

    @property
    def settings(self) -> tuple[float, ...]:
        """The last arguments of `unroll`."""
        return self.ctx.min_strength, EPS

    def grad_rows(self, parts: dict[str, Any]) -> Any:
        """The rows of the parts of `SequencePlan.slots`."""
        return sequence_backward.GradRows(parts["slots"], parts["lru_slots"], parts["start"])

    def run(
        self, parameters: tuple[Tensor, ...], grads: tuple[Tensor | None, ...]
    ) -> tuple[Tensor | None, ...]:
        """Through all steps; returns the gradients of what was carried in."""
        plan, layers, before = self.plan, self.plan.layers, self.before
        batch_size, width, read = plan.sizes.batch, plan.sizes.width, plan.read
        shown = {name: part.numpy() for name, part in self.saved.items()}
        shown |= {"hidden": shown["hidden"][1:], "reads": shown["reads"][1:]}
        shown.setdefault("cells", shown["hidden"])
        # The kernel goes by the rows of slots, and looks at no array of slots.
        none = plan.not_needed
        arrays = self.saved_type(*(shown.get(name, none) for name in self.saved_type._fields))
        hidden, reads, *last, _ = grads
        of_last = Carried.of(last)
        step_hidden, real = np.empty_like(arrays.hidden[0]), arrays.hidden.dtype
        both = np.empty(plan.both, real)
        both[:, :read] = _array(of_last.reads)
        cell = step_hidden[:, :0]
        if layers.carried:
            both[:, read:] = _array(of_last.controller[0])
        if layers.has_cells:
            cell = np.empty_like(step_hidden)
            cell[...] = _array(of_last.controller[1])
        values = np.empty_like(arrays.values[0])
        values[...] = _array(of_last.values)
        state = Grads(
            *(_given(hidden, arrays.hidden), _given(reads, arrays.reads)),
            self.ctx.tape.begin()[0].numpy(),
            *(both, cell, values, step_hidden, np.empty(batch_size, np.bool_)),
            np.empty((batch_size, plan.sizes.word), real),
        )
        self.laid_out = layers.lay_out(parameters, width, read, back=True)
        weights, rows, borders = self.laid_out.weights, self.rows, self.borders()
        first = as_arrays(before.controller[-1].contiguous())[0] if layers.carried else step_hidden
        (known,) = as_arrays(before.values.contiguous())
        lengths = plan.lengths if self.lengths is None else self.lengths.numpy()
        begins = plan.no_begins if self.begins is None else self.begins.numpy()
        start = Start(first, none, known, lengths, begins, plan.nothing)
        settings = self.settings
        in_threads(
            lambda lo, hi: self.unroll(
                lo, hi, arrays, start, weights, rows, state, borders, *settings
            ),
            batch_size,
            rows_at_a_time(weights),
        )
        controller = (both[:, read:], cell)[: layers.carried]
        wanted = self.ctx.needs_input_grad[4:]
        pairs = zip((*controller, both[:, :read], values), wanted, strict=False)
        return tuple(from_numpy(grad) if wants else None for grad, wants in pairs)

    def borders(self) -> Borders:
        """Room and what else is needed where episodes begin."""
        plan = self.plan
        if self.begins is None:
            return plan.no_borders
        values = np.empty(plan.state.shapes[-2], plan.nothing.dtype)
        owners, rows = plan.no_borders.owners, self.ctx.tape.begin()[1].rows
        if rows is not None:
            owners = rows.remainder(plan.sizes.batch).numpy()
        emptied = np.zeros(plan.sizes.batch, np.bool_)
        return Borders(values, np.empty(values.shape, np.int64), owners, emptied)

    def grad_inputs(self) -> Tensor:
        """Gradient of the inputs, once `run` has put those of the gates where the gates were."""
        gates = self.saved["gates"].flatten(0, 1)
        return torch.mm(gates, self.laid_out.inputs).view_as(self.inputs)

    def grad_parameters(self) -> list[Tensor]:
        """Gradients of the parameters, each as one product over all steps."""
        saved = self.saved
        controls, hidden = saved["controls"].flatten(0, 1).t(), saved["hidden"]
        layers = self.plan.layers.grads(
            saved["gates"], self.inputs, hidden, saved["reads"], self.begins
        )
        return [*layers, torch.mm(controls, hidden[1:].flatten(0, 1)), controls.sum(1)]


def _array(grad: Tensor | None) -> Any:
    """A gradient that comes in; zero where there is none."""
    return 0 if grad is None else grad.numpy()


def _given(grad: Tensor | None, like: Any) -> Any:
    """A gradient that comes in, contiguous; zeros where there is none."""
    return np.zeros(like.shape, like.dtype) if grad is None else grad.contiguous().numpy()
