"""Random bit vectors, and items that all differ within a sequence."""

import torch
from torch import Tensor

# At most this many bits of an item make its code, which must fit into an int64.
_CODE_BITS = 62


def random_bits(size: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Draws independent fair bits, 0 or 1 in float32."""
    return torch.randint(2, size, generator=generator, dtype=torch.float32)


def count_codes(bits: int) -> int:
    """The number of different items of `bits` bits that `distinct_bits` can draw."""
    return 2 ** min(bits, _CODE_BITS)


def distinct_bits(count: int, batch_size: int, bits: int, generator: torch.Generator) -> Tensor:
    """Draws `count` different items per sequence, all such choices equally likely.

    An item's first 62 bits are the binary digits of a code, and the codes of a sequence differ.
    Repeated codes are drawn again, which takes few rounds. Where the items use up a good part of
    all codes, the first ones of a random permutation are taken instead.

    Args:
        count: items in a sequence.
        batch_size: sequences.
        bits: bits of an item.
        generator: source of all randomness, on the CPU.

    Returns:
        The items, [count, batch_size, bits] float32 of 0 and 1.

    Raises:
        ValueError: there are fewer than `count` different items.

    Cost: O(count log(count) batch_size) expected.
    """
    codes_in_all = count_codes(bits)
    if count > codes_in_all:
        raise ValueError(
            f"level: expected at most {codes_in_all} different items of {bits} bits, got {count}"
        )
    codes = distinct_numbers(count, batch_size, codes_in_all, generator)
    digits = torch.arange(min(bits, _CODE_BITS))
    items = ((codes.unsqueeze(-1) >> digits) & 1).float()
    if bits > _CODE_BITS:
        rest = random_bits((count, batch_size, bits - _CODE_BITS), generator)
        items = torch.cat([items, rest], dim=-1)
    return items


def permutations(count: int, batch_size: int, generator: torch.Generator) -> Tensor:
    """Draws a permutation of `count` numbers for each sequence, [count, batch_size] int64."""
    return torch.rand((count, batch_size), generator=generator).argsort(dim=0)


def distinct_numbers(count: int, batch_size: int, below: int, generator: torch.Generator) -> Tensor:
    """Draws `count` different numbers per sequence, all such choices equally likely.

    Returns:
        The numbers, each from 0 to `below` - 1, [count, batch_size] int64.

    Cost: O(count log(count) batch_size) expected.
    """
    if below <= 4 * count:
        return permutations(below, batch_size, generator)[:count]
    return _redraw_repeats(count, batch_size, below, generator)


def _redraw_repeats(
    count: int, batch_size: int, codes_in_all: int, generator: torch.Generator
) -> Tensor:
    size = (count, batch_size)
    codes = torch.randint(codes_in_all, size, generator=generator)
    repeated = _repeats(codes)
    while repeated.any():
        fresh = torch.randint(codes_in_all, size, generator=generator)
        codes = torch.where(repeated, fresh, codes)
        repeated = _repeats(codes)
    return codes


def _repeats(codes: Tensor) -> Tensor:
    """Marks every code that has occurred earlier in its column, [count, batch_size]."""
    ordered, origin = codes.sort(dim=0, stable=True)
    same = torch.zeros_like(codes, dtype=torch.bool)
    same[1:] = ordered[1:] == ordered[:-1]
    return torch.zeros_like(same).scatter_(0, origin, same)
