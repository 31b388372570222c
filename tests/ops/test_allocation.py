"""Retention, usage and allocation: NumPy loops, plain forms, finite differences, invariants."""

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck

from sam.errors import ShapeError
from sam.ops.allocation import (
    allocation_weights,
    allocation_weights_plain,
    dnc_usage,
    dnc_usage_plain,
    retention,
    retention_plain,
)
from tests.reference import dnc_loops

B, R, V, N = 3, 3, 2, 6


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def weights(heads, seed, size=N, sharpness=1.0):
    """Non-negative weights that sum to less than 1."""
    return (sharpness * normal(B, heads, size, seed=seed)).softmax(-1) * 0.9


def inputs(writes=V, heads=R):
    """Usage, write weights, read weights, free gates."""
    usage = normal(B, N).sigmoid()
    return usage, weights(writes, 1), weights(heads, 2), normal(B, heads, seed=3).sigmoid()


def value_and_gradients(function, leaves, *, direction):
    leaves = [leaf.clone().requires_grad_() for leaf in leaves]
    found = function(*leaves)
    (found * direction).sum().backward()
    return [found.detach(), *(leaf.grad for leaf in leaves)]


@pytest.mark.parametrize("writes", [1, 2, 3])
def test_usage_and_retention_follow_the_equations(writes):
    usage, write, read, free = inputs(writes)
    found, kept = dnc_usage(usage, write, read, free), retention(read, free)
    for row in range(B):
        args = [tensor[row].numpy() for tensor in (usage, write, read, free)]
        np.testing.assert_allclose(found[row].numpy(), dnc_loops.usage(*args), atol=1e-10)
        np.testing.assert_allclose(kept[row].numpy(), dnc_loops.retention(*args[2:]), atol=1e-10)


@pytest.mark.parametrize("heads", [1, 2, 5])
def test_usage_equals_the_plain_one_and_finite_differences(heads):
    usage, write, read, free = inputs(heads=heads)
    # A factor of retention that is exactly zero, so that nothing can be divided by it.
    free[0, 0], read[0, 0] = 1.0, torch.eye(N, dtype=torch.float64)[2]
    found = value_and_gradients(dnc_usage, (usage, write, read, free), direction=normal(B, N))
    wanted = value_and_gradients(
        dnc_usage_plain, (usage, write, read, free), direction=normal(B, N)
    )
    assert found[2] is None and wanted[2] is None, "no gradient to the write weights"
    for one, other in zip(found, wanted, strict=True):
        if one is not None:
            assert other.abs().max() > 0
            torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
    leaves = [leaf.requires_grad_() for leaf in (usage, read, free)]
    assert gradcheck(lambda u, r, f: dnc_usage(u, write, r, f), leaves)
    assert gradcheck(retention, leaves[1:])
    found = value_and_gradients(retention, (read.detach(), free.detach()), direction=normal(B, N))
    wanted = value_and_gradients(
        retention_plain, (read.detach(), free.detach()), direction=normal(B, N)
    )
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


def test_allocation_of_the_hand_example():
    usage = torch.tensor([[0.2, 0.9, 0.5]], dtype=torch.float64)
    expected = torch.tensor([[0.8, 0.2 * 0.5 * 0.1, 0.2 * 0.5]], dtype=torch.float64)
    torch.testing.assert_close(allocation_weights(usage), expected, rtol=0, atol=1e-15)
    squeezed = allocation_weights(usage, eps=1e-6)
    torch.testing.assert_close(squeezed, expected, rtol=0, atol=1e-5)
    assert (squeezed != expected).all()


def test_allocation_follows_the_equations():
    usage = normal(B, N, seed=4).sigmoid()
    usage[0, :3] = usage[0, 3:]  # ties: the lower slot first
    usage[1, 2], usage[1, 4] = 0.0, 1.0
    for eps in (0.0, 1e-6, 0.1):
        found = allocation_weights(usage, eps)
        for row in range(B):
            expected = dnc_loops.allocation(usage[row].numpy(), eps)
            np.testing.assert_allclose(found[row].numpy(), expected, atol=1e-10)


def test_allocation_at_the_ends():
    assert not allocation_weights(torch.ones(2, 5)).any(), "all used: nothing to hand out"
    fresh = allocation_weights(torch.zeros(2, 5))
    torch.testing.assert_close(fresh, torch.eye(5)[:1].expand(2, -1), rtol=0, atol=0)
    one_free = torch.ones(1, 5)
    one_free[0, 3] = 0
    torch.testing.assert_close(allocation_weights(one_free), torch.eye(5)[3:4], rtol=0, atol=0)


@pytest.mark.parametrize("eps", [0.0, 0.1])
@pytest.mark.parametrize("size", [1, 6, 40])
def test_allocation_equals_the_plain_one_and_finite_differences(size, eps):
    usage = 0.02 + 0.96 * torch.stack([torch.randperm(size) for _ in range(B)]).double() / size
    direction = normal(B, size, seed=5)
    found, wanted = (
        value_and_gradients(partial(function, eps=eps), (usage,), direction=direction)
        for function in (allocation_weights, allocation_weights_plain)
    )
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)
    if size < 10:
        assert gradcheck(partial(allocation_weights, eps=eps), (usage.requires_grad_(),))


@pytest.mark.parametrize("eps", [0.0, 1e-6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_allocation_gradient_where_words_are_fresh(dtype, eps):
    """Zeros are what an episode starts with: many, one, next to full and to hardly used words."""
    usage = [[0.0, 0.0, 0.5, 0.0, 1.0], [0.3, 0.0, 1.0, 0.6, 1.0], [1e-30, 0.0, 1e-20, 0.2, 0.0]]
    usage = torch.tensor([*usage, [0.0] * 5, [1.0] * 5], dtype=dtype)
    direction = normal(5, 5, seed=6).to(dtype)
    found = value_and_gradients(partial(allocation_weights, eps=eps), (usage,), direction=direction)
    wanted = value_and_gradients(
        partial(allocation_weights_plain, eps=eps),
        (usage.double(),),
        direction=direction.double(),
    )
    assert found[1].isfinite().all() and found[1].abs().max() > 0.1
    tolerance = 1e-5 if dtype == torch.float32 else 1e-9
    torch.testing.assert_close(found[1].double(), wanted[1], rtol=tolerance, atol=tolerance)


@given(
    st.integers(0, 2**31), st.integers(1, 4), st.integers(1, 3), st.sampled_from([0.1, 3.0, 40.0])
)
def test_usage_and_allocation_stay_in_range(seed, heads, writes, sharpness):
    """From random usages and weights, some of them one-hot, some gates fully open."""
    usage = (sharpness * normal(B, N, seed=seed)).sigmoid()
    free = (sharpness * normal(B, heads, seed=seed + 1)).sigmoid()
    write = weights(writes, seed + 2, sharpness=sharpness) / 0.9
    read = weights(heads, seed + 3, sharpness=sharpness) / 0.9
    after = dnc_usage(usage, write, read, free)
    assert (after >= 0).all() and (after <= 1 + 1e-12).all()
    kept = retention(read, free)
    assert (kept >= 0).all() and (kept <= 1 + 1e-12).all()
    allocation = allocation_weights(after)
    assert (allocation >= 0).all() and (allocation.sum(1) <= 1 + 1e-12).all()
    least = after.argmin(1, keepdim=True)
    expected = (1 - after).gather(1, least)
    torch.testing.assert_close(allocation.gather(1, least), expected, rtol=0, atol=1e-9)


def test_rounding_outside_the_range_does_no_harm():
    usage = torch.tensor([[-1e-7, 1 + 1e-7, -1e-6, 0.5]], requires_grad=True)
    found = allocation_weights(usage)
    found[0, 0].backward()
    assert (found >= 0).all() and usage.grad is not None and usage.grad.isfinite().all()


def test_shapes_are_checked():
    usage, write, read, free = inputs()
    with pytest.raises(ShapeError, match=r"write_weights: expected shape \[B=3, Hw, N=6\]"):
        dnc_usage(usage, write[..., 1:], read, free)
    with pytest.raises(ShapeError, match=r"free_gates: expected shape \[B=3, R=3\]"):
        dnc_usage(usage, write, read, free[:, 1:])
    with pytest.raises(ShapeError, match="free_gates"):
        retention(read, free[:, 1:])
    with pytest.raises(ShapeError, match="usage"):
        allocation_weights(usage[0])
