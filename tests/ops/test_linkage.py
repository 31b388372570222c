"""Links, precedence and the two directions: NumPy loops, plain forms, finite differences."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck

from benchmarks.bytes.footprint import saved_bytes
from sam.errors import ShapeError
from sam.ops.linkage import (
    directional_weights,
    directional_weights_plain,
    sharpened,
    update_links,
    update_links_plain,
    update_precedence,
)
from tests.reference import dnc_loops

B, V, R, N = 2, 3, 2, 5


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def weights(*shape, seed, sharpness=1.0):
    return (sharpness * normal(*shape, seed=seed)).softmax(-1) * 0.9


def inputs(*batch):
    """Links of any values, the diagonal too: the ops must not rely on what made them."""
    return (
        weights(*batch, N, N, seed=0),
        weights(*batch, N, seed=1),
        weights(*batch, N, seed=2),
        weights(*batch, R, N, seed=3),
    )


def value_and_gradients(function, leaves):
    leaves = [leaf.detach().clone().requires_grad_() for leaf in leaves]
    found = function(*leaves)
    outs = found if isinstance(found, tuple) else (found,)
    sum((out * normal(*out.shape, seed=9 + i)).sum() for i, out in enumerate(outs)).backward()
    return [out.detach() for out in outs] + [leaf.grad for leaf in leaves]


def test_links_and_precedence_follow_the_equations():
    links, precedence = torch.zeros(B, N, N).double(), torch.zeros(B, N).double()
    expected, last = np.zeros((B, N, N)), np.zeros((B, N))
    reads = weights(B, R, N, seed=40)
    for step in range(6):
        write = weights(B, N, seed=20 + step, sharpness=2.0)
        links = update_links(links, precedence, write)
        precedence = update_precedence(precedence, write)
        for row in range(B):
            w = write[row].numpy()
            expected[row] = dnc_loops.links(expected[row], last[row], w)
            last[row] = (1 - w.sum()) * last[row] + w
    np.testing.assert_allclose(links.numpy(), expected, atol=1e-10)
    np.testing.assert_allclose(precedence.numpy(), last, atol=1e-10)
    forward, backward = directional_weights(links, reads)
    for row in range(B):
        for head in range(R):
            w = reads[row, head].numpy()
            for n in range(N):
                on = sum(expected[row, n, m] * w[m] for m in range(N))
                back = sum(expected[row, m, n] * w[m] for m in range(N))
                assert abs(forward[row, head, n] - on) < 1e-10
                assert abs(backward[row, head, n] - back) < 1e-10


def test_writing_slot_0_then_slot_1_links_them():
    one_hot = torch.eye(4, dtype=torch.float64)
    links, precedence = torch.zeros(1, 4, 4).double(), torch.zeros(1, 4).double()
    for slot in (0, 1):
        write = one_hot[slot : slot + 1]
        links = update_links(links, precedence, write)
        precedence = update_precedence(precedence, write)
    expected = torch.zeros(1, 4, 4).double()
    expected[0, 1, 0] = 1
    torch.testing.assert_close(links, expected, rtol=0, atol=0)
    torch.testing.assert_close(precedence, one_hot[1:2], rtol=0, atol=0)
    forward, _ = directional_weights(links, one_hot[None, :1])
    _, backward = directional_weights(links, one_hot[None, 1:2])
    torch.testing.assert_close(forward[0], one_hot[1:2], rtol=0, atol=0)
    torch.testing.assert_close(backward[0], one_hot[:1], rtol=0, atol=0)


@pytest.mark.parametrize("batch", [(B,), (B, V)])
def test_ops_equal_the_plain_ones_and_finite_differences(batch):
    links, precedence, write, read = inputs(*batch)
    for function, plain, leaves in (
        (update_links, update_links_plain, (links, precedence, write)),
        (directional_weights, directional_weights_plain, (links, read)),
    ):
        found, wanted = value_and_gradients(function, leaves), value_and_gradients(plain, leaves)
        assert all(part.abs().max() > 0 for part in wanted)
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
        assert gradcheck(function, [leaf.requires_grad_() for leaf in leaves])
    assert gradcheck(update_precedence, [precedence, write])


def test_write_heads_have_links_of_their_own():
    links, precedence, write, read = inputs(B, V)
    together = update_links(links, precedence, write)
    forward, backward = directional_weights(links, read)
    for head in range(V):
        alone = update_links(links[:, head], precedence[:, head], write[:, head])
        torch.testing.assert_close(together[:, head], alone, rtol=0, atol=1e-15)
        on, back = directional_weights(links[:, head], read[:, head])
        torch.testing.assert_close(forward[:, head], on, rtol=0, atol=1e-15)
        torch.testing.assert_close(backward[:, head], back, rtol=0, atol=1e-15)


def test_first_links_need_no_gradient():
    links, precedence, write, _ = inputs(B)
    write.requires_grad_()
    update_links(links, precedence, write)[:, 1, 0].sum().backward()
    found, write.grad = write.grad, None
    update_links_plain(links, precedence, write)[:, 1, 0].sum().backward()
    torch.testing.assert_close(found, write.grad, rtol=0, atol=1e-12)


def test_a_step_keeps_one_matrix():
    size = 64

    def saved(steps):
        def forward():
            links, precedence = torch.zeros(1, size, size), torch.zeros(1, size)
            read = torch.full((1, R, size), 1 / size)
            for step in range(steps):
                leaf = weights(1, size, seed=step).float().requires_grad_()
                links = update_links(links, precedence, leaf)
                precedence = update_precedence(precedence, leaf)
                read = sum(directional_weights(links, read))
            return read

        return saved_bytes(forward)

    per_step = (saved(12) - saved(6)) / 6
    matrix = 4 * size * size
    assert matrix <= per_step <= matrix + 4 * size * (R + 4)


@given(st.integers(0, 2**31), st.integers(1, 8), st.sampled_from([0.3, 3.0, 40.0]))
def test_links_and_precedence_stay_in_range(seed, steps, sharpness):
    """Diffuse to one-hot writes, gates that shut and open."""
    links, precedence = torch.zeros(B, N, N).double(), torch.zeros(B, N).double()
    for step in range(steps):
        gate = (sharpness * normal(B, 1, seed=seed + 2 * step)).sigmoid()
        write = gate * weights(B, N, seed=seed + 2 * step + 1, sharpness=sharpness) / 0.9
        links = update_links(links, precedence, write)
        precedence = update_precedence(precedence, write)
    tolerance = 1e-12
    assert (links >= -tolerance).all() and (links <= 1 + tolerance).all()
    assert not links.diagonal(dim1=1, dim2=2).any()
    assert (links.sum(1) <= 1 + tolerance).all() and (links.sum(2) <= 1 + tolerance).all()
    assert (precedence >= -tolerance).all() and (precedence.sum(1) <= 1 + tolerance).all()
    for direction in directional_weights(links, weights(B, R, N, seed=seed, sharpness=sharpness)):
        assert (direction >= -tolerance).all() and (direction.sum(2) <= 1 + tolerance).all()


def test_sharpened_follows_the_equation():
    values, powers = weights(B, R, N, seed=1), 1 + normal(B, R, seed=2).exp()
    values[0, 0, 1] = 0
    found = sharpened(values, powers)
    for row in range(B):
        for head in range(R):
            expected = dnc_loops.sharpen(values[row, head].numpy(), float(powers[row, head]))
            np.testing.assert_allclose(found[row, head].numpy(), expected, atol=1e-10)
    torch.testing.assert_close(found.sum(-1), torch.ones(B, R).double())
    values = weights(B, R, N, seed=1).requires_grad_()
    assert gradcheck(sharpened, [values, powers.requires_grad_()])


def test_sharpening_nothing_is_uniform_and_rounding_does_no_harm():
    found = sharpened(torch.zeros(1, 1, 4), torch.tensor([[3.0]]))
    torch.testing.assert_close(found, torch.full((1, 1, 4), 0.25))
    assert sharpened(torch.tensor([[-1e-5, 0.5]]), torch.tensor([2.0])).isfinite().all()


def test_shapes_are_checked():
    links, precedence, write, read = inputs(B)
    with pytest.raises(ShapeError, match=r"links: expected shape \[B, N=5, N=5\], got \[2, 4, 5\]"):
        update_links(links[:, 1:], precedence, write)
    with pytest.raises(ShapeError, match=r"precedence: expected shape \[B=2, N=5\]"):
        update_links(links, precedence[:, 1:], write)
    with pytest.raises(ShapeError, match=r"write_weights: expected shape \[B=2, V=1, N=5\]"):
        update_links(links[:, None], precedence[:, None], write)
    with pytest.raises(ShapeError, match=r"read_weights: expected shape \[B=2, R, N=5\]"):
        directional_weights(links, read[..., 1:])
