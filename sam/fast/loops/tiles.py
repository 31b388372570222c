"""Inner loops of products, written as vector instructions.

The compiler turns a plain loop over columns into vector instructions, but loads and stores each sum
at each step of it. Here the sums of a tile stay in registers until they are complete. Numba has no
words for that, so the two functions below are made of LLVM's instructions, for the vectors of this
processor; LLVM takes them apart where a register is shorter.
"""

from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array


def _vector_bytes() -> int:
    """Bytes of a vector register of this processor."""
    has = llvm.get_host_cpu_features()
    return 64 if has.get("avx512f") else 32 if has.get("avx") else 16


VECTOR = _vector_bytes()
VECTORS = 3  # to a row of a tile: with 4 rows 12 sums, which hide each other's latency
PANEL = VECTOR * VECTORS  # bytes of a row of a panel, see `sam.fast.loops.matmul.packed`
ROWS = 4  # of a tile
PANELS = 4  # that a single row takes at a time, for as many sums
WORDS = 8  # that are compared with a key at a time
_FOLDED = 4  # vectors whose sums are taken together
_INDEX, _LANE = ir.IntType(64), ir.IntType(32)
_FUSED = ("contract",)


def _number(value: int) -> ir.Constant:
    return ir.Constant(_INDEX, value)


class _Place:
    """Addresses in a contiguous array, by bytes."""

    def __init__(self, context: Any, builder: Any, kind: Any, array: Any) -> None:
        view = make_array(kind)(context, builder, array)
        self._builder = builder
        self._data = builder.bitcast(view.data, ir.IntType(8).as_pointer())
        self.strides = [builder.extract_value(view.strides, i) for i in range(kind.ndim)]

    def moved(self, offset: Any) -> "_Place":
        place = object.__new__(_Place)
        place._builder, place.strides = self._builder, self.strides
        place._data = self._builder.gep(self._data, [offset])
        return place

    def at(self, kind: ir.Type, offset: int = 0) -> Any:
        """A pointer to something of a type."""
        moved = self._builder.gep(self._data, [_number(offset)]) if offset else self._data
        return self._builder.bitcast(moved, kind.as_pointer())


class _Kind:
    """Numbers and vectors of a type of numba, and what is done with them."""

    def __init__(self, builder: Any, dtype: Any) -> None:
        self._builder, self.size = builder, dtype.bitwidth // 8
        self.number: Any = ir.FloatType() if self.size == 4 else ir.DoubleType()
        self.lanes = VECTOR // self.size
        self.vector = ir.VectorType(self.number, self.lanes)
        self.zero = ir.Constant(self.vector, [ir.Constant(self.number, 0.0)] * self.lanes)

    def load(self, place: _Place, offset: int = 0) -> Any:
        """A vector; its address need be no multiple of more than a number's."""
        return self._builder.load(place.at(self.vector, offset), align=self.size)

    def spread(self, place: _Place) -> Any:
        """A vector of one number, again and again."""
        number = self._builder.load(place.at(self.number))
        none = ir.Constant(self.vector, ir.Undefined)
        first = self._builder.insert_element(none, number, ir.Constant(_LANE, 0))
        return self._builder.shuffle_vector(first, none, self.lanes_of([0] * self.lanes))

    def first_lanes(self, size: Any) -> Any:
        """A mask of the lanes that so many bytes fill."""
        lane: Any = ir.IntType(8 * self.size)
        kind = ir.VectorType(lane, self.lanes)
        each = ir.Constant(kind, [ir.Constant(lane, i * self.size) for i in range(self.lanes)])
        number = self._builder.trunc(size, lane) if self.size < 8 else size
        none = ir.Constant(kind, ir.Undefined)
        first = self._builder.insert_element(none, number, ir.Constant(_LANE, 0))
        bound = self._builder.shuffle_vector(first, none, self.lanes_of([0] * self.lanes))
        return self._builder.icmp_signed("<", each, bound)

    def load_some(self, place: _Place, mask: Any) -> Any:
        """A vector of which only the lanes of a mask are read; the others are 0."""
        pointer = place.at(self.vector)
        name = f"llvm.masked.load.v{self.lanes}f{8 * self.size}.p0"
        arguments = [pointer.type, _LANE, mask.type, self.vector]
        function = cgutils.get_or_insert_function(
            self._builder.module, ir.FunctionType(self.vector, arguments), name
        )
        align = ir.Constant(_LANE, self.size)
        return self._builder.call(function, [pointer, align, mask, self.zero])

    def fused(self, total: Any, left: Any, right: Any) -> Any:
        """total + left right."""
        product = self._builder.fmul(left, right, flags=_FUSED)
        return self._builder.fadd(total, product, flags=_FUSED)

    @staticmethod
    def lanes_of(which: Any) -> ir.Constant:
        """A constant for `shuffle_vector`."""
        lanes = [ir.Constant(_LANE, lane) for lane in which]
        return ir.Constant(ir.VectorType(_LANE, len(lanes)), lanes)


def _sums(builder: Any, count: Any, zeros: list[Any], step: Any) -> list[Any]:
    """A loop: what `step(k, sums)` makes of sums that begin with zeros, for k = 0 .. count - 1."""
    entry = builder.block
    loop, done = builder.append_basic_block("loop"), builder.append_basic_block("done")
    builder.cbranch(builder.icmp_signed(">", count, _number(0)), loop, done)
    builder.position_at_end(loop)
    k = builder.phi(_INDEX)
    sums = [builder.phi(zero.type) for zero in zeros]
    later = step(k, sums)
    after = builder.add(k, _number(1))
    for phi, before, new in zip([k, *sums], [_number(0), *zeros], [after, *later], strict=True):
        phi.add_incoming(before, entry)
        phi.add_incoming(new, loop)
    builder.cbranch(builder.icmp_signed("<", after, count), loop, done)
    builder.position_at_end(done)
    found = [builder.phi(zero.type) for zero in zeros]
    for phi, zero, new in zip(found, zeros, later, strict=True):
        phi.add_incoming(zero, entry)
        phi.add_incoming(new, loop)
    return found


def _tile(rows: int, panels: int) -> Any:
    """A function that adds `rows` rows of `left` times `panels` panels to a tile of `out`."""

    def add_tile(
        typing: Any,
        out: Any,
        row: Any,
        to: Any,
        left: Any,
        at: Any,
        packed: Any,
        panel: Any,
        columns: Any,
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            places = [_Place(context, builder, signature.args[i], given[i]) for i in (0, 3, 5)]
            (_, row, to, _, at, _, panel, columns), kind = given, _Kind(builder, out.dtype)
            view = make_array(packed)(context, builder, given[5])
            inner = builder.extract_value(view.shape, 1)
            width = PANEL // kind.size
            first = builder.mul(panel, _number(width))
            rest = builder.sub(columns, first)

            def moved(place: _Place, number: Any, column: Any) -> _Place:
                start = builder.mul(number, place.strides[0])
                return place.moved(builder.add(start, builder.mul(column, _number(kind.size))))

            result = moved(places[0], row, builder.add(to, first))
            factors = moved(places[1], row, at)
            panel_step = places[2].strides[0]
            weights = places[2].moved(builder.mul(panel, panel_step))

            def step(k: Any, sums: list[Any]) -> list[Any]:
                here = weights.moved(builder.mul(k, _number(PANEL)))
                vectors = []
                for p in range(panels):
                    part = here.moved(builder.mul(panel_step, _number(p)))
                    vectors += [kind.load(part, v * VECTOR) for v in range(VECTORS)]
                column = factors.moved(builder.mul(k, _number(kind.size)))
                later, number = [], iter(sums)
                for r in range(rows):
                    start = builder.mul(places[1].strides[0], _number(r))
                    factor = kind.spread(column.moved(start))
                    later += [kind.fused(next(number), factor, vector) for vector in vectors]
                return later

            sums = _sums(builder, inner, [kind.zero] * rows * panels * VECTORS, step)
            for r in range(rows):
                line = result.moved(builder.mul(places[0].strides[0], _number(r)))
                count = panels * VECTORS
                _add_line(builder, kind, line, sums[r * count : (r + 1) * count], rest)
            return context.get_dummy_value()

        index: Any = types.intp
        return types.void(out, index, index, left, index, packed, index, index), generate

    return intrinsic(add_tile)


def _add_line(builder: Any, kind: _Kind, line: _Place, sums: list[Any], columns: Any) -> None:
    """Adds a row of a tile, as far as there are columns."""
    width = len(sums) * kind.lanes
    with builder.if_else(builder.icmp_signed(">=", columns, _number(width)), likely=True) as (
        whole,
        part,
    ):
        with whole:
            for v, total in enumerate(sums):
                new = builder.fadd(kind.load(line, v * VECTOR), total)
                builder.store(new, line.at(kind.vector, v * VECTOR), align=kind.size)
        with part:
            room = cgutils.alloca_once(builder, ir.ArrayType(kind.vector, len(sums)))
            numbers = builder.bitcast(room, kind.number.as_pointer())
            for v, total in enumerate(sums):
                builder.store(total, builder.gep(room, [_number(0), _number(v)]))
            with cgutils.for_range(builder, columns) as loop:
                number = builder.load(builder.gep(numbers, [loop.index]))
                where = line.moved(builder.mul(loop.index, _number(kind.size))).at(kind.number)
                builder.store(builder.fadd(builder.load(where), number), where)


# Add to out[row + r, to + panel width ...] the product of left[row + r, at ...] with panels from
# `panel` on, packed [panels, k, width]; all arrays with contiguous rows.
add_four_rows: Any = _tile(ROWS, 1)
add_row: Any = _tile(1, 1)
add_row_by_four: Any = _tile(1, PANELS)


def _put_dots(typing: Any, key: Any, words: Any, at: Any, out: Any) -> Any:
    """out[at + i] = sum_j key[j] words[at + i, j] for i < WORDS; key [W], words [R, W]."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        kind, (_, _, at, _) = _Kind(builder, key.dtype), given
        left, right, result = (
            _Place(context, builder, signature.args[i], given[i]) for i in (0, 1, 3)
        )
        step = right.strides[0]
        right = right.moved(builder.mul(at, step))
        result = result.moved(builder.mul(at, _number(kind.size)))
        count = builder.lshr(step, _number(VECTOR.bit_length() - 1))
        rest = builder.and_(step, _number(VECTOR - 1))

        def add(k: Any, sums: list[Any], load: Any = kind.load) -> list[Any]:
            offset = builder.mul(k, _number(VECTOR))
            factor, column, later = load(left.moved(offset)), right.moved(offset), []
            for i, total in enumerate(sums):
                word = load(column.moved(builder.mul(step, _number(i))))
                later.append(kind.fused(total, factor, word))
            return later

        sums = _sums(builder, count, [kind.zero] * WORDS, add)
        before = builder.block
        with builder.if_then(builder.icmp_signed(">", rest, _number(0)), likely=False):
            mask = kind.first_lanes(rest)
            later = add(count, sums, lambda place: kind.load_some(place, mask))
            inside = builder.block
        found = []
        for total, new in zip(sums, later, strict=True):
            phi = builder.phi(total.type)
            phi.add_incoming(total, before)
            phi.add_incoming(new, inside)
            found.append(phi)
        for first in range(0, WORDS, _FOLDED):
            total = _folded(builder, kind, found[first : first + _FOLDED])
            where = result.at(total.type, first * kind.size)
            builder.store(total, where, align=kind.size)
        return context.get_dummy_value()

    return types.void(key, words, types.intp, out), generate


def _folded(builder: Any, kind: _Kind, sums: list[Any]) -> Any:
    """A vector with the sum over the lanes of each of four vectors."""

    def picked(low: Any, high: Any, which: Any) -> Any:
        return builder.shuffle_vector(low, high, kind.lanes_of(which))

    def pairs(low: Any, high: Any) -> Any:
        """Sums of neighbours; in each group of four lanes those of `low` come first."""
        starts = range(0, lanes, group)
        even = [i for at in starts for i in (*range(at, at + group, 2), *others(at))]
        return builder.fadd(picked(low, high, even), picked(low, high, [i + 1 for i in even]))

    def others(at: int) -> range:
        return range(lanes + at, lanes + at + group, 2)

    lanes = kind.lanes
    group = min(lanes, _FOLDED)
    low, high = pairs(*sums[:2]), pairs(*sums[2:])
    if lanes < _FOLDED:
        return picked(low, high, range(_FOLDED))
    total = pairs(low, high)
    while (lanes := lanes // 2) >= _FOLDED:
        halves = range(lanes), range(lanes, 2 * lanes)
        total = builder.fadd(*(picked(total, total, half) for half in halves))
    return total


# Put scalar products of a key with words, see `_put_dots`.
put_dots: Any = intrinsic(_put_dots)
