"""Content addressing over all words: loops, the plain form, finite differences, bytes."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck

from benchmarks.bytes.footprint import saved_bytes
from sam.errors import ShapeError
from sam.ops.similarity import content_weights, content_weights_plain, cosine_similarity
from tests.reference import dam_loops
from tests.reference.new_bytes import NewBytes

# Batch, heads, words, word size: more words than numbers, more heads than words, single ones.
SIZES = [(2, 3, 7, 4), (2, 5, 3, 6), (1, 1, 1, 1), (3, 1, 9, 1), (1, 4, 2, 8)]


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def draw(batch, heads, count, size, seed=0):
    """Keys, strengths between 1 and about 6, words; some of the words repeat."""
    words = normal(batch, count, size, seed=seed + 2)
    words[:, -1] = words[:, 0]
    return normal(batch, heads, size, seed=seed), 1 + normal(batch, heads).abs() * 2, words


def some_valid(batch, count):
    """Each second word, and none at all in the last of several batch rows."""
    valid = (torch.arange(count) % 2 == 0).repeat(batch, 1)
    if batch > 1:
        valid[-1] = False
    return valid


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("sizes", SIZES)
def test_weights_follow_the_equations(sizes, masked):
    keys, strengths, words = draw(*sizes)
    valid = some_valid(sizes[0], sizes[2]) if masked else None
    found = content_weights(keys, strengths, words, valid=valid)
    for b in range(sizes[0]):
        for h in range(sizes[1]):
            expected = dam_loops.content_weights(
                keys[b, h].numpy(),
                float(strengths[b, h]),
                words[b].numpy(),
                None if valid is None else valid[b].numpy(),
            )
            np.testing.assert_allclose(found[b, h].numpy(), expected, atol=1e-10)


@pytest.mark.parametrize("eps", [1e-6, 1e-2])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("sizes", SIZES)
def test_fused_form_equals_the_plain_one(sizes, masked, eps):
    inputs = draw(*sizes)
    inputs[2][0, 0] = 0  # a zero word has the steepest gradient
    inputs[0][-1, -1] = 0
    valid = some_valid(sizes[0], sizes[2]) if masked else None
    results = []
    for function in (content_weights, content_weights_plain):
        leaves = [tensor.clone().requires_grad_() for tensor in inputs]
        weights = function(*leaves, eps=eps, valid=valid)
        (weights * normal(*weights.shape, seed=5)).sum().backward()
        results.append([weights.detach(), *(leaf.grad for leaf in leaves)])
    for found, wanted in zip(*results, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)
    if sizes == SIZES[0] and not masked:
        assert all(grad.any() for grad in results[0][1:])


@pytest.mark.parametrize("masked", [False, True])
def test_gradients_against_finite_differences(masked):
    inputs = [tensor.requires_grad_() for tensor in draw(2, 3, 5, 4)]
    valid = some_valid(2, 5) if masked else None
    assert gradcheck(lambda k, s, w: content_weights(k, s, w, valid=valid), inputs)
    assert gradcheck(cosine_similarity, [inputs[0], inputs[2]])


def test_each_input_may_need_no_gradient():
    inputs = draw(2, 3, 6, 4)
    leaves = [tensor.clone().requires_grad_() for tensor in inputs]
    weight = normal(2, 3, 6, seed=4)
    expected = torch.autograd.grad((content_weights(*leaves) * weight).sum(), leaves)
    for place in range(3):
        one = [leaf if place == i else leaf.detach() for i, leaf in enumerate(leaves)]
        (found,) = torch.autograd.grad((content_weights(*one) * weight).sum(), leaves[place])
        torch.testing.assert_close(found, expected[place], rtol=0, atol=0)


@given(st.integers(1, 4), st.integers(1, 12), st.integers(1, 6), st.integers(0, 999))
def test_weights_are_a_distribution_whatever_the_words(heads, count, size, seed):
    generator = torch.Generator().manual_seed(seed)
    scale = 10.0 ** torch.randint(-8, 4, (1, count, 1), generator=generator)
    words = normal(1, count, size, seed=seed) * scale
    words[0, ::3] = 0
    keys, strengths = normal(1, heads, size, seed=seed + 1), 1 + 30 * normal(1, heads).abs()
    leaves = [tensor.requires_grad_() for tensor in (keys, strengths, words)]
    weights = content_weights(*leaves)
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(2), torch.ones(1, heads).double())
    (weights * normal(*weights.shape, seed=seed + 2)).sum().backward()
    assert all(leaf.grad.isfinite().all() for leaf in leaves)


def test_only_weights_cosines_and_norms_are_kept():
    batch, heads, count, size = 2, 3, 50, 8
    leaves = [tensor.requires_grad_() for tensor in draw(batch, heads, count, size)]
    kept = saved_bytes(lambda: content_weights(*leaves), apart_from=leaves)
    assert kept == 8 * batch * (2 * heads * count + count + heads)


def test_nothing_as_large_as_the_words_is_made_but_their_gradient():
    batch, heads, count, size = 2, 2, 200, 128
    keys, strengths, words = (t.requires_grad_() for t in draw(batch, heads, count, size))
    small = 8 * batch * (8 * heads * count + 8 * heads * size)
    assert 2 * small < words.nbytes
    for given_words, made in ((words, words.nbytes), (words.detach(), 0)):
        with NewBytes() as forward:
            weights = content_weights(keys, strengths, given_words)
        assert 0 < forward.total < small
        with NewBytes() as backward:
            weights.backward(torch.ones_like(weights))
        assert made < backward.total < made + small


def test_single_precision_stays_close():
    inputs = draw(2, 4, 30, 16)
    narrow = content_weights(*(tensor.float() for tensor in inputs))
    assert narrow.dtype == torch.float32
    torch.testing.assert_close(narrow.double(), content_weights(*inputs), rtol=0, atol=1e-6)


@pytest.mark.parametrize("function", [content_weights, content_weights_plain])
def test_shapes_are_checked(function):
    with pytest.raises(ShapeError, match=r"words: expected shape \[B=2, N, W=6\], got \[2, 5, 7\]"):
        function(normal(2, 3, 6), normal(2, 3), normal(2, 5, 7))
    with pytest.raises(ShapeError, match=r"strengths: expected shape \[B=2, H=3\], got \[2, 4\]"):
        function(normal(2, 3, 6), normal(2, 4), normal(2, 5, 6))
