"""Addressing by location: hand-made vectors, NumPy loops, invariants, and the op of all steps."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sam.errors import ShapeError
from sam.ops.addressing import ntm_weights, ntm_weights_plain
from sam.ops.shift import interpolate, sharpen, shift
from sam.ops.similarity import content_weights
from tests.reference import ntm_loops

B, H, N, W = 2, 3, 5, 4


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def controls(reach=1, *, batch=B, heads=H, slots=N, size=W, seed=0):
    """keys, strengths, gates, kernels, gammas, previous weights and words of some heads."""
    return [
        normal(batch, heads, size, seed=seed),
        3 * normal(batch, heads, seed=seed + 1).abs(),
        normal(batch, heads, seed=seed + 2).sigmoid(),
        normal(batch, heads, 2 * reach + 1, seed=seed + 3).softmax(-1),
        1 + normal(batch, heads, seed=seed + 4).abs(),
        normal(batch, heads, slots, seed=seed + 5).softmax(-1),
        normal(batch, slots, size, seed=seed + 6),
    ]


def one_hot(entry, length):
    return torch.nn.functional.one_hot(torch.tensor(entry), length).double().view(1, 1, length)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (2, [0.0, 0.6, 0.3, 0.1, 0.0]),  # +1: what was in slot j is in slot j + 1
        (1, [0.6, 0.3, 0.1, 0.0, 0.0]),
        (0, [0.3, 0.1, 0.0, 0.0, 0.6]),  # -1: slot 0 wraps to the last
    ],
)
def test_direction_of_the_shift(entry, expected):
    weights = torch.tensor([[[0.6, 0.3, 0.1, 0.0, 0.0]]], dtype=torch.float64)
    found = shift(weights, one_hot(entry, 3))
    assert found.tolist() == [[expected]]


def test_weight_of_the_last_slot_wraps_to_the_first():
    last = one_hot(4, 5)
    assert torch.equal(shift(last, one_hot(2, 3)), one_hot(0, 5))
    assert torch.equal(shift(last, one_hot(4, 5)), one_hot(1, 5))
    # Shift 7 of 5 slots is shift 2.
    assert torch.equal(shift(last, one_hot(14, 15)), one_hot(1, 5))


@pytest.mark.parametrize("reach", [0, 1, 2, 3, 5, 8, 13])
def test_shift_follows_the_equation_for_every_range(reach):
    weights = normal(B, H, N).softmax(-1)
    kernel = normal(B, H, 2 * reach + 1, seed=1).softmax(-1)
    found = shift(weights, kernel).numpy()
    for b, h in np.ndindex(B, H):
        expected = ntm_loops.convolve(weights[b, h].numpy(), kernel[b, h].numpy())
        np.testing.assert_allclose(found[b, h], expected, atol=1e-10)
    torch.autograd.gradcheck(shift, [weights.requires_grad_(), kernel.requires_grad_()])


def test_interpolate_and_sharpen_follow_the_equations():
    _, _, gates, _, gammas, previous, _ = controls()
    content = normal(B, H, N, seed=9).softmax(-1)
    mixed, sharp = interpolate(content, previous, gates), sharpen(content, gammas)
    for b, h in np.ndindex(B, H):
        g, c, p = float(gates[b, h]), content[b, h].numpy(), previous[b, h].numpy()
        np.testing.assert_allclose(mixed[b, h].numpy(), g * c + (1 - g) * p, atol=1e-10)
        expected = ntm_loops.sharpened(c, float(gammas[b, h]))
        np.testing.assert_allclose(sharp[b, h].numpy(), expected, atol=1e-10)
    leaves = [t.requires_grad_() for t in (content, previous, gates)]
    torch.autograd.gradcheck(interpolate, leaves)
    torch.autograd.gradcheck(sharpen, [content, gammas.requires_grad_()])


def test_sharpening_small_weights_does_not_underflow():
    """1 / 4096 to the power 20 is 0 in float32; the quotient of equation 9 is not 0 / 0."""
    weights = torch.full((1, 1, 4096), 1 / 4096)
    weights[0, 0, 7] *= 2
    sharp = sharpen(weights, torch.full((1, 1), 20.0))
    assert sharp[0, 0, 7] > 0.99
    assert sharp[0, 0, 8] == pytest.approx(2.0**-20, rel=1e-2)


def test_a_weight_below_the_floor_counts_as_the_floor_without_a_gradient():
    weights = torch.tensor([[[1.0, 1e-14, 1e-10, 0.0]]], dtype=torch.float64, requires_grad=True)
    sharp = sharpen(weights, torch.ones(1, 1).double())
    expected = torch.tensor([1.0, 1e-12, 1e-10, 1e-12], dtype=torch.float64)
    torch.testing.assert_close(sharp[0, 0], expected, rtol=1e-6, atol=0)
    sharp[0, 0, 1:].sum().backward()
    assert (weights.grad[0, 0] != 0).tolist() == [True, False, True, False]


def test_rows_without_weight_and_one_hot_rows_give_finite_numbers():
    """The initial weights are one-hot: log 0 and 0^gamma must not reach the gradient."""
    keys, strengths, gates, _, gammas, previous, words = controls()
    gates, previous = torch.zeros_like(gates), torch.zeros_like(previous)
    previous[0, :, 0] = 1
    still = one_hot(1, 3).expand(B, H, 3)
    inputs = (keys, strengths, gates, still, gammas, previous, words)
    results = []
    for function in (ntm_weights, ntm_weights_plain):
        leaves = [t.clone().requires_grad_() for t in inputs]
        weights = function(*leaves)
        torch.testing.assert_close(weights[0], previous[0], rtol=0, atol=1e-10)
        torch.testing.assert_close(weights[1], torch.full((H, N), 1 / N).double())
        (weights * normal(B, H, N)).sum().backward()
        results.append([leaf.grad for leaf in leaves])
    for found, wanted in zip(*results, strict=True):
        assert wanted.isfinite().all()
        torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-14)


@pytest.mark.parametrize(
    ("reach", "heads", "slots"), [(1, 1, 5), (1, 3, 5), (2, 2, 5), (5, 2, 5), (4, 2, 3), (1, 1, 1)]
)
def test_the_op_of_all_steps_equals_the_plain_one(reach, heads, slots):
    inputs = controls(reach, heads=heads, slots=slots, seed=reach)
    results = []
    for function in (ntm_weights, ntm_weights_plain):
        leaves = [t.clone().requires_grad_() for t in inputs]
        weights = function(*leaves)
        (weights * normal(B, heads, slots, seed=7)).sum().backward()
        results.append([weights.detach(), *(leaf.grad for leaf in leaves)])
    for found, wanted in zip(*results, strict=True):
        assert slots == 1 or wanted.abs().max() > 0
        torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("reach", [1, 6])
def test_the_op_of_all_steps_follows_the_equations(reach):
    inputs = controls(reach)
    found = ntm_weights(*inputs)
    keys, strengths, gates, kernels, gammas, previous, words = (t.numpy() for t in inputs)
    for b, h in np.ndindex(B, H):
        head = {
            "key": keys[b, h],
            "strength": strengths[b, h],
            "gate": gates[b, h],
            "shift": kernels[b, h],
            "gamma": gammas[b, h],
        }
        expected = ntm_loops.address(head, previous[b, h], words[b])
        np.testing.assert_allclose(found[b, h].numpy(), expected, atol=1e-10)


def test_the_op_of_all_steps_against_finite_differences():
    leaves = [t.requires_grad_() for t in controls(heads=2)]
    torch.autograd.gradcheck(ntm_weights, leaves)


def test_words_that_need_no_gradient_change_no_other_one():
    *inputs, words = controls()
    grads = []
    for wanted in (True, False):
        leaves = [t.clone().requires_grad_() for t in inputs]
        given_words = words.clone().requires_grad_(wanted)
        (ntm_weights(*leaves, given_words) * normal(B, H, N)).sum().backward()
        assert (given_words.grad is not None) == wanted
        grads.append([leaf.grad for leaf in leaves])
    for with_words, without in zip(*grads, strict=True):
        assert torch.equal(with_words, without)


def test_open_gate_no_shift_and_no_sharpening_is_content_addressing():
    keys, strengths, gates, _, gammas, previous, words = controls()
    still = one_hot(1, 3).expand(B, H, 3)
    ones = torch.ones_like(gates), still, torch.ones_like(gammas)
    found = ntm_weights(keys, strengths, *ones, previous, words)
    expected = content_weights(keys, strengths, words)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@given(
    st.integers(1, 9),
    st.integers(0, 6),
    st.floats(0, 1),
    st.floats(1, 50),
    st.floats(0, 100),
    st.integers(0, 2**20),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_weights_are_a_distribution(slots, reach, gate, gamma, strength, seed, dtype):
    keys, strengths, gates, kernels, gammas, previous, words = (
        t.to(dtype) for t in controls(reach, slots=slots, seed=seed)
    )
    strengths, gates, gammas = strengths * strength, gates * 0 + gate, gammas * 0 + gamma
    for start in (previous, torch.eye(slots, dtype=dtype)[0].expand(B, H, slots)):
        weights = ntm_weights(keys, strengths, gates, kernels, gammas, start, words)
        assert (weights >= 0).all()
        tolerance = 1e-5 if dtype == torch.float32 else 1e-12
        torch.testing.assert_close(
            weights.sum(-1), torch.ones(B, H, dtype=dtype), rtol=0, atol=tolerance
        )


def test_shapes_are_checked():
    with pytest.raises(ShapeError, match=r"previous: expected shape \[B=2, H=3, N=5\]"):
        interpolate(normal(2, 3, 5), normal(2, 3, 6), normal(2, 3))
    with pytest.raises(ShapeError, match=r"gate: expected shape \[B=2, H=3\], got \[2, 3, 1\]"):
        interpolate(normal(2, 3, 5), normal(2, 3, 5), normal(2, 3, 1))
    with pytest.raises(ShapeError, match=r"kernel: expected .* 2S\+1=5\], got \[2, 3, 4\]"):
        shift(normal(2, 3, 5), normal(2, 3, 4))
    with pytest.raises(ShapeError, match="gamma"):
        sharpen(normal(2, 3, 5), normal(2, 5))
    names = ["keys", "strengths", "gates", "kernels", "gammas", "previous", "words"]
    for place, name in enumerate(names):
        inputs = controls()
        inputs[place] = inputs[place][1:]
        # The batch of all others is measured against that of the keys.
        blamed = "words" if name == "keys" else name
        with pytest.raises(ShapeError, match=f"^{blamed}: expected shape"):
            ntm_weights(*inputs)
