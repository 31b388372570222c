"""SAM's write over all words: loops, plain forms, finite differences, what is kept."""

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from benchmarks.bytes.footprint import saved_bytes
from sam.errors import ShapeError
from sam.ops.dense_write import (
    dense_write,
    dense_write_plain,
    dense_write_weights,
    dense_write_weights_plain,
)

B, V, N, W = 2, 3, 6, 4
NEW = torch.tensor([[5, 0, 2], [1, 3, 4]])


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def weights_inputs():
    return normal(B, V, N).softmax(-1), normal(B, V, seed=1).sigmoid(), normal(B, V).sigmoid()


def write_inputs():
    return normal(B, N, W), normal(B, V, N, seed=1).softmax(-1), normal(B, V, W, seed=2)


def test_weights_follow_equation_5():
    before, alpha, gamma = (tensor.numpy() for tensor in weights_inputs())
    found = dense_write_weights(*weights_inputs(), NEW).numpy()
    for b, v, i in np.ndindex(B, V, N):
        mark = 1.0 if i == NEW[b, v] else 0.0
        mixed = gamma[b, v] * before[b, v, i] + (1 - gamma[b, v]) * mark
        np.testing.assert_allclose(found[b, v, i], alpha[b, v] * mixed, atol=1e-10)
    assert found.sum(2).max() <= 1


def test_write_erases_first_then_adds_of_all_heads():
    words, weights, add = (tensor.numpy() for tensor in write_inputs())
    given = write_inputs()
    found = dense_write(*given, erase=NEW).numpy()
    for b in range(B):
        expected = words[b].copy()
        expected[NEW[b].numpy()] = 0
        for v in range(V):
            expected += np.outer(weights[b, v], add[b, v])
        np.testing.assert_allclose(found[b], expected, atol=1e-10)
    assert np.array_equal(given[0].numpy(), words), "M_{t-1} must stay as it was"


@pytest.mark.parametrize(
    ("fused", "plain", "inputs"),
    [
        (
            lambda *t: dense_write_weights(*t, NEW),
            lambda *t: dense_write_weights_plain(*t, NEW),
            weights_inputs(),
        ),
        (
            lambda *t: dense_write(*t, erase=NEW),
            lambda *t: dense_write_plain(*t, erase=NEW),
            write_inputs(),
        ),
    ],
    ids=["weights", "write"],
)
def test_fused_forms_equal_the_plain_ones_and_finite_differences(fused, plain, inputs):
    results = []
    for function in (fused, plain):
        leaves = [tensor.clone().requires_grad_() for tensor in inputs]
        found = function(*leaves)
        (found * normal(*found.shape, seed=5)).sum().backward()
        results.append([found.detach(), *(leaf.grad for leaf in leaves)])
    for found, wanted in zip(*results, strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    assert all(grad.any() for grad in results[0][1:])
    assert gradcheck(fused, [tensor.clone().requires_grad_() for tensor in inputs])


def test_an_erased_word_gives_no_gradient_even_where_it_was_infinite():
    words, weights, add = write_inputs()
    words[0, 5] = torch.inf
    words.requires_grad_()
    written = dense_write(words, weights, add, erase=NEW)
    assert written.isfinite().all()
    written.sum().backward()
    for b in range(B):
        assert words.grad[b].any(1).logical_not().nonzero()[:, 0].tolist() == sorted(
            NEW[b].tolist()
        )


def test_no_words_are_kept():
    words, weights, add = (tensor.requires_grad_() for tensor in write_inputs())
    apart = [weights, add, NEW]
    assert saved_bytes(lambda: dense_write(words, weights, add, erase=NEW), apart_from=apart) == 0
    before, alpha, gamma = (tensor.requires_grad_() for tensor in weights_inputs())
    apart = [before, alpha, gamma, NEW]
    kept = saved_bytes(lambda: dense_write_weights(before, alpha, gamma, NEW), apart_from=apart)
    assert kept == 8 * B * V


def test_shapes_are_checked():
    words, weights, add = write_inputs()
    with pytest.raises(ShapeError, match=r"weights: expected shape \[B=2, V, N=6\]"):
        dense_write(words, weights[:, :, :5], add, erase=NEW)
    with pytest.raises(ShapeError, match=r"add: expected shape \[B=2, V=3, W=4\]"):
        dense_write(words, weights, add[:, :2], erase=NEW)
    with pytest.raises(ShapeError, match="new: expected shape"):
        dense_write_weights(*weights_inputs(), NEW[:, :2])
