"""Sixteen numbers compared with one at a time, which leaves a bit of each."""

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from index.llvm.vector_code import Place, index_of, spread

AT_ONCE = 16


def _mask_from(typing: Any, values: Any, begin: Any, least: Any) -> Any:
    """An int64 whose bit i says whether values[begin + i] >= least, for i < 16.

    values is contiguous, and least of its type, float32 or float64.
    """

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        place = Place(context, builder, signature.args[0], given[0])
        size = values.dtype.bitwidth // 8
        number = ir.FloatType() if size == 4 else ir.DoubleType()
        vector = ir.VectorType(number, AT_ONCE)
        start = place.moved(builder.mul(given[1], index_of(size)))
        some = builder.load(start.at(vector), align=size)
        bound = spread(builder, given[2], AT_ONCE)
        above = builder.fcmp_ordered(">=", some, bound)
        return builder.zext(builder.bitcast(above, ir.IntType(AT_ONCE)), index_of(0).type)

    return types.intp(values, types.intp, values.dtype), generate


mask_from: Any = intrinsic(_mask_from)


def _lowest_bit(typing: Any, mask: Any) -> Any:
    """Which is the lowest bit of an int64 that is not 0."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.cttz(given[0], ir.Constant(ir.IntType(1), 1))

    return types.intp(types.intp), generate


lowest_bit: Any = intrinsic(_lowest_bit)
