"""Pieces of LLVM's code, of which `tiles` and `dots` make functions that numba has no words for.

The compiler turns a plain loop into vector instructions, but loads and stores each sum at each step
of it. Here sums stay in registers until they are complete. The code is made for the vectors of this
processor; LLVM takes them apart where a register is shorter.
"""

from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core import cgutils
from numba.np.arrayobj import make_array


def _vector_bytes() -> int:
    """Bytes of a vector register of this processor."""
    has = llvm.get_host_cpu_features()
    return 64 if has.get("avx512f") else 32 if has.get("avx") else 16


VECTOR = _vector_bytes()
_INDEX, _LANE = ir.IntType(64), ir.IntType(32)
_FUSED = ("contract",)


def index_of(value: int) -> ir.Constant:
    """A constant of the type of indices."""
    return ir.Constant(_INDEX, value)


def lanes_of(which: Any) -> ir.Constant:
    """A constant for `shuffle_vector`."""
    lanes = [ir.Constant(_LANE, lane) for lane in which]
    return ir.Constant(ir.VectorType(_LANE, len(lanes)), lanes)


def spread(builder: Any, number: Any, count: int) -> Any:
    """A vector of a number, so many times."""
    none = ir.Constant(ir.VectorType(number.type, count), ir.Undefined)
    first = builder.insert_element(none, number, ir.Constant(_LANE, 0))
    return builder.shuffle_vector(first, none, lanes_of([0] * count))


def masked_load(builder: Any, pointer: Any, mask: Any, others: Any, align: int) -> Any:
    """The lanes of a mask; `others` in the places of those that are not read."""
    given = [pointer, ir.Constant(_LANE, align), mask, others]
    return _masked(builder, "load", others.type, others.type, given)


def masked_store(builder: Any, vector: Any, pointer: Any, mask: Any, align: int) -> None:
    """Writes the lanes of a mask."""
    given = [vector, pointer, ir.Constant(_LANE, align), mask]
    _masked(builder, "store", vector.type, ir.VoidType(), given)


def _masked(builder: Any, what: str, kind: Any, result: ir.Type, given: list[Any]) -> Any:
    element = kind.element
    is_whole = isinstance(element, ir.IntType)
    short = f"i{element.width}" if is_whole else f"f{32 if element == ir.FloatType() else 64}"
    function = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(result, [each.type for each in given]),
        f"llvm.masked.{what}.v{kind.count}{short}.p0",
    )
    return builder.call(function, given)


class Place:
    """Addresses in a contiguous array, by bytes."""

    def __init__(self, context: Any, builder: Any, kind: Any, array: Any) -> None:
        view = make_array(kind)(context, builder, array)
        self._builder = builder
        self._data = builder.bitcast(view.data, ir.IntType(8).as_pointer())
        self.shape, self.strides = (
            [builder.extract_value(each, i) for i in range(kind.ndim)]
            for each in (view.shape, view.strides)
        )

    def moved(self, offset: Any) -> "Place":
        """The place so many bytes further on."""
        place = object.__new__(Place)
        place._builder, place.shape, place.strides = self._builder, self.shape, self.strides
        place._data = self._builder.gep(self._data, [offset])
        return place

    def at(self, kind: ir.Type, offset: int = 0) -> Any:
        """A pointer to something of a type."""
        moved = self._builder.gep(self._data, [index_of(offset)]) if offset else self._data
        return self._builder.bitcast(moved, kind.as_pointer())


class Kind:
    """Numbers and vectors of a type of numba, and what is done with them."""

    def __init__(self, builder: Any, dtype: Any) -> None:
        self._builder, self.size = builder, dtype.bitwidth // 8
        self.number: Any = ir.FloatType() if self.size == 4 else ir.DoubleType()
        self.lanes = VECTOR // self.size
        self.vector = ir.VectorType(self.number, self.lanes)
        self.zero = ir.Constant(self.vector, [ir.Constant(self.number, 0.0)] * self.lanes)

    def load(self, place: Place, offset: int = 0) -> Any:
        """A vector; its address need be no multiple of more than a number's."""
        return self._builder.load(place.at(self.vector, offset), align=self.size)

    def spread(self, place: Place) -> Any:
        """A vector of one number, again and again."""
        return self.spread_value(self._builder.load(place.at(self.number)))

    def spread_value(self, number: Any) -> Any:
        """A vector of a number, again and again."""
        return spread(self._builder, number, self.lanes)

    def first_lanes(self, size: Any) -> Any:
        """A mask of the lanes that so many bytes fill."""
        lane: Any = ir.IntType(8 * self.size)
        kind = ir.VectorType(lane, self.lanes)
        each = ir.Constant(kind, [ir.Constant(lane, i * self.size) for i in range(self.lanes)])
        number = self._builder.trunc(size, lane) if self.size < 8 else size
        return self._builder.icmp_signed("<", each, spread(self._builder, number, self.lanes))

    def load_some(self, place: Place, mask: Any) -> Any:
        """A vector of which only the lanes of a mask are read; the others are 0."""
        return masked_load(self._builder, place.at(self.vector), mask, self.zero, self.size)

    def fused(self, total: Any, left: Any, right: Any) -> Any:
        """total + left right."""
        product = self._builder.fmul(left, right, flags=_FUSED)
        return self._builder.fadd(total, product, flags=_FUSED)


def sums_over(builder: Any, count: Any, zeros: list[Any], step: Any) -> list[Any]:
    """A loop: what `step(k, sums)` makes of sums that begin with zeros, for k = 0 .. count - 1."""
    entry = builder.block
    loop, done = builder.append_basic_block("loop"), builder.append_basic_block("done")
    builder.cbranch(builder.icmp_signed(">", count, index_of(0)), loop, done)
    builder.position_at_end(loop)
    k = builder.phi(_INDEX)
    sums = [builder.phi(zero.type) for zero in zeros]
    later = step(k, sums)
    after = builder.add(k, index_of(1))
    for phi, before, new in zip([k, *sums], [index_of(0), *zeros], [after, *later], strict=True):
        phi.add_incoming(before, entry)
        phi.add_incoming(new, loop)
    builder.cbranch(builder.icmp_signed("<", after, count), loop, done)
    builder.position_at_end(done)
    found = [builder.phi(zero.type) for zero in zeros]
    for phi, zero, new in zip(found, zeros, later, strict=True):
        phi.add_incoming(zero, entry)
        phi.add_incoming(new, loop)
    return found
