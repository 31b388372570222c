"""An LSTM layer without peepholes, for one batch row; gates in torch's order: i, f, g, o.

Loops begin with 0 and go over slices. The compiler makes vector instructions of no other ones: an
index that might be negative counts from the end.
"""

from typing import Any

from index.compiled import lean_inline
from sam.fast.loops.numerics import number, sigmoid, tanh


@lean_inline
def lstm(gates: Any, before: Any, cell: Any, hidden: Any) -> None:
    """c = f c' + i g,   h = o tanh(c).

    Args:
        gates: what goes into the gates; becomes their values, [4 C].
        before: c', [C].
        cell, hidden: where c and h go, [C].
    """
    units = len(cell)
    entering, new, out = gates[: 2 * units], gates[2 * units : 3 * units], gates[3 * units :]
    for j in range(2 * units):
        entering[j] = sigmoid(entering[j])
    for j in range(units):
        new[j] = tanh(new[j])
    for j in range(units):
        out[j] = sigmoid(out[j])
    enter, forget = entering[:units], entering[units:]
    # Two loops: for the arrays of both the compiler would have too many overlaps to rule out.
    for j in range(units):
        cell[j] = forget[j] * before[j] + enter[j] * new[j]
    for j in range(units):
        hidden[j] = out[j] * tanh(cell[j])


@lean_inline
def lstm_backward(gates: Any, before: Any, cell: Any, grad_hidden: Any, grad_cell: Any) -> None:
    """The backward pass.

    Args:
        gates: their values; becomes the gradient of what went into them, [4 C].
        before, cell: c' and c, [C].
        grad_hidden: of h, [C].
        grad_cell: of c; becomes that of c', [C].
    """
    units = len(cell)
    enter, forget = gates[:units], gates[units : 2 * units]
    new, out = gates[2 * units : 3 * units], gates[3 * units :]
    one = number(cell[0], 1.0)
    for j in range(units):
        squashed = tanh(cell[j])
        i, f, g, o, grad = enter[j], forget[j], new[j], out[j], grad_hidden[j]
        inner = grad_cell[j] + grad * o * (one - squashed * squashed)
        enter[j] = inner * g * i * (one - i)
        forget[j] = inner * before[j] * f * (one - f)
        new[j] = inner * i * (one - g * g)
        out[j] = grad * squashed * o * (one - o)
        grad_cell[j] = inner * f
