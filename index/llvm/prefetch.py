"""Prefetching: asks the processor for words before they are needed, by an instruction of its own.

In a large memory most of a search is waiting for words at random places. Prefetched some words
ahead, they arrive while others are compared.
"""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from index.compiled import lean_inline

_READ, _KEEP, _DATA = 0, 3, 1
_LINE = 64  # bytes of a line of the cache


def _prefetch(typing: Any, array: Any, row: Any, number: Any) -> Any:
    """Asks for the cache line with number `number` of ``array[row]``.

    The array is contiguous, the others are int64. Nothing is computed or changed, and the place may
    lie outside of the array.
    """
    whole: Any = types.intp

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        kind = signature.args[0]
        view = make_array(kind)(context, builder, given[0])
        stride = cgutils.unpack_tuple(builder, view.strides)[0]
        start = builder.add(builder.mul(given[1], stride), builder.mul(given[2], view.itemsize))
        pointer, number_type = ir.IntType(8).as_pointer(), ir.IntType(32)
        number_of_bytes = builder.ptrtoint(view.data, ir.IntType(whole.bitwidth))
        address = builder.add(number_of_bytes, start)
        function = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(ir.VoidType(), [pointer, number_type, number_type, number_type]),
            "llvm.prefetch.p0",
        )
        how = (ir.Constant(number_type, one) for one in (_READ, _KEEP, _DATA))
        builder.call(function, [builder.inttoptr(address, pointer), *how])
        return context.get_dummy_value()

    return types.void(array, whole, whole), generate


prefetch: Any = intrinsic(_prefetch)


@lean_inline
def prefetch_numbers(rows, at, first, count):
    """Asks for so many numbers of rows[at], from one on, line by line."""
    for number in range(first, first + count, max(1, _LINE // rows.itemsize)):
        prefetch(rows, at, number)
