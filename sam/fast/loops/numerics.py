"""Functions of one number for compiled loops, in the type of the number.

In float32 the hyperbolic tangent is a quotient of polynomials, so that loops over it are compiled
to vector instructions; in float64 all functions are the library's.
"""

import math
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from index.compiled import INLINE_OPTIONS, lean_inline

# tanh x = x p(x^2) / q(x^2) for |x| < 8, beyond which it is 1 to 2e-7: a least-squares fit with
# weights that even out the relative error, 6e-9 before rounding and 3e-7 after it.
_LIMIT = np.float32(8)
_P1, _P2 = np.float32(0.13444499671459198), np.float32(0.0035715997219085693)
_P3, _P4 = np.float32(2.1894689780310728e-05), np.float32(1.5230455119308317e-08)
_Q1, _Q2 = np.float32(0.4677782654762268), np.float32(0.026164449751377106)
_Q3, _Q4 = np.float32(0.00034112948924303055), np.float32(8.522462167093181e-07)
_ONE = np.float32(1)


def number(like: Any, value: float) -> Any:
    """`value` in the type of `like`; inside compiled code only, as the other functions here."""
    raise NotImplementedError


@overload(number, jit_options=INLINE_OPTIONS, strict=False)
def _number(like: Any, value: float) -> Any:
    if like == types.float32:
        return lambda like, value: np.float32(value)
    return lambda like, value: np.float64(value)


def tanh(x: Any) -> Any:
    """The hyperbolic tangent."""
    raise NotImplementedError


@overload(tanh, jit_options=INLINE_OPTIONS, strict=False)
def _tanh(x: Any) -> Any:
    if x != types.float32:
        return lambda x: math.tanh(x)

    def narrow(x: Any) -> Any:
        x = min(max(x, -_LIMIT), _LIMIT)
        y = x * x
        above = _ONE + y * (_P1 + y * (_P2 + y * (_P3 + y * _P4)))
        return x * above / (_ONE + y * (_Q1 + y * (_Q2 + y * (_Q3 + y * _Q4))))

    return narrow


@lean_inline
def sigmoid(x: Any) -> Any:
    """1 / (1 + e^-x)."""
    half = number(x, 0.5)
    return half * tanh(half * x) + half


@lean_inline
def softplus(x: Any) -> Any:
    """log(1 + e^x), x itself above 20 as in torch."""
    if x > number(x, 20.0):
        return x
    return number(x, math.log1p(math.exp(x)))


@lean_inline
def exp(x: Any) -> Any:
    """e^x."""
    return number(x, math.exp(x))


@lean_inline
def outside(slots: Any, slot_bound: int) -> bool:
    """Whether a slot is not in [-1, slot_bound)."""
    wrong = 0
    for slot in slots.flat:
        wrong += slot < -1 or slot >= slot_bound
    return wrong > 0
