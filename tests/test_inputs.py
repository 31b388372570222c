"""What a model is given: NaN and infinity are found, large numbers are not taken for them."""

import math

import pytest
import torch

from sam import NonFiniteError
from sam.inputs import check_inputs

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def check(inputs):
    return check_inputs(inputs, inputs.shape[2], None, inputs.new_zeros(1), False)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bad", [[math.nan], [math.inf], [-math.inf], [math.inf, -math.inf]])
@pytest.mark.parametrize("place", [0, 17, 40 * 3 * 5 - 2])
def test_what_is_not_finite_is_found_wherever_it_stands(dtype, bad, place):
    inputs = torch.ones(40, 3, 5, dtype=dtype)
    check(inputs)
    inputs.view(-1)[place : place + len(bad)] = torch.tensor(bad, dtype=dtype)
    with pytest.raises(NonFiniteError, match="inputs: expected finite values"):
        check(inputs)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sign", [1, -1])
def test_finite_numbers_whose_sum_is_not_are_taken(dtype, sign):
    inputs = torch.full((4, 3, 5), sign * torch.finfo(dtype).max, dtype=dtype)
    assert not inputs.sum().isfinite()
    assert check(inputs).inputs is inputs


def test_no_gradient_is_asked_for_and_no_steps_are_none():
    inputs = torch.ones(2, 3, 5, requires_grad=True)
    assert check(inputs).inputs is inputs
    assert len(check(torch.ones(0, 3, 5)).inputs) == 0
