"""DAM's step as one op: the plain form, finite differences, what is kept and made."""

import itertools

import pytest
import torch
from torch.autograd import gradcheck

from benchmarks.bytes.footprint import saved_bytes
from sam.errors import ShapeError
from sam.ops.dense_access import dense_access, dense_access_plain
from tests.reference.new_bytes import NewBytes

NAMES = ("words", "before", "alpha", "gamma", "add", "keys", "strengths")


def draw(batch=2, writes=2, heads=2, count=5, size=4):
    """The arguments by name; one word is zero, one of the slots to erase was read before."""
    generator = torch.Generator().manual_seed(count)

    def normal(*shape):
        return torch.randn(batch, *shape, generator=generator, dtype=torch.float64)

    words = normal(count, size)
    words[:, 0] = 0
    inputs = {
        "words": words,
        "before": normal(writes, count).softmax(-1),
        "alpha": normal(writes).sigmoid(),
        "gamma": normal(writes).sigmoid(),
        "add": normal(writes, size),
        "keys": normal(heads, size),
        "strengths": 1 + normal(heads).abs(),
    }
    new = torch.rand(batch, count, generator=generator).argsort(1)[:, :writes]
    return inputs, new


def results(function, inputs, new, outputs=(0, 1, 2, 3)):
    """What the op gives, and the gradients of a random sum of some of it."""
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in inputs.items()}
    found = function(**leaves, new=new)
    generator = torch.Generator().manual_seed(1)
    loss = torch.zeros((), dtype=torch.float64)
    for place, tensor in enumerate(found):
        weight = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
        if place in outputs:
            loss = loss + (tensor * weight).sum()
    grads = torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True)
    return [*(tensor.detach() for tensor in found), *grads]


@pytest.mark.parametrize("sizes", [(2, 2, 2, 5, 4), (3, 1, 3, 7, 2), (1, 3, 2, 4, 6)])
def test_one_op_equals_the_plain_steps(sizes):
    inputs, new = draw(*sizes)
    found, wanted = results(dense_access, inputs, new), results(dense_access_plain, inputs, new)
    for ours, plain in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-9, atol=1e-12)
    assert all(grad.any() for grad in found[4:])


@pytest.mark.parametrize("outputs", [*itertools.combinations(range(4), 2), (0,), (3,)])
def test_some_outputs_may_be_left_out_of_the_loss(outputs):
    inputs, new = draw()
    found = results(dense_access, inputs, new, outputs)
    wanted = results(dense_access_plain, inputs, new, outputs)
    for ours, plain in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-9, atol=1e-12)


def test_gradients_against_finite_differences():
    inputs, new = draw()
    leaves = [inputs[name].requires_grad_() for name in NAMES]
    assert gradcheck(
        lambda *t: tuple(dense_access(**dict(zip(NAMES, t, strict=True)), new=new)), leaves
    )


def test_one_copy_of_the_words_is_kept_and_none_changed():
    batch, writes, heads, count, size = 2, 2, 3, 50, 8
    inputs, new = draw(batch, writes, heads, count, size)
    before = {name: tensor.clone() for name, tensor in inputs.items()}
    leaves = {name: tensor.requires_grad_() for name, tensor in inputs.items()}
    kept = saved_bytes(lambda: dense_access(**leaves, new=new), apart_from=[*leaves.values(), new])
    numbers = count * size + count * (writes + 2 * heads) + count + heads
    assert kept == 8 * batch * numbers
    dense_access(**leaves, new=new).reads.sum().backward()
    assert all(torch.equal(inputs[name], before[name]) for name in NAMES)


def test_one_copy_of_the_words_is_made_each_way():
    inputs, new = draw(2, 2, 2, 200, 128)
    leaves = {name: tensor.requires_grad_() for name, tensor in inputs.items()}
    size = inputs["words"].nbytes
    with NewBytes() as forward:
        found = dense_access(**leaves, new=new)
    with NewBytes() as backward:
        torch.autograd.backward([found.reads, found.words], [found.reads, found.words.detach()])
    assert size < forward.total < 1.5 * size
    assert size < backward.total < 1.5 * size


def test_shapes_are_checked():
    inputs, new = draw()
    with pytest.raises(ShapeError, match="strengths: expected shape"):
        dense_access(**inputs | {"strengths": torch.ones(2, 3).double()}, new=new)
    with pytest.raises(ShapeError, match="alpha: expected shape"):
        dense_access(**inputs | {"alpha": torch.ones(2, 3).double()}, new=new)
    with pytest.raises(ShapeError, match="add: expected shape"):
        dense_access(**inputs | {"add": torch.ones(2, 2, 5).double()}, new=new)
