"""One step of an LSTM controller, its interface and SAM's memory: a call forward, one backward."""

from typing import Any, NamedTuple

from index.compiled import jit
from sam.kernels.arrays import Memory, Numbers
from sam.kernels.lstm import lstm, lstm_backward
from sam.kernels.matmul import add_product
from sam.kernels.step import Step, StepBack, StepKept, backward, begin


class Cell(NamedTuple):
    """The controller's part of a step, [B, ...] each; all but the first four are filled in."""

    inputs: Any  # x, [I]
    reads: Any  # r_{t-1}, [H W]
    before: Any  # h_{t-1}, [C]
    before_cell: Any  # c_{t-1}, [C]
    all: Any  # [x ; r_{t-1} ; h_{t-1}], [I + H W + C]
    gates: Any  # their values, [4 C]
    cell: Any  # c, [C]
    hidden: Any  # h, [C]


class CellWeights(NamedTuple):
    """Of controller and interface, laid out for `add_product`."""

    all: Any  # [I + H W + C, 4 C]
    bias: Any  # both biases, [4 C]
    interface: Any  # [C, P]
    interface_bias: Any  # [P]


class CellBack(NamedTuple):
    """Of the way back through the controller."""

    before_cell: Any  # c_{t-1}, [B, C]
    cell: Any  # c, [B, C]
    gates: Any  # their values; then the gradients of what went into them, [B, 4 C]
    of_hidden: Any  # gradient of h; then with what comes through the interface, [B, C]
    of_cell: Any  # gradient of c; then of c_{t-1}, [B, C]
    of_all: Any  # where the gradient of [x ; r_{t-1} ; h_{t-1}] goes, [B, I + H W + C]
    weights: Any  # [4 C, I + H W + C]
    interface: Any  # [P, C]


@jit
def begin_cell(
    cell: Cell, weights: CellWeights, step: Step, memory: Memory, numbers: Numbers, exact: bool
) -> tuple[int, int]:
    """Controller and interface, then what `begin_step` does. Can be begun again, as that one."""
    batch_size, width = cell.inputs.shape
    heads, units = cell.reads.shape[1], cell.before.shape[1]
    for b in range(batch_size):
        for j in range(width):
            cell.all[b, j] = cell.inputs[b, j]
        for j in range(heads):
            cell.all[b, width + j] = cell.reads[b, j]
        for j in range(units):
            cell.all[b, width + heads + j] = cell.before[b, j]
        for j in range(4 * units):
            cell.gates[b, j] = weights.bias[j]
        for j in range(step.controls.shape[1]):
            step.controls[b, j] = weights.interface_bias[j]
    add_product(cell.gates, cell.all, weights.all)
    for b in range(batch_size):
        lstm(cell.gates[b], cell.before_cell[b], cell.cell[b], cell.hidden[b])
    add_product(step.controls, cell.hidden, weights.interface)
    return begin(step, memory, numbers, exact)


@jit
def cell_backward(cell: CellBack, step: StepKept, back: StepBack, least: float, eps: float) -> None:
    """The way back; see the comments on the fields for what becomes of them."""
    backward(step, back, least, eps)
    add_product(cell.of_hidden, step.controls, cell.interface)
    for b in range(len(cell.cell)):
        lstm_backward(
            cell.gates[b], cell.before_cell[b], cell.cell[b], cell.of_hidden[b], cell.of_cell[b]
        )
        for j in range(cell.of_all.shape[1]):
            cell.of_all[b, j] = 0
    add_product(cell.of_all, cell.gates, cell.weights)
