"""Words of a base, whatever type they are kept as: loops over them are compiled once for all."""

from typing import Any, NamedTuple

import numpy as np

from index.compiled import lean_inline
from index.kernels.kept import number, scale_of
from index.llvm.prefetch import prefetch_numbers

# Squared lengths in between are far from the ends of the range of float32.
LOW, HIGH = 1e-20, 1e30


class KeptWords(NamedTuple):
    """One array of words as they are kept, see `index.storage`; the others have no rows."""

    floats: Any  # float32 [n, W]
    halves: Any  # float16 as its bits, int16 [n, W]
    bfloats: Any  # bfloat16 as its bits, uint16 [n, W]
    integers: Any  # with their scale, int8 [n, W + 4]

    @classmethod
    def of(cls, kept: np.ndarray) -> "KeptWords":
        types = np.float32, np.int16, np.uint16, np.int8
        assert kept.dtype in types
        none = (0, kept.shape[1])
        return cls(*(kept if kept.dtype == one else np.empty(none, one) for one in types))


@lean_inline
def row_count(words):
    """How many words there are."""
    return len(words.floats) + len(words.halves) + len(words.bfloats) + len(words.integers)


@lean_inline
def prefetch_word(words, row):
    """Asks the processor for a word."""
    _prefetch(words.floats, row)
    _prefetch(words.halves, row)
    _prefetch(words.bfloats, row)
    _prefetch(words.integers, row)


@lean_inline
def _prefetch(kept, row):
    if row < len(kept):
        prefetch_numbers(kept, row, 0, kept.shape[1])


@lean_inline
def put_word_of(words, row, copy):
    """Copies the word of a row, which is in range, to a vector of floats."""
    _put(words.floats, row, copy)
    _put(words.halves, row, copy)
    _put(words.bfloats, row, copy)
    _put(words.integers, row, copy)


@lean_inline
def _put(kept, row, copy):
    if row < len(kept):
        scale = scale_of(kept[row], copy)
        for w in range(len(copy)):
            copy[w] = scale * number(kept[row, w])


@lean_inline
def cosine(word, query, eps):
    """word . query / sqrt(word . word + eps) of a word as it is kept; 0 for a word of zeros."""
    product, square = query.dtype.type(0), query.dtype.type(0)
    for w in range(len(query)):
        one = query.dtype.type(number(word[w]))
        product += one * query[w]
        square += one * one
    scale = scale_of(word, query)
    length = scale * scale * square + query.dtype.type(eps)
    if length > LOW and length < HIGH:
        return scale * product / np.sqrt(length)
    return query.dtype.type(_wide_cosine(word, query, scale, eps))


@lean_inline
def _wide_cosine(word, query, scale, eps):
    """The same in float64, with the word divided first by its largest number."""
    most = np.sqrt(np.float64(eps))
    for w in range(len(query)):
        most = max(most, abs(np.float64(scale) * np.float64(number(word[w]))))
    if most == 0:
        return 0.0
    product, square = 0.0, 0.0
    for w in range(len(query)):
        one = np.float64(scale) * np.float64(number(word[w])) / most
        product += one * np.float64(query[w])
        square += one * one
    return product / np.sqrt(square + eps / most / most)
