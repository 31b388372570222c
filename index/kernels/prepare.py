"""The first part of an exchange: check, drop repeated slots, scale, and store the words."""

import numpy as np

from index.checks import PAIRS_UP_TO
from index.compiled import lean_inline, lean_jit

# Between these, a sum of squares has lost nothing that counts, in float32 or float64.
_LOW, _HIGH = 1e-20, 1e30


@lean_inline
def _scale(given, scaled, first, cosine, eps):
    """Divides vectors [B, M, W] by n(v) = sqrt(v.v + eps) where the metric is the cosine.

    They go to `scaled` from the place `first` of each memory on.

    Returns:
        The sum of all numbers: finite only if each of them is.
    """
    zero, small, one = given.dtype.type(0), given.dtype.type(eps), given.dtype.type(1)
    total = zero
    for b in range(given.shape[0]):
        for i in range(given.shape[1]):
            vector, result = given[b, i], scaled[b, first + i]
            square, plain = small, zero
            for w in range(len(vector)):
                square += vector[w] * vector[w]
                plain += vector[w]
            total += plain
            if cosine and not _LOW < square < _HIGH:
                _scale_any_length(vector, result, np.sqrt(small))
                continue
            length = np.sqrt(square) if cosine else one
            for w in range(len(vector)):
                result[w] = vector[w] / length
    return total


@lean_inline
def _scale_any_length(vector, result, root_eps):
    """v / n(v), 0 where n(v) is 0, of a vector whose square overflows or vanishes."""
    # The smallest number with a finite reciprocal, and 3 bits to spare.
    tiny = vector.dtype.type(2.0**-123 if vector.itemsize == 4 else 2.0**-1019)
    largest = max(root_eps, tiny)
    for w in range(len(vector)):
        largest = max(largest, abs(vector[w]))
    square = (root_eps / largest) * (root_eps / largest)
    for w in range(len(vector)):
        result[w] = vector[w] / largest
        square += result[w] * result[w]
    length = max(np.sqrt(square), tiny)
    for w in range(len(vector)):
        result[w] /= length


@lean_inline
def store(slots, vectors, words, penalty):
    """Puts the first M vectors [B, M + Q, W] of each memory at slots, int64 [B, M], -1 skipped.

    Args:
        words: go here, [B, 1 + room, W].
        penalty: becomes 0 there, [B, 1 + room].
    """
    for b in range(slots.shape[0]):
        for i in range(slots.shape[1]):
            if slots[b, i] >= 0:
                row = 1 + slots[b, i]
                word, vector = words[b, row], vectors[b, i]
                for w in range(len(word)):
                    word[w] = vector[w]
                penalty[b, row] = 0


@lean_jit
def scale(given, scaled, eps):
    """Writes vectors [B, M, W], divided by n(v) = sqrt(v.v + eps), to `scaled`."""
    _scale(given, scaled, 0, True, eps)


@lean_inline
def scale_all(slots, words, queries, cosine, eps, last, scaled):
    """`prepare`, but that nothing is stored."""
    count, low, high = slots.shape[1], -1, -1
    total = _scale(words, scaled, 0, cosine, eps) + _scale(queries, scaled, count, cosine, eps)
    for b in range(slots.shape[0]):
        for i in range(count):
            low, high, repeated = min(low, slots[b, i]), max(high, slots[b, i]), False
            for j in range(i + 1, count if count <= PAIRS_UP_TO else 0):
                repeated |= slots[b, i] == slots[b, j]
            last[b, i] = -1 if repeated else slots[b, i]
    # isfinite computes x - x, which fast-math removes.
    return -np.inf < total < np.inf, low, high


@lean_jit
def prepare(slots, words, queries, cosine, eps, last, scaled, held, penalty, below):
    """Prepares the arguments of an exchange, and stores the words at their slots.

    Args:
        slots: int64 [B, M]; words: [B, M, W]; queries: [B, Q, W].
        cosine: whether that is the metric.
        eps: added inside the norms.
        last: the slots go here, -1 in place of one that comes again later in its row. With more
            than PAIRS_UP_TO slots a row none is looked for: then no slot may come twice.
        scaled: words and then queries go here, divided by their norms if the metric asks for it,
            [B, M + Q, W].
        held: the words go here, [B, 1 + room, W]; penalty: 0 goes here, [B, 1 + room].
        below: every slot has to be smaller; at most the room.

    Returns:
        Whether the sum of all numbers is finite, the lowest slot or -1, and the highest. If the sum
        is not, or a slot is out of range, nothing was stored.

    Cost: O(B (M^2 + (M + Q) W)).
    """
    finite, low, high = scale_all(slots, words, queries, cosine, eps, last, scaled)
    if finite and low == -1 and high < below:
        store(last, scaled, held, penalty)
    return finite, low, high
