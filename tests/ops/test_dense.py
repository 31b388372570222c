"""Reading and writing all words: NumPy loops, plain form, and the subtractive rule beside it."""

import numpy as np
import pytest
import torch

from benchmarks.bytes.footprint import saved_bytes
from sam.errors import ShapeError
from sam.ops.dense import erase_add, erase_add_plain, erase_add_subtractive, read_words
from tests.reference import ntm_loops

B, N, W = 2, 5, 4


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def write_inputs(heads, *, batch=B, slots=N, size=W):
    """Words, weights, erase and add; the first word's entry 1 is erased entirely by each head."""
    weights = normal(batch, heads, slots, seed=1).softmax(-1)
    erase = normal(batch, heads, size, seed=2).sigmoid()
    weights[0, :, 0], erase[0, :, 1] = 1, 1
    return normal(batch, slots, size), weights, erase, normal(batch, heads, size, seed=3)


def test_reading_follows_the_equation():
    words, weights = normal(B, N, W), normal(B, 3, N, seed=1).softmax(-1)
    found = read_words(words, weights)
    for b, h in np.ndindex(B, 3):
        expected = sum(weights[b, h, i].numpy() * words[b, i].numpy() for i in range(N))
        np.testing.assert_allclose(found[b, h].numpy(), expected, atol=1e-10)
    torch.autograd.gradcheck(read_words, [words.requires_grad_(), weights.requires_grad_()])


@pytest.mark.parametrize("heads", [1, 2, 3, 4])
def test_writing_follows_the_equation(heads):
    inputs = write_inputs(heads)
    before = [t.clone() for t in inputs]
    found = erase_add(*inputs)
    for b in range(B):
        expected = ntm_loops.written(*(t[b].numpy() for t in inputs))
        np.testing.assert_allclose(found[b].numpy(), expected, atol=1e-10)
    for given, kept in zip(inputs, before, strict=True):
        assert torch.equal(given, kept), "the inputs must stay as they were"


@pytest.mark.parametrize("heads", [1, 2, 3, 4])
@pytest.mark.parametrize("words_too", [True, False])
def test_writing_equals_the_plain_one(heads, words_too):
    """Values and gradients, also where two heads erase the same entry entirely."""
    results = []
    for function in (erase_add, erase_add_plain):
        words, *small = (t.clone() for t in write_inputs(heads))
        leaves = [words.requires_grad_(words_too), *(t.requires_grad_() for t in small)]
        written = function(*leaves)
        (written * normal(B, N, W, seed=8)).sum().backward()
        results.append([written.detach(), *(leaf.grad for leaf in leaves)])
    for found, wanted in zip(*results, strict=True):
        assert (found is None) == (wanted is None)
        if wanted is not None:
            assert wanted.abs().max() > 0
            torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("heads", [1, 3])
def test_writing_against_finite_differences(heads):
    leaves = [t.requires_grad_() for t in write_inputs(heads)]
    torch.autograd.gradcheck(erase_add, leaves)
    torch.autograd.gradcheck(erase_add_subtractive, leaves)


def test_what_is_erased_entirely_leaves_no_trace():
    words, add = torch.full((1, 2, 2), 1e30), torch.tensor([[[0.1, 0.2]]])
    found = erase_add(words, torch.tensor([[[1.0, 0.0]]]), torch.ones(1, 1, 2), add)
    assert torch.equal(found[0, 0], add[0, 0])
    assert torch.equal(found[0, 1], words[0, 1])


@pytest.mark.parametrize("heads", [1, 4])
def test_writing_keeps_its_inputs_and_nothing_of_its_own(heads):
    leaves = [t.requires_grad_() for t in write_inputs(heads, slots=50, size=20)]
    assert saved_bytes(lambda: erase_add(*leaves), apart_from=leaves) == 0
    assert saved_bytes(lambda: erase_add_plain(*leaves), apart_from=leaves) > 0


def test_the_subtractive_rule_follows_its_matrix_form():
    """M' = M + A^D . (1 . X^D - 1 . E^D), summed over the heads."""
    words, weights, erase, add = write_inputs(2)
    found = erase_add_subtractive(words, weights, erase, add)
    for b in range(B):
        expected, ones = words[b].numpy().copy(), np.ones((N, W))
        for h in range(2):
            attention, e, x = (np.diag(t[b, h].numpy()) for t in (weights, erase, add))
            expected += attention @ (ones @ x - ones @ e)
        np.testing.assert_allclose(found[b].numpy(), expected, atol=1e-10)


def test_the_rules_agree_where_a_word_is_one_or_nothing_is_erased():
    words, weights, erase, add = write_inputs(1)
    ones, none = torch.ones_like(words), torch.zeros_like(erase)
    for inputs in ((ones, weights, erase, add), (words, weights, none, add)):
        torch.testing.assert_close(erase_add(*inputs), erase_add_subtractive(*inputs))
    nowhere = erase_add(words, weights * 0, erase, add)
    torch.testing.assert_close(nowhere, erase_add_subtractive(words, weights * 0, erase, add))


def test_the_rules_differ_where_a_word_is_erased():
    words = torch.tensor([[[3.0, -2.0]]])
    full, nothing = torch.ones(1, 1, 2), torch.zeros(1, 1, 2)
    one = torch.ones(1, 1, 1)
    assert erase_add(words, one, full, nothing).tolist() == [[[0.0, 0.0]]]
    assert erase_add_subtractive(words, one, full, nothing).tolist() == [[[2.0, -3.0]]]


def test_repeated_writes_stay_bounded_only_where_the_erase_multiplies():
    weights, full = torch.full((1, 1, 1), 0.5), torch.ones(1, 1, 1)
    add = 3 * full
    multiplied = subtracted = torch.zeros(1, 1, 1)
    for _ in range(100):
        multiplied = erase_add(multiplied, weights, full, add)
        subtracted = erase_add_subtractive(subtracted, weights, full, add)
    assert multiplied.item() == pytest.approx(3.0)  # the word written, and no more
    assert subtracted.item() == pytest.approx(100 * 0.5 * (3 - 1))


def test_erase_says_nothing_of_its_own_in_the_subtractive_rule():
    """dL/dE = -dL/dX, and old words never fade: dL/dM_{t-1} = dL/dM_t."""
    grads = {}
    for function in (erase_add, erase_add_subtractive):
        leaves = [t.requires_grad_() for t in write_inputs(2)]
        (function(*leaves) * normal(B, N, W, seed=8)).sum().backward()
        grads[function] = [leaf.grad for leaf in leaves]
    words, _, erase, add = grads[erase_add_subtractive]
    assert torch.equal(erase, -add)
    torch.testing.assert_close(words, normal(B, N, W, seed=8))
    words, _, erase, add = grads[erase_add]
    assert (erase + add).abs().max() > 0.1
    assert words[0, 0, 1] == 0 and words.abs().sum() < normal(B, N, W, seed=8).abs().sum()


@pytest.mark.parametrize("function", [erase_add, erase_add_subtractive])
def test_shapes_are_checked(function):
    words, weights, erase, add = write_inputs(2)
    with pytest.raises(ShapeError, match=r"weights: expected shape \[B=2, H, N=5\]"):
        function(words, weights[:, :, 1:], erase, add)
    with pytest.raises(ShapeError, match=r"erase: expected shape \[B=2, H=2, W=4\]"):
        function(words, weights, erase[:, :1], add)
    with pytest.raises(ShapeError, match=r"add: expected shape \[B=2, H=2, W=4\]"):
        function(words, weights, erase, add[:, :, 1:])
    with pytest.raises(ShapeError, match=r"weights: expected shape \[B=2, H, N=5\]"):
        read_words(words, weights[:1])
