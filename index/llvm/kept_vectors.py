"""Vectors of numbers as they are kept, see `index.storage`, for the code in `index.llvm.dots`.

The type of the array says how: floats are themselves, int8 integers that a scale multiplies, int16
the bits of a float16, and uint16 those of a bfloat16.
"""

import platform
from typing import Any

from llvmlite import binding, ir
from numba.core import cgutils, config, types

from index.llvm.vector_code import Kind, Place

_SINGLE = ir.FloatType()


def knows_half() -> bool:
    """Whether the processor has an instruction for float16; without one LLVM calls a function."""
    settings: Any = config
    if settings.CPU_NAME is not None or settings.CPU_FEATURES is not None:
        return False  # another processor is compiled for
    return platform.machine() in ("arm64", "aarch64") or bool(
        binding.get_host_cpu_features().get("f16c")
    )


def single_of_half(build: Any, bits: Any, lanes: int | None = None) -> Any:
    """The code of float32 numbers, given the bits of finite float16 ones.

    Without an instruction for it: the exponent counts from 15, and from 127 in float32; with the
    lowest one it is another format, the number of steps of 2^-24.

    Args:
        build: builder of the code.
        bits: 32 of them, the lower 16 of which count.
        lanes: of a vector; without it one number.
    """

    def kind(number: Any) -> Any:
        return number if lanes is None else ir.VectorType(number, lanes)

    def all_of(value: int) -> ir.Constant:
        return _constant(ir.IntType(32), value, lanes)

    words, singles = kind(ir.IntType(32)), kind(_SINGLE)
    if knows_half():
        halves = build.bitcast(build.trunc(bits, kind(ir.IntType(16))), kind(ir.HalfType()))
        return build.fpext(halves, singles)
    rest = build.and_(bits, all_of(0x7FFF))
    sign = build.shl(build.and_(bits, all_of(0x8000)), all_of(16))
    usual = build.add(build.shl(rest, all_of(13)), all_of((127 - 15) << 23))
    steps = build.fmul(build.sitofp(rest, singles), _constant(_SINGLE, 2.0**-24, lanes))
    is_small = build.icmp_signed("<", rest, all_of(0x400))
    size = build.select(is_small, build.bitcast(steps, words), usual)
    return build.bitcast(build.or_(size, sign), singles)


class KeptVectors:
    """Reads rows of an array as vectors of a `Kind`.

    Args:
        builder: of the code.
        kind: what they are read as.
        dtype: of the array, a type of numba.
    """

    def __init__(self, builder: Any, kind: Kind, dtype: Any) -> None:
        self._builder, self._kind, self._dtype = builder, kind, dtype
        self.size = dtype.bitwidth // 8
        self._element = _element(dtype)
        self._vector = ir.VectorType(self._element, kind.lanes)

    @property
    def has_scale(self) -> bool:
        """Whether a float32 behind the numbers of a row multiplies them."""
        return self._dtype == types.int8

    def load(self, place: Place) -> Any:
        """A vector of the kind, before the scale."""
        return self._read(self._builder.load(place.at(self._vector), align=self.size))

    def load_some(self, place: Place, mask: Any) -> Any:
        """A vector of which only the lanes of a mask are read; the others are 0."""
        pointer, lane = place.at(self._vector), ir.IntType(32)
        code = f"f{8 * self.size}" if isinstance(self._dtype, types.Float) else f"i{8 * self.size}"
        function = cgutils.get_or_insert_function(
            self._builder.module,
            ir.FunctionType(self._vector, [pointer.type, lane, mask.type, self._vector]),
            f"llvm.masked.load.v{self._kind.lanes}{code}.p0",
        )
        none = ir.Constant(self._vector, [ir.Constant(self._element, 0)] * self._kind.lanes)
        align = ir.Constant(lane, self.size)
        return self._read(self._builder.call(function, [pointer, align, mask, none]))

    def scale(self, place: Place) -> Any:
        """The scale that stands at a place."""
        one = self._builder.load(place.at(_SINGLE), align=1)
        return one if self._kind.size == 4 else self._builder.fpext(one, self._kind.number)

    def _read(self, kept: Any) -> Any:
        """What kept numbers stand for, as numbers of the kind."""
        build, lanes = self._builder, self._kind.lanes
        singles = ir.VectorType(_SINGLE, lanes)
        if isinstance(self._dtype, types.Float):
            found = kept
        elif self._dtype == types.int8:
            return build.sitofp(kept, self._kind.vector)
        elif self._dtype == types.uint16:
            words = ir.VectorType(ir.IntType(32), lanes)
            found = build.bitcast(
                build.shl(build.zext(kept, words), _constant(ir.IntType(32), 16, lanes)), singles
            )
        else:
            bits = build.zext(kept, ir.VectorType(ir.IntType(32), lanes))
            found = single_of_half(build, bits, lanes)
        return found if found.type == self._kind.vector else build.fpext(found, self._kind.vector)


def _element(dtype: Any) -> Any:
    if isinstance(dtype, types.Float):
        return ir.FloatType() if dtype.bitwidth == 32 else ir.DoubleType()
    return ir.IntType(dtype.bitwidth)


def _constant(kind: Any, value: float, lanes: int | None) -> ir.Constant:
    """A number, or a vector of it."""
    one = ir.Constant(kind, value)
    return one if lanes is None else ir.Constant(ir.VectorType(kind, lanes), [one] * lanes)
