"""A GRU layer as torch has it, for one batch row; gates in the order n, r, z, and what h adds to n.

n takes what comes from outside of the layer, r and z also what comes from its last output, and the
last one that alone: so both products have a row of neighbours to add to.
"""

from typing import Any

from index.compiled import lean_inline
from sam.fast.loops.numerics import number, sigmoid, tanh


@lean_inline
def gru(gates: Any, before: Any, hidden: Any) -> None:
    """n = tanh(n + r o own),   h = (1 - z) o n + z o h'.

    Args:
        gates: what goes into the gates; becomes their values, [4 C].
        before: h', [C].
        hidden: where h goes, [C].
    """
    units = len(hidden)
    new, squashed, own = gates[:units], gates[units : 3 * units], gates[3 * units :]
    for j in range(2 * units):
        squashed[j] = sigmoid(squashed[j])
    let, keep = squashed[:units], squashed[units:]
    for j in range(units):
        new[j] = tanh(new[j] + let[j] * own[j])
    for j in range(units):
        hidden[j] = new[j] + keep[j] * (before[j] - new[j])


@lean_inline
def gru_backward(gates: Any, before: Any, grad_hidden: Any, back: Any) -> None:
    """The backward pass.

    Args:
        gates: their values; becomes the gradient of what went into them, [4 C].
        before: h', [C].
        grad_hidden: of h, [C].
        back: where the gradient of h' goes, but for what comes through the gates, [C].
    """
    units = len(before)
    new, let = gates[:units], gates[units : 2 * units]
    keep, own = gates[2 * units : 3 * units], gates[3 * units :]
    one = number(before[0], 1.0)
    for j in range(units):
        n, r, z, grad = new[j], let[j], keep[j], grad_hidden[j]
        inner = grad * (one - z) * (one - n * n)
        back[j] = grad * z
        keep[j] = grad * (before[j] - n) * z * (one - z)
        let[j] = inner * own[j] * r * (one - r)
        new[j], own[j] = inner, inner * r
