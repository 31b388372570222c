"""The output layer of two inputs: values and derivatives of the plain form, and fewer of them."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from sam.ops.joined_linear import joined_linear, plain_joined_linear


def given(*shape: int, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    sizes = (*shape, 3), (*shape, 5), (4, 8), (4,)
    return [torch.randn(size, dtype=dtype, requires_grad=True) for size in sizes]


@pytest.mark.parametrize("shape", [(2, 3), (0, 3), (2, 0), (6,)])
def test_values_and_gradients_are_those_of_the_plain_form(shape):
    tensors = given(*shape)
    ours, plain = joined_linear(*tensors), plain_joined_linear(*tensors)
    torch.testing.assert_close(ours, plain)
    grads = (torch.autograd.grad(each.sin().sum(), tensors) for each in (ours, plain))
    torch.testing.assert_close(*map(list, grads))


def test_first_and_second_derivatives():
    tensors = given(2, 2)
    assert gradcheck(joined_linear, tensors)
    assert gradgradcheck(joined_linear, tensors)


def test_without_a_bias():
    hidden, reads, weight, _ = given(2, 2)
    expected = torch.cat([hidden, reads], -1) @ weight.t()
    torch.testing.assert_close(joined_linear(hidden, reads, weight, None), expected)


def test_autocast_multiplies_in_half_precision_as_it_does_in_a_linear_layer():
    tensors = given(2, 2, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert joined_linear(*tensors).dtype == torch.bfloat16


@pytest.mark.parametrize("frozen", [0, 1, 2, 3])
def test_frozen_parts_get_no_gradient(frozen):
    tensors = given(2, 3)
    tensors[frozen].requires_grad_(False)
    joined_linear(*tensors).sum().backward()
    assert [tensor.grad is None for tensor in tensors] == [place == frozen for place in range(4)]


def test_what_comes_out_may_be_changed_in_place():
    tensors = given(2, 3)
    ours, plain = (form(*tensors).sin_() for form in (joined_linear, plain_joined_linear))
    torch.testing.assert_close(ours, plain)
    grads = (torch.autograd.grad(each.sum(), tensors) for each in (ours, plain))
    torch.testing.assert_close(*map(list, grads))
