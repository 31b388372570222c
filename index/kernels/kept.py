"""Reads words as they are kept, see `index.storage`, number by number in registers.

The type of the array says how: floats are themselves, int8 integers that a scale multiplies, int16
the bits of a float16, and uint16 those of a bfloat16.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from index.compiled import INLINE_OPTIONS
from index.llvm.kept_vectors import single_of_half

_SINGLE = ir.FloatType()


def number(kept: Any) -> Any:
    """A number of a word, before the scale; inside compiled code only, as `scale_of`."""
    raise NotImplementedError


@overload(number, jit_options=INLINE_OPTIONS, strict=False)
def _number(kept: Any) -> Any:
    if isinstance(kept, types.Float):
        return lambda kept: kept
    if kept == types.int8:
        return lambda kept: np.float32(kept)
    if kept == types.uint16:
        return lambda kept: from_bits(np.uint32(kept) << np.uint32(16))
    return lambda kept: from_half(np.uint32(kept))


def scale_of(word: Any, like: Any) -> Any:
    """What multiplies all numbers of a word; `like` is a vector of as many floats, and its type."""
    raise NotImplementedError


@overload(scale_of, jit_options=INLINE_OPTIONS, strict=False)
def _scale_of(word: Any, like: Any) -> Any:
    if word.dtype != types.int8:
        return lambda word, like: like.dtype.type(1)

    def scale(word: Any, like: Any) -> Any:
        bits = np.uint32(0)
        for byte in range(4):
            one = np.uint32(word[len(like) + byte]) & np.uint32(0xFF)
            bits |= one << np.uint32(8 * byte)
        return like.dtype.type(from_bits(bits))

    return scale


def _from_bits(typing: Any, bits: Any) -> Any:
    """The float32 with these bits, a uint32."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.bitcast(given[0], _SINGLE)

    return types.float32(types.uint32), generate


def _from_half(typing: Any, bits: Any) -> Any:
    """The float16 whose bits are the lower 16 of a uint32, as a float32; it is finite."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return single_of_half(builder, given[0])

    return types.float32(types.uint32), generate


from_bits: Any = intrinsic(_from_bits)
from_half: Any = intrinsic(_from_half)
