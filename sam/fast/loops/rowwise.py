"""Row-wise optimizers: the loops of `sam.optim.rowwise`.

Rows lie at random places of a large table, so those that come next are prefetched.
"""

import math

from index.compiled import inline, jit
from index.llvm.prefetch import prefetch, prefetch_numbers

_AHEAD = 8  # rows


@jit
def adam_rows(table, rows, gradients, moments, steps, lr, beta, eps):
    """An update of `sam.optim.RowwiseAdam`, in place.

    Args:
        table: [n, W].
        rows: that are touched, each once, int64 [m]; gradients: of them, [m, W].
        moments: [n]; steps: int32 [n].
    """
    for i in range(len(rows)):
        if i + _AHEAD < len(rows):
            prefetch_numbers(table, rows[i + _AHEAD], 0, table.shape[1])
            prefetch(moments, rows[i + _AHEAD], 0)
            prefetch(steps, rows[i + _AHEAD], 0)
        row, gradient = rows[i], gradients[i]
        word = table[row]
        steps[row] += 1
        moment = beta * moments[row] + (1 - beta) * _mean_square(gradient)
        moments[row] = moment
        corrected = moment / (1 - math.pow(beta, steps[row]))
        rate = table.dtype.type(lr / (math.sqrt(corrected) + eps))
        for w in range(len(gradient)):
            word[w] -= rate * gradient[w]


@jit
def adagrad_rows(table, rows, gradients, moments, lr, eps):
    """An update of `sam.optim.RowwiseAdagrad`, in place; arguments as of `adam_rows`."""
    for i in range(len(rows)):
        if i + _AHEAD < len(rows):
            prefetch_numbers(table, rows[i + _AHEAD], 0, table.shape[1])
            prefetch(moments, rows[i + _AHEAD], 0)
        row, gradient = rows[i], gradients[i]
        word = table[row]
        moment = moments[row] + _mean_square(gradient)
        moments[row] = moment
        rate = table.dtype.type(lr / (math.sqrt(moment) + eps))
        for w in range(len(gradient)):
            word[w] -= rate * gradient[w]


@inline
def _mean_square(gradient):
    """|g|^2 / W."""
    total = gradient.dtype.type(0)
    for w in range(len(gradient)):
        total += gradient[w] * gradient[w]
    return total / len(gradient)
