"""Sharpened read weights: NumPy loops, finite differences, and what is left of tiny weights."""

import numpy as np
import pytest
import torch

from sam.errors import ConfigError
from sam.memory.sdnc import SDNCMemory
from sam.ops.sharpening import sharpen_reads
from sam.ops.sparse import SparseWeights
from tests.reference.finite_differences import check_gradients


def draw(dtype=torch.float64):
    """Weights of 3 x 2 heads over 4 words; one head has two words only, one has none."""
    generator = torch.Generator().manual_seed(2)
    slots = torch.randint(50, (3, 2, 4), generator=generator)
    values = torch.rand(3, 2, 4, generator=generator, dtype=torch.float64) / 3
    slots[0, 1, 2:] = -1
    slots[2, 0] = -1
    return SparseWeights(slots, (values * (slots >= 0)).to(dtype))


@pytest.mark.parametrize("gamma", [1.0, 1.5, 2.0, 7.0])
def test_weights_follow_the_equation(gamma):
    weights = draw()
    found = sharpen_reads(weights, gamma)
    for head, mixed in enumerate(weights.values.flatten(0, 1).numpy()):
        total = sum(value**gamma for value in mixed)
        expected = [value**gamma / total if total else 0.0 for value in mixed]
        np.testing.assert_allclose(found.values.flatten(0, 1)[head], expected, atol=1e-12)
    assert torch.equal(found.slots, weights.slots)
    assert found.values.sum(2).allclose(weights.values.any(2).double())


@pytest.mark.parametrize("gamma", [1.0, 1.5, 2.0])
def test_gradients_against_finite_differences(gamma):
    weights = draw()
    there = (weights.slots >= 0).all(2)
    values = weights.values[there][None]
    slots = weights.slots[there][None]
    check_gradients(lambda v: sharpen_reads(SparseWeights(slots, v), gamma).values, [values])


def test_a_head_without_words_gets_finite_gradients():
    weights = draw()
    values = weights.values.requires_grad_()
    sharpen_reads(weights._replace(values=values), 2.0).values.square().sum().backward()
    assert values.grad is not None and values.grad.isfinite().all()
    assert not values.grad[2, 0].any() and values.grad[0].any()


def test_weights_that_have_faded_to_almost_nothing_sum_to_one():
    """Their squares are zero in float32, and one of them is beside the others."""
    weights = draw(torch.float32)
    faint = SparseWeights(weights.slots, weights.values * 1e-30)
    found, wanted = sharpen_reads(faint, 2.0), sharpen_reads(weights, 2.0)
    torch.testing.assert_close(found.values, wanted.values)
    faint.values[1, 0, 0] = 0.5
    found = sharpen_reads(faint, 2.0)
    assert found.values[1, 0].tolist() == [1.0, 0.0, 0.0, 0.0]
    assert found.slots[1, 0].tolist() == [weights.slots[1, 0, 0], -1, -1, -1]


@pytest.mark.parametrize("gamma", [0.5, -1.0, float("nan"), float("inf"), 1000.0])
def test_a_power_below_one_is_refused(gamma):
    with pytest.raises(ConfigError, match=r"read_sharpening: expected at (least 1|most 100), got"):
        SDNCMemory(read_sharpening=gamma)
