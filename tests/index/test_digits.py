"""Differences in units of the last digit take one number to the other, bit for bit."""

import pytest
import torch

from index.digits import corrected, difference, expanded


def moved(numbers: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
    kind = torch.int32 if numbers.dtype == torch.float32 else torch.int64
    return (numbers.view(kind) + by.to(kind)).view(numbers.dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("share", [0.0, 0.01, 1.0])
@pytest.mark.parametrize("most", [1, 200, 10**6, 2**31 - 1])
def test_differences_give_the_numbers_again(dtype: torch.dtype, share: float, most: int) -> None:
    expected = torch.randn(5, 7, 9, dtype=dtype)
    by = torch.randint(-most, most + 1, (5, 7, 9)) * (torch.rand(5, 7, 9) < share)
    found = moved(expected, by)
    digits = difference(found, expected)
    if digits is None:
        assert not by.any()
        again = corrected(expected, None)
    else:
        again = corrected(expected, expanded(digits))
        if share < 0.1:  # few are kept with their places
            assert digits.places is not None and len(digits.values) == int((by != 0).sum())
    kind = torch.int32 if dtype == torch.float32 else torch.int64
    assert torch.equal(again.view(kind), found.view(kind))


def test_zeros_of_both_signs_are_two_numbers() -> None:
    zeros = torch.zeros(3)
    digits = difference(-zeros, zeros)
    assert digits is not None
    assert corrected(zeros, expanded(digits)).signbit().all()


def test_nothing_is_kept_of_none() -> None:
    assert difference(torch.zeros(0, 3), torch.zeros(0, 3)) is None
