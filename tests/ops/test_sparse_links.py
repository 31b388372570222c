"""SparseLinks against the paper's equations on dense arrays in NumPy loops."""

import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sam.errors import ConfigError, ShapeError
from sam.ops.sparse import SparseWeights
from sam.ops.sparse_links import SparseLinks
from tests.reference.sdnc_loops import Links


def draw_write(generator, batch, count, high, *, coarse=False):
    """Slots with repeats and pads, weights that sum to at most 1; coarse ones make ties."""
    slots = torch.randint(-1, high, (batch, count), generator=generator)
    if coarse:
        weights = torch.randint(0, 3, (batch, count), generator=generator).double() / 16
    else:
        weights = torch.rand(batch, count, generator=generator).double()
        weights /= weights.sum(1, keepdim=True) * (1 + torch.rand(batch, 1, generator=generator))
    return slots, weights


def dense_links(links, memory_size):
    """N and p of the first `memory_size` slots, with zeros where there is no space yet."""
    incoming = torch.zeros(len(links.precedence.slots), memory_size, memory_size).double()
    size = min(memory_size, links.capacity)
    incoming[:, :size, :size] = links.to_dense()[:, :size, :size]
    return incoming.numpy(), links.precedence.to_dense(memory_size)[:, 0].numpy()


def check_equal(links, loops, memory_size):
    incoming, precedence = dense_links(links, memory_size)
    for row, loop in enumerate(loops):
        np.testing.assert_allclose(incoming[row], loop.incoming, atol=1e-10)
        np.testing.assert_allclose(precedence[row], loop.precedence, atol=1e-10)


@pytest.mark.parametrize("coarse", [False, True])
@pytest.mark.parametrize("decay_sources", [False, True])
@pytest.mark.parametrize("num_links", [1, 2, 8])
def test_links_follow_the_equations(num_links, decay_sources, coarse):
    size, batch, total = 40, 3, 0.0
    generator = torch.Generator().manual_seed(num_links)
    links = SparseLinks(batch, size, num_links, dtype=torch.float64, decay_sources=decay_sources)
    loops = [Links(size, num_links, decay_sources=decay_sources) for _ in range(batch)]
    for step in range(60):
        if step % 20 == 19:
            mask = torch.tensor([step == 19, step == 39, True])
            links.reset(mask)
            for row in mask.nonzero()[:, 0].tolist():
                loops[row] = Links(size, num_links, decay_sources=decay_sources)
        # First few slots, for dense links; later all, beyond what there was room for.
        high = 9 if step < 30 else size
        slots, weights = draw_write(generator, batch, 6, high, coarse=coarse)
        if step % 7 == 6:
            slots[0] = -1
        links.update(slots, weights, slot_bound=None if step % 2 else high)
        for row, loop in enumerate(loops):
            loop.update(slots[row].tolist(), weights[row].tolist())
        check_equal(links, loops, size)
        heads, values = draw_write(generator, batch, 8, high)
        found = links.follow(heads.view(batch, 2, 4), values.view(batch, 2, 4))
        for weights in found:
            assert weights.slots.shape == (batch, 2, 4 * num_links)
            assert ((weights.slots < 0) == (weights.values == 0)).all()
        onwards, back = (weights.to_dense(size).numpy() for weights in found)
        read = torch.zeros(batch, 2, size + 1).double()
        read.scatter_add_(2, heads.view(batch, 2, 4) + 1, values.view(batch, 2, 4))
        for row, loop in enumerate(loops):
            for head in range(2):
                w = read[row, head, 1:].numpy()
                np.testing.assert_allclose(onwards[row, head], loop.forward(w), atol=1e-10)
                np.testing.assert_allclose(back[row, head], loop.backward(w), atol=1e-10)
                total += loop.forward(w).sum() + loop.backward(w).sum()
    assert total > 1, "there must have been links to follow"
    assert links.capacity == size


@given(
    st.integers(1, 3),
    st.sampled_from([1, 2, 3, 8]),
    st.integers(2, 12),
    st.integers(1, 6),
    st.booleans(),
    st.booleans(),
    st.integers(0, 999),
)
def test_invariants(batch, num_links, size, count, decay_sources, coarse, seed):
    generator = torch.Generator().manual_seed(seed)
    links = SparseLinks(batch, size, num_links, dtype=torch.float64, decay_sources=decay_sources)
    every = torch.arange(size).expand(batch, -1)[:, :, None]
    ones = torch.ones(batch, size, 1).double()
    for _ in range(15):
        links.update(*draw_write(generator, batch, count, size, coarse=coarse))
        incoming = links.to_dense()[:, :size, :size]
        assert (incoming >= 0).all() and (incoming <= 1 + 1e-12).all()
        assert not incoming.diagonal(dim1=1, dim2=2).any()
        assert (incoming.sum(2) <= 1 + 1e-12).all()
        for links_of_a_word in ((incoming > 0).sum(2), (incoming > 0).sum(1)):
            assert (links_of_a_word <= num_links).all()
        onwards, back = links.follow(every, ones)
        # Row j of what follows from j alone is row j of P, and of N.
        assert torch.equal(onwards.to_dense(size), incoming.transpose(1, 2))
        assert torch.equal(back.to_dense(size), incoming)
        precedence = links.precedence
        assert (precedence.values >= 0).all() and (precedence.values.sum(2) <= 1 + 1e-12).all()
        assert ((precedence.slots < 0) == (precedence.values == 0)).all()
        present = precedence.slots[precedence.slots >= 0]
        assert batch > 1 or len(present.unique()) == len(present)


def one_hot(slot):
    return torch.tensor([[slot]]), torch.ones(1, 1).double()


def test_direction_of_links():
    """Write 0, then 1: N(1, 0) = 1, forward from 0 leads to 1 and backward from 1 to 0."""
    links = SparseLinks(1, 4, 2, dtype=torch.float64)
    for slot in (0, 1):
        links.update(*one_hot(slot))
    expected = torch.zeros(4, 4).double()
    expected[1, 0] = 1
    assert torch.equal(links.to_dense()[0, :4, :4], expected)
    read = torch.tensor([[[0], [1]]]), torch.ones(1, 2, 1).double()
    onwards, back = (weights.to_dense(4)[0] for weights in links.follow(*read))
    assert onwards.tolist() == [[0, 1, 0, 0], [0, 0, 0, 0]]
    assert back.tolist() == [[0, 0, 0, 0], [1, 0, 0, 0]]


def test_rewriting_a_word_keeps_its_outgoing_links_by_the_papers_rule():
    for decay_sources in (False, True):
        links = SparseLinks(1, 4, 4, dtype=torch.float64, decay_sources=decay_sources)
        for slot in (0, 1, 2, 0):
            links.update(*one_hot(slot))
        incoming = links.to_dense()[0]
        assert incoming[1, 0] == (0 if decay_sources else 1)
        assert incoming[2, 1] == incoming[0, 2] == 1


def test_full_rows_and_one_hot_writes_follow_the_dnc():
    """DNC paper, link and precedence equations: decay by source and destination."""
    size, generator = 7, torch.Generator().manual_seed(3)
    links = SparseLinks(1, size, size, dtype=torch.float64, decay_sources=True)
    matrix, precedence, followed = np.zeros((size, size)), np.zeros(size), 0
    for _ in range(60):
        slot = int(torch.randint(0, size, (), generator=generator))
        links.update(*one_hot(slot))
        w = np.zeros(size)
        w[slot] = 1
        for i in range(size):
            for j in range(size):
                kept = (1 - w[i] - w[j]) * matrix[i, j]
                matrix[i, j] = 0 if i == j else kept + w[i] * precedence[j]
        precedence = (1 - w.sum()) * precedence + w
        read = torch.rand(1, 2, size, generator=generator).double()
        slots = torch.arange(size).expand(1, 2, -1)
        onwards, back = (weights.to_dense(size)[0] for weights in links.follow(slots, read))
        np.testing.assert_allclose(onwards, read[0].numpy() @ matrix.T, atol=1e-12)
        np.testing.assert_allclose(back, read[0].numpy() @ matrix, atol=1e-12)
        followed += (matrix > 0).sum()
    assert followed > 60, "there must have been links to follow"


def random_links(seed=0, **options):
    links = SparseLinks(2, 64, 3, dtype=torch.float64, **options)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(20):
        links.update(*draw_write(generator, 2, 5, 40))
    return links


@pytest.mark.parametrize(
    "copied",
    [
        SparseLinks.clone,
        copy.deepcopy,
        lambda links: pickle.loads(pickle.dumps(links)),
        lambda links: links.clone().to("cpu").detach(),
    ],
)
def test_copies_go_on_alike_and_apart(copied):
    links = random_links(decay_sources=True)
    before, other = links.to_dense(), copied(links)
    assert before.any() and other.nbytes == links.nbytes
    write = draw_write(torch.Generator().manual_seed(9), 2, 5, 40)
    other.update(*write)
    assert torch.equal(links.to_dense(), before)
    assert not torch.equal(other.to_dense(), before)
    links.update(*write)
    assert torch.equal(links.to_dense(), other.to_dense())


def test_rows_without_slots_stay_as_they_are():
    links = random_links()
    before, precedence = links.to_dense(), links.precedence
    slots, weights = draw_write(torch.Generator().manual_seed(9), 2, 5, 40)
    slots[0] = -1
    links.update(slots, weights)
    assert torch.equal(links.to_dense()[0], before[0])
    for found, wanted in zip(links.precedence, precedence, strict=True):
        assert torch.equal(found[0], wanted[0]) and not torch.equal(found[1], wanted[1])


def test_bytes_follow_the_slots_in_use_and_resize_costs_nothing():
    sizes = []
    for memory_size in (2**8, 2**30):
        links = SparseLinks(2, memory_size, 8)
        fresh = links.nbytes
        for slot in range(100):
            links.update(torch.full((2, 1), slot), torch.ones(2, 1), slot_bound=slot + 1)
        sizes.append((fresh, links.nbytes, links.capacity))
    assert sizes[0] == sizes[1]
    assert fresh < 20_000 and 100 <= links.capacity <= 200
    links.resize(2**31)
    assert links.nbytes == sizes[1][1]
    with pytest.raises(ConfigError, match=f"memory_size: expected at least the {2**31}"):
        links.resize(2**30)


def test_growing_beyond_the_first_size():
    links = SparseLinks(1, 3, 2, dtype=torch.float64)
    links.update(*one_hot(2))
    with pytest.raises(ShapeError, match=r"slots: expected values in \[-1, 3\), got 4 to 4"):
        links.update(*one_hot(4))
    links.resize(5)
    links.update(*one_hot(4))
    assert links.to_dense()[0, 4, 2] == 1


def test_shapes_are_checked():
    links = SparseLinks(2, 4, 2)
    text = r"slots, weights: expected one shape \[B, J\] with B=2, got \[2, 3\] and \[2, 2\]"
    with pytest.raises(ShapeError, match=text):
        links.update(torch.zeros(2, 3, dtype=torch.int64), torch.zeros(2, 2))


def test_results_can_be_used_outside_of_the_inference_mode():
    """Links and mixing use it inside; what they return must be fit for autograd."""
    links = SparseLinks(1, 4, 2, dtype=torch.float64)
    for slot in (0, 1):
        links.update(torch.tensor([[slot]]), torch.ones(1, 1).double())
    found = *links.follow(torch.tensor([[[0]]]), torch.ones(1, 1, 1).double()), links.precedence
    assert found[0].slots.tolist() == [[[1, -1]]]
    for part in found:
        assert isinstance(part, SparseWeights)
        scale = torch.ones_like(part.values, requires_grad=True)
        (part.values * scale).sum().backward()
        assert torch.equal(scale.grad, part.values)
        assert not part.slots.is_inference()
    links.reset(torch.ones(1, dtype=torch.bool))
    assert not links.to_dense().any()
