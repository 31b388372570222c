"""Similarity and sparse weights: NumPy loops, plain forms, finite differences."""

import numpy as np
import pytest
import torch

from sam.errors import ShapeError
from sam.ops import (
    SparseWeights,
    content_read,
    content_read_plain,
    content_weights,
    cosine_similarity,
    gathered_cosine,
    gathered_distance,
    no_weights,
    sparse_read,
    write_values,
)
from tests.reference.finite_differences import check_gradients

B, H, N, K, W = 2, 3, 5, 4, 6


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_cosine_and_content_weights_follow_the_equations():
    keys, words, strengths = normal(B, H, W), normal(B, N, W, seed=1), normal(B, H, seed=2).exp()
    cosine = np.zeros((B, H, N))
    weights = np.zeros((B, H, N))
    for b in range(B):
        for h in range(H):
            k = keys[b, h].numpy()
            for i in range(N):
                m = words[b, i].numpy()
                cosine[b, h, i] = k @ m / np.sqrt((k @ k + 1e-6) * (m @ m + 1e-6))
            scaled = np.exp(float(strengths[b, h]) * cosine[b, h])
            weights[b, h] = scaled / scaled.sum()
    np.testing.assert_allclose(cosine_similarity(keys, words).numpy(), cosine, atol=1e-10)
    found = content_weights(keys, strengths, words)
    np.testing.assert_allclose(found.numpy(), weights, atol=1e-10)


def test_sparse_scores_are_the_dense_ones_at_the_slots():
    keys, words = normal(B, H, W), normal(B, N, W, seed=1)
    gathered = words[:, None].expand(-1, H, -1, -1)
    dense = cosine_similarity(keys, words)
    torch.testing.assert_close(gathered_cosine(keys, gathered), dense, rtol=0, atol=1e-12)
    distances = -torch.cdist(keys, words).square()
    torch.testing.assert_close(gathered_distance(keys, gathered), distances, rtol=0, atol=1e-12)


def test_zero_words_and_keys_score_zero_with_finite_gradients():
    keys = torch.zeros(1, 1, W, requires_grad=True)
    words = torch.zeros(1, N, W, requires_grad=True)
    scores = cosine_similarity(keys, words)
    assert not scores.any()
    content_weights(keys, torch.ones(1, 1), words)[0, 0, 0].backward()
    for leaf in (keys, words):
        assert leaf.grad is not None and leaf.grad.isfinite().all()


def test_invalid_words_get_exactly_no_weight():
    valid = torch.tensor([[True, False, True, False, False], [False] * 5])
    weights = content_weights(
        normal(B, H, W), torch.ones(B, H).double(), normal(B, N, W), valid=valid
    )
    assert (weights[0, :, [1, 3, 4]] == 0).all() and not weights[1].any()
    torch.testing.assert_close(weights[0].sum(-1), torch.ones(H).double())


def test_gradients_of_dense_addressing():
    check_gradients(
        lambda k, s, w: content_weights(k, s.exp(), w),
        [normal(B, H, W), normal(B, H, seed=1), normal(B, N, W, seed=2)],
    )


def content_inputs():
    valid = torch.ones(B, H, K, dtype=torch.bool)
    valid[0, 1, 2:] = False
    valid[1, 2] = False
    words = normal(B, H, K, W, seed=1)
    words[0, 0, 1] = 0
    return normal(B, H, W), normal(B, H, seed=3).exp(), words, valid


def test_fused_read_equals_the_plain_one():
    keys, strengths, words, valid = content_inputs()
    results = []
    for function in (content_read, content_read_plain):
        leaves = [t.clone().requires_grad_() for t in (keys, strengths, words)]
        reads, values = function(*leaves, valid)
        (reads * normal(B, H, W, seed=7)).sum().add(
            (values * normal(B, H, K, seed=8)).sum()
        ).backward()
        results.append([reads.detach(), values.detach(), *(leaf.grad for leaf in leaves)])
    for found, wanted in zip(*results, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)
    assert (results[0][1][0, 1, 2:] == 0).all() and not results[0][1][1, 2].any()


def test_fused_read_against_finite_differences():
    keys, strengths, words, valid = content_inputs()
    words[0, 0, 1] = 0.5
    check_gradients(
        lambda k, s, w: torch.cat([t.flatten() for t in content_read(k, s, w, valid)]),
        [keys, strengths, words],
    )


def test_write_values_follow_equation_5():
    values = normal(B, H, K).softmax(-1)
    alpha, gamma = normal(B, H, seed=1).sigmoid(), normal(B, H, seed=2).sigmoid()
    found = write_values(values, alpha, gamma)
    for k in range(K):
        torch.testing.assert_close(found[:, :, k], alpha * gamma * values[:, :, k])
    torch.testing.assert_close(found[:, :, K], alpha * (1 - gamma))
    check_gradients(write_values, [values, alpha, gamma])


def test_sparse_weights_to_dense_and_to_sparse():
    weights = SparseWeights(
        torch.tensor([[[2, -1, 0], [4, 4, -1]]]), torch.tensor([[[0.5, 0.0, 0.2], [0.1, 0.3, 0.0]]])
    )
    dense = weights.to_dense(5)
    expected = [[0.2, 0.0, 0.5, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.4]]
    torch.testing.assert_close(dense[0], torch.tensor(expected))
    torch.testing.assert_close(weights.to_sparse_coo(5).to_dense(), dense)
    words = normal(1, 5, W).float()
    gathered = words[:, weights.slots.clamp(min=0)[0]]
    torch.testing.assert_close(sparse_read(gathered, weights.values), torch.bmm(dense, words))


def test_no_weights_are_empty():
    weights = no_weights(2, 3, 4, device=None, dtype=torch.float64)
    assert not weights.to_dense(7).any() and weights.values.dtype == torch.float64


def test_shapes_are_checked():
    with pytest.raises(ShapeError, match=r"words: expected shape \[B=2, N, W=6\], got \[2, 5, 7\]"):
        cosine_similarity(normal(2, 3, 6), normal(2, 5, 7))
    with pytest.raises(ShapeError, match="strengths"):
        content_weights(normal(2, 3, 6), normal(2, 4), normal(2, 5, 6))


def test_words_that_all_heads_share_may_be_expanded() -> None:
    keys, strengths = normal(B, H, W), normal(B, H, seed=1).exp()
    shared = normal(B, 1, K, W, seed=2).requires_grad_()
    valid = torch.ones(B, H, K, dtype=torch.bool)
    reads, weights = content_read(keys, strengths, shared.expand(-1, H, -1, -1), valid)
    (grad,) = torch.autograd.grad(reads.sum(), shared)
    again = shared.detach().repeat(1, H, 1, 1).requires_grad_()
    expected = content_read_plain(keys, strengths, again, valid)
    (expected_grad,) = torch.autograd.grad(expected[0].sum(), again)
    torch.testing.assert_close((reads, weights), expected)
    torch.testing.assert_close(grad, expected_grad.sum(1, keepdim=True))
