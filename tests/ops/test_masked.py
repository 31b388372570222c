"""Masked content lookup: NumPy loops, the plain form, finite differences, what a mask hides."""

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from sam.errors import ShapeError
from sam.ops.masked import masked_content_weights, masked_content_weights_plain
from sam.ops.similarity import content_weights
from tests.reference import dnc_loops

B, H, N, W = 2, 3, 5, 4


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def inputs():
    """Keys, strengths, words, masks."""
    keys, words = normal(B, H, W), normal(B, N, W, seed=1)
    return keys, normal(B, H, seed=2).exp(), words, normal(B, H, W, seed=3).sigmoid()


def test_weights_follow_the_equation():
    keys, strengths, words, masks = inputs()
    words[0, 1] = 0
    masks[1, 2, 0] = 0
    found = masked_content_weights(keys, strengths, words, masks)
    for b in range(B):
        for h in range(H):
            one = (keys[b, h].numpy(), float(strengths[b, h]), words[b].numpy())
            expected = dnc_loops.content(*one, masks[b, h].numpy())
            np.testing.assert_allclose(found[b, h].numpy(), expected, atol=1e-10)


def test_op_equals_the_plain_one_and_finite_differences():
    results = []
    for function in (masked_content_weights, masked_content_weights_plain):
        leaves = [leaf.requires_grad_() for leaf in inputs()]
        found = function(*leaves)
        (found * normal(B, H, N, seed=5)).sum().backward()
        results.append([found.detach(), *(leaf.grad for leaf in leaves)])
    assert all(part.abs().max() > 1e-3 for part in results[1])
    torch.testing.assert_close(*results, rtol=0, atol=1e-12)
    assert gradcheck(masked_content_weights, [leaf.requires_grad_() for leaf in inputs()])


def test_mask_of_ones_is_the_plain_lookup():
    keys, strengths, words, _ = inputs()
    found = masked_content_weights(keys, strengths, words, torch.ones_like(keys))
    expected = content_weights(keys, strengths, words)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_masked_components_do_not_count():
    keys, strengths, words, masks = inputs()
    masks[0, 1, 2:] = 0
    found = masked_content_weights(keys, strengths, words, masks)
    words[0, :, 2:] += 7
    keys[0, 1, 3] -= 3
    moved = masked_content_weights(keys, strengths, words, masks)
    torch.testing.assert_close(moved[0, 1], found[0, 1], rtol=0, atol=1e-12)
    assert (moved[0, 0] - found[0, 0]).abs().max() > 1e-3, "the others see the change"


def test_mask_of_zeros_sees_all_words_alike_with_finite_gradients():
    keys, strengths, words, masks = (leaf.requires_grad_() for leaf in inputs())
    nothing = torch.zeros_like(masks).requires_grad_()
    found = masked_content_weights(keys, strengths, words, nothing)
    torch.testing.assert_close(found, torch.full_like(found, 1 / N))
    (found * normal(B, H, N)).sum().backward()
    assert all(leaf.grad.isfinite().all() for leaf in (keys, strengths, words, nothing))


def test_shapes_are_checked():
    keys, strengths, words, masks = inputs()
    with pytest.raises(ShapeError, match=r"masks: expected shape \[B=2, H=3, W=4\], got"):
        masked_content_weights(keys, strengths, words, masks[:, 1:])
    with pytest.raises(ShapeError, match="strengths"):
        masked_content_weights(keys, strengths[:, 1:], words, masks)
