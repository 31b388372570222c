"""Numbers as their difference from others, in units of the last digit.

A journal knows nearly what a step has computed, and keeps what is missing to the last bit: mostly
nothing, else a few numbers and where they stand, or a byte each.
"""

from typing import NamedTuple

import torch
from torch import Tensor

_WHOLE = {torch.float32: torch.int32, torch.float64: torch.int64}
_NARROW = torch.int8, torch.int16, torch.int32


class Digits(NamedTuple):
    """Differences of numbers from others."""

    shape: tuple[int, ...]  # of the numbers
    places: Tensor | None  # of those that differ, laid out flat; None if `values` are of all
    values: Tensor


def difference(found: Tensor, expected: Tensor) -> Digits | None:
    """What takes `expected` to `found`; None if they are the same to the last bit.

    Args:
        found, expected: float32 or float64, of one shape.

    Cost: O(numbers). Away from the CPU it waits for the device.
    """
    kind = _WHOLE[found.dtype]
    every = (found.view(kind) - expected.view(kind)).flatten()
    places = every.nonzero()[:, 0]
    if len(places) == 0:
        return None
    some = _narrow(every.index_select(0, places))
    places = places.to(torch.int16 if len(every) <= 2**15 else torch.int64)
    if len(every) <= 2**31 and places.dtype == torch.int64:
        places = places.to(torch.int32)
    shape = tuple(found.shape)
    if places.nbytes + some.nbytes < len(every) * some.element_size():
        return Digits(shape, places, some)
    return Digits(shape, None, every.to(some.dtype))


def expanded(digits: Digits) -> Tensor:
    """The differences of all numbers, integers of the shape of these."""
    if digits.places is None:
        return digits.values.view(digits.shape)
    every = digits.values.new_zeros(digits.shape)
    every.view(-1)[digits.places.long()] = digits.values
    return every


def corrected(expected: Tensor, differences: Tensor | None) -> Tensor:
    """Numbers moved by their `expanded` differences; None is none."""
    if differences is None:
        return expected
    kind = _WHOLE[expected.dtype]
    return (expected.view(kind) + differences).to(kind).view(expected.dtype)


def _narrow(numbers: Tensor) -> Tensor:
    """The same integers in the narrowest type that has them."""
    low, high = (int(value) for value in numbers.aminmax())
    for kind in _NARROW:
        limits = torch.iinfo(kind)
        if limits.min <= low and high <= limits.max:
            return numbers.to(kind)
    return numbers
