"""Tiles of a product: four rows times three vectors of columns, whose sums stay in registers."""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from index.llvm.vector_code import VECTOR, Kind, Place, index_of, sums_over

VECTORS = 3  # to a row of a tile: with 4 rows 12 sums, which hide each other's latency
PANEL = VECTOR * VECTORS  # bytes of a row of a panel, see `sam.fast.packing`
ROWS = 4  # of a tile
PANELS = 4  # that a single row takes at a time, for as many sums


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
            places = [Place(context, builder, signature.args[i], given[i]) for i in (0, 3, 5)]
            (_, row, to, _, at, _, panel, columns), kind = given, Kind(builder, out.dtype)
            inner = places[2].shape[1]
            width = PANEL // kind.size
            first = builder.mul(panel, index_of(width))
            rest = builder.sub(columns, first)

            def moved(place: Place, number: Any, column: Any) -> Place:
                start = builder.mul(number, place.strides[0])
                return place.moved(builder.add(start, builder.mul(column, index_of(kind.size))))

            result = moved(places[0], row, builder.add(to, first))
            factors = moved(places[1], row, at)
            panel_step = places[2].strides[0]
            weights = places[2].moved(builder.mul(panel, panel_step))

            def step(k: Any, sums: list[Any]) -> list[Any]:
                here = weights.moved(builder.mul(k, index_of(PANEL)))
                vectors = []
                for p in range(panels):
                    part = here.moved(builder.mul(panel_step, index_of(p)))
                    vectors += [kind.load(part, v * VECTOR) for v in range(VECTORS)]
                column = factors.moved(builder.mul(k, index_of(kind.size)))
                later, number = [], iter(sums)
                for r in range(rows):
                    start = builder.mul(places[1].strides[0], index_of(r))
                    factor = kind.spread(column.moved(start))
                    later += [kind.fused(next(number), factor, vector) for vector in vectors]
                return later

            sums = sums_over(builder, inner, [kind.zero] * rows * panels * VECTORS, step)
            for r in range(rows):
                line = result.moved(builder.mul(places[0].strides[0], index_of(r)))
                count = panels * VECTORS
                _add_line(builder, kind, line, sums[r * count : (r + 1) * count], rest)
            return context.get_dummy_value()

        index: Any = types.intp
        return types.void(out, index, index, left, index, packed, index, index), generate

    return intrinsic(add_tile)


def _add_line(builder: Any, kind: Kind, line: Place, sums: list[Any], columns: Any) -> None:
    """Adds a row of a tile, as far as there are columns."""
    width = len(sums) * kind.lanes
    with builder.if_else(builder.icmp_signed(">=", columns, index_of(width)), likely=True) as (
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
                builder.store(total, builder.gep(room, [index_of(0), index_of(v)]))
            with cgutils.for_range(builder, columns) as loop:
                number = builder.load(builder.gep(numbers, [loop.index]))
                where = line.moved(builder.mul(loop.index, index_of(kind.size))).at(kind.number)
                builder.store(builder.fadd(builder.load(where), number), where)


# Add to out[row + r, to + panel width ...] the product of left[row + r, at ...] with panels from
# `panel` on, packed [panels, k, width]; all arrays with contiguous rows.
add_four_rows: Any = _tile(ROWS, 1)
add_row: Any = _tile(1, 1)
add_row_by_four: Any = _tile(1, PANELS)
