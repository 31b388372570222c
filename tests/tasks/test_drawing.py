"""Distinct items: really distinct, and no choice of them favoured."""

from collections import Counter
from itertools import permutations

import pytest
import torch

from sam.tasks.drawing import count_codes, distinct_bits, random_bits


@pytest.mark.parametrize(
    ("count", "bits"),
    [(1, 1), (2, 1), (4, 2), (5, 3), (8, 3), (200, 10), (300, 18), (40, 62), (40, 96)],
)
def test_items_differ_within_a_sequence(count: int, bits: int, generator: torch.Generator) -> None:
    items = distinct_bits(count, 20, bits, generator)
    assert items.shape == (count, 20, bits)
    assert items.dtype == torch.float32
    assert set(items.unique().tolist()) <= {0.0, 1.0}
    for sequence in range(20):
        assert len({str(row) for row in items[:, sequence].tolist()}) == count


def test_every_bit_is_fair(generator: torch.Generator) -> None:
    means = distinct_bits(5, 4000, 70, generator).mean((0, 1))
    assert float((means - 0.5).abs().max()) < 0.02


@pytest.mark.parametrize(("count", "bits"), [(2, 2), (2, 4)], ids=["permuted", "drawn again"])
def test_all_choices_are_equally_likely(count: int, bits: int, generator: torch.Generator) -> None:
    items = distinct_bits(count, 60_000, bits, generator)
    codes = (items.long() * 2 ** torch.arange(bits)).sum(-1)
    seen = Counter(zip(*codes.tolist(), strict=True))
    choices = list(permutations(range(2**bits), count))
    assert set(seen) == set(choices)
    expected = 60_000 / len(choices)
    chi_square = sum((seen[choice] - expected) ** 2 / expected for choice in choices)
    freedom = len(choices) - 1
    assert chi_square < freedom + 5 * (2 * freedom) ** 0.5


def test_too_many_items_are_refused(generator: torch.Generator) -> None:
    with pytest.raises(ValueError, match="at most 8 different items of 3 bits, got 9"):
        distinct_bits(9, 1, 3, generator)
    assert count_codes(3) == 8
    assert count_codes(100) == 2**62


def test_random_bits_are_zero_or_one(generator: torch.Generator) -> None:
    bits = random_bits((50, 40), generator)
    assert bits.dtype == torch.float32
    assert bits.unique().tolist() == [0.0, 1.0]
