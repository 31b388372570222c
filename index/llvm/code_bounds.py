"""Upper bounds of scores for blocks of int8 codes, in integers: see `index.list_copies.CodeCopies`.

A query's numbers come as int16. The processor multiplies pairs of 16 bits and adds up each pair, in
one instruction for all words of a block, so that no lanes have to be added up in the end.
"""

from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core import cgutils, config, types
from numba.extending import intrinsic

from index.list_copies import BLOCK
from index.llvm.vector_code import Place, index_of, sums_over

_INT, _SHORT, _BYTE, _SINGLE = ir.IntType(32), ir.IntType(16), ir.IntType(8), ir.FloatType()
_BYTES = 2 * BLOCK  # of a pair of numbers of all words


def _instruction() -> tuple[str, int] | None:
    """What multiplies and adds pairs of int16 to int32, and how many sums it makes; or None."""
    settings: Any = config
    has = llvm.get_host_cpu_features()
    if settings.CPU_NAME is not None or settings.CPU_FEATURES is not None:
        return None  # another processor is compiled for
    if has.get("avx512bw"):
        return "llvm.x86.avx512.pmaddw.d.512", 16
    if has.get("avx2"):
        return "llvm.x86.avx2.pmadd.wd", 8
    return None


def _lanes(kind: ir.Type, first: int, count: int) -> ir.Constant:
    numbers = [ir.Constant(_INT, i) for i in range(first, first + count)]
    return ir.Constant(ir.VectorType(_INT, len(numbers)), numbers)


def _sums_of_pairs(builder: Any, codes: Any, pair: Any) -> Any:
    """<16 x i32> c_0 q_0 + c_1 q_1, of codes <32 x i8> and a pair q, two int16 in an int32."""
    none = ir.Constant(ir.VectorType(_INT, BLOCK), ir.Undefined)
    first = builder.insert_element(none, pair, ir.Constant(_INT, 0))
    zeros = ir.Constant(ir.VectorType(_INT, BLOCK), [ir.Constant(_INT, 0)] * BLOCK)
    pairs = builder.shuffle_vector(first, none, zeros)
    how = _instruction()
    if how is None:
        return _in_steps(builder, codes, pairs)
    name, lanes = how
    shorts = ir.VectorType(_SHORT, _BYTES)
    wide, factors = builder.sext(codes, shorts), builder.bitcast(pairs, shorts)
    result, part = ir.VectorType(_INT, lanes), ir.VectorType(_SHORT, 2 * lanes)
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(result, [part, part]), name
    )
    if lanes == BLOCK:
        return builder.call(function, [wide, factors])
    halves = []
    for begin in range(0, _BYTES, 2 * lanes):
        which = _lanes(part, begin, 2 * lanes)
        given = [builder.shuffle_vector(each, each, which) for each in (wide, factors)]
        halves.append(builder.call(function, given))
    return builder.shuffle_vector(*halves, _lanes(result, 0, BLOCK))


def _in_steps(builder: Any, codes: Any, pairs: Any) -> Any:
    """`_sums_of_pairs` in instructions that every processor has."""
    both = builder.bitcast(codes, ir.VectorType(_SHORT, BLOCK))
    both = builder.sext(both, pairs.type)

    def number(packed: Any, bits: int, second: bool) -> Any:
        left = ir.Constant(_INT, 32 - (2 * bits if second else bits))
        right = ir.Constant(_INT, 32 - bits)
        spread = [ir.Constant(pairs.type, [one] * BLOCK) for one in (left, right)]
        return builder.ashr(builder.shl(packed, spread[0]), spread[1])

    products = [
        builder.mul(number(both, 8, second), number(pairs, 16, second)) for second in (False, True)
    ]
    return builder.add(*products)


def _generator(half: Any, out: Any, place_of: dict[str, int]) -> Any:
    """The code of both functions below: out[i] = (factor sum_w q_w c_w + margin) scale + half.

    Args:
        half: its type, or None for 0; then there is a margin.
        out: the type of the result.
        place_of: where in the arguments each stands, by name.
    """

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        def place(name: str) -> Place:
            at = place_of[name]
            return Place(context, builder, signature.args[at], given[at])

        query, held, lengths, result = map(place, ("pairs", "codes", "scales", "out"))
        block = given[place_of["block"]]
        start = held.moved(builder.mul(block, held.strides[0]))
        vector = ir.VectorType(_INT, BLOCK)
        zero = ir.Constant(vector, [ir.Constant(_INT, 0)] * BLOCK)
        bytes_kind = ir.VectorType(_BYTE, _BYTES)

        def add(k: Any, sums: list[Any]) -> list[Any]:
            pair = builder.load(query.moved(builder.mul(k, index_of(4))).at(_INT))
            place = start.moved(builder.mul(k, index_of(_BYTES)))
            some = builder.load(place.at(bytes_kind), align=1)
            return [builder.add(sums[0], _sums_of_pairs(builder, some, pair))]

        (total,) = sums_over(builder, query.shape[0], [zero], add)
        number = _SINGLE if out.dtype.bitwidth == 32 else ir.DoubleType()
        floats = ir.VectorType(number, BLOCK)

        def spread(name: str) -> Any:
            vector = ir.Constant(floats, ir.Undefined)
            one = given[place_of[name]]
            first = builder.insert_element(vector, one, ir.Constant(_INT, 0))
            zeros = ir.Constant(ir.VectorType(_INT, BLOCK), [ir.Constant(_INT, 0)] * BLOCK)
            return builder.shuffle_vector(first, vector, zeros)

        def of_block(singles: Place) -> Any:
            at = singles.moved(builder.mul(block, index_of(4 * BLOCK)))
            some = builder.load(at.at(ir.VectorType(_SINGLE, BLOCK)), align=4)
            return some if number == _SINGLE else builder.fpext(some, floats)

        score = builder.fmul(builder.sitofp(total, floats), spread("factor"))
        if half is None:
            score = builder.fmul(builder.fadd(score, spread("margin")), of_block(lengths))
        else:
            score = builder.fmul(score, of_block(lengths))
            score = builder.fadd(score, of_block(place("half")))
        builder.store(score, result.at(floats), align=out.dtype.bitwidth // 8)
        above = builder.fcmp_ordered(">", score, spread("least"))
        return builder.zext(builder.bitcast(above, ir.IntType(BLOCK)), index_of(0).type)

    return generate


def _put_code_bounds(
    typing: Any,
    pairs: Any,
    codes: Any,
    scales: Any,
    block: Any,
    factor: Any,
    margin: Any,
    least: Any,
    out: Any,
) -> Any:
    """out[i] = (factor sum_w q_w c_w + margin) scale of the i-th word of a block, for i < 16.

    pairs: q_w and q_{w+1} in an int32, [ceil(W / 2)]; codes and scales as in `CodeCopies`; factor,
    margin, least and out [16] are floats of one type. Returns an int64 whose bit i says whether
    out[i] > least.
    """
    names = "pairs", "codes", "scales", "block", "factor", "margin", "least", "out"
    floats = out.dtype
    numbers = types.intp, floats, floats, floats
    generate = _generator(None, out, {name: i for i, name in enumerate(names)})
    return types.intp(pairs, codes, scales, *numbers, out), generate


def _put_code_scores(
    typing: Any,
    pairs: Any,
    codes: Any,
    scales: Any,
    half: Any,
    block: Any,
    factor: Any,
    least: Any,
    out: Any,
) -> Any:
    """out[i] = factor sum_w q_w c_w scale + half of the i-th word of a block, for i < 16.

    half: float32, as many as scales; the others, and what is returned, as of `put_code_bounds`.
    """
    names = "pairs", "codes", "scales", "half", "block", "factor", "least", "out"
    numbers = types.intp, out.dtype, out.dtype
    generate = _generator(half, out, {name: i for i, name in enumerate(names)})
    return types.intp(pairs, codes, scales, half, *numbers, out), generate


put_code_bounds: Any = intrinsic(_put_code_bounds)
put_code_scores: Any = intrinsic(_put_code_scores)
