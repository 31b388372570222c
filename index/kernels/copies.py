"""Copies of words that lists hold: as the words are kept, or as int8 codes with a scale.

The types of the two arrays say which. A code takes a quarter of the bytes, and tells within which
bounds a score lies; see `index.kernels.code_loops`.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from index.compiled import INLINE_OPTIONS

_TINY = np.float32(2.0**-126)


def keep_copy(word: Any, held: Any) -> Any:
    """Writes a copy of a word to `held`; inside compiled code only."""
    raise NotImplementedError


@overload(keep_copy, jit_options=INLINE_OPTIONS, strict=False)
def _keep_copy(word: Any, held: Any) -> Any:
    if word.dtype != held.dtype:
        return _encode

    def copy(word: Any, held: Any) -> None:
        for w in range(len(held)):
            held[w] = word[w]

    return copy


def _encode(word: Any, held: Any) -> None:
    """As `index.storage.ByteStorage.encode`: off by at most half of the scale."""
    most = word.dtype.type(0)
    for w in range(len(word)):
        most = max(most, abs(word[w]))
    scale = max(np.float32(most) / np.float32(127), _TINY)
    times = word.dtype.type(1) / scale
    for w in range(len(word)):
        one = word[w] * times
        held[w] = np.int32(one + (0.5 if one > 0 else -0.5))
    bits = to_bits(scale)
    for byte in range(4):
        held[len(word) + byte] = (bits >> np.uint32(8 * byte)) & np.uint32(0xFF)


def exact_word(lists: Any, place: Any, row: Any) -> Any:
    """A word as it is kept, from where it is read fastest: its copy, unless there is a code."""
    raise NotImplementedError


@overload(exact_word, jit_options=INLINE_OPTIONS, strict=False)
def _exact_word(lists: Any, place: Any, row: Any) -> Any:
    if are_codes(lists):
        return lambda lists, place, row: lists.words[row]
    return lambda lists, place, row: (
        lists.held_words[place] if len(lists.held_words) else lists.words[row]
    )


def are_codes(lists: Any) -> bool:
    """Whether lists of this type of numba hold codes."""
    kinds = dict(zip(lists.fields, lists.types, strict=True))
    return kinds["held_words"].dtype != kinds["words"].dtype


def _to_bits(typing: Any, single: Any) -> Any:
    """The bits of a float32 as a uint32."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.bitcast(given[0], ir.IntType(32))

    return types.uint32(types.float32), generate


to_bits: Any = intrinsic(_to_bits)
