"""SparseLinks by its compiled form against the torch form: the same tables, whoever goes on."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sam.ops.sparse_links import SparseLinks
from tests.ops.test_sparse_links import draw_write

pytest.importorskip("numba")
from index.compiled import jit
from sam.fast import compiled_links
from sam.fast.loops.link_following import flat_table, follow_head
from sam.fast.loops.slot_sums import begin_sums, end_sums, sums_for


def update(links, slots, weights):
    links.reserve(int(slots.max()) + 1)
    compiled_links.update(links, slots.contiguous().numpy(), weights.contiguous().numpy())


@jit
def put_sums(values, incoming, outgoing, slots, weights, out):
    """Sums of f and of b by slot, [2, B, R, C]."""
    table = flat_table(values, incoming, outgoing, len(slots))
    sums = sums_for(2 * slots.shape[2] * values.shape[1], values)
    for b in range(slots.shape[0]):
        for r in range(slots.shape[1]):
            different = begin_sums(sums)
            different = follow_head(b, table, slots[b, r], weights[b, r], sums, different)
            for i in range(different):
                parts = sums.parts[sums.places[i]]
                out[0, b, r, sums.known[i]], out[1, b, r, sums.known[i]] = parts[2], parts[0]
            end_sums(sums, different)


def check_follow(links, plain, slots, values):
    """Where weights go along equal links; returns how much goes on."""
    found = torch.zeros(2, *slots.shape[:2], plain.capacity, dtype=values.dtype)
    slots, values = slots.contiguous(), values.contiguous()
    put_sums(*links.table.arrays(), slots.numpy(), values.numpy(), found.numpy())
    wanted = [weights.to_dense(plain.capacity) for weights in plain.follow(slots, values)]
    rtol, atol = (1e-12, 1e-14) if values.dtype == torch.float64 else (1e-4, 1e-5)
    torch.testing.assert_close(found, torch.stack(wanted), rtol=rtol, atol=atol)
    return found.sum().item()


def check_equal(found, wanted, *, tight):
    """Links and precedence; tightly also where each link stands."""
    bounds = {"rtol": 1e-12, "atol": 1e-14} if tight else {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(found.to_dense(), wanted.to_dense(), **bounds)
    size = wanted.capacity
    both = (links.precedence.to_dense(size) for links in (found, wanted))
    torch.testing.assert_close(*both, **bounds)
    if not tight:
        return
    assert torch.equal(found.precedence.slots, wanted.precedence.slots)
    batch_size = len(wanted.precedence.slots)
    for name in ("values", "incoming", "outgoing"):
        # Before the rows of slot -1 there is nothing.
        tables = (getattr(links.table, name)[batch_size:] for links in (found, wanted))
        torch.testing.assert_close(*tables, **bounds)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("decay_sources", [False, True])
@pytest.mark.parametrize("num_links", [1, 3, 8])
def test_update_and_follow_equal_the_torch_form(num_links, decay_sources, dtype):
    size, batch, followed = 40, 3, 0.0
    generator = torch.Generator().manual_seed(num_links)
    compiled, plain, mixed = (
        SparseLinks(batch, size, num_links, dtype=dtype, decay_sources=decay_sources)
        for _ in range(3)
    )
    for step in range(60):
        if step % 20 == 19:
            mask = torch.tensor([step == 19, step == 39, True])
            for links in (compiled, plain, mixed):
                links.reset(mask)
        # First few slots, for dense links; later all, beyond what there was room for.
        high = 9 if step < 30 else size
        slots, weights = draw_write(generator, batch, 6, high, coarse=step % 3 == 0)
        if step % 7 == 6:
            slots[0] = -1
        if step % 11 == 10:
            slots[1], weights[1] = 4, 0.0
            weights[1, -1] = 1.0
        weights = weights.to(dtype)
        below = None if step % 2 else high
        update(compiled, slots, weights)
        plain.update(slots, weights, slot_bound=below)
        if step % 4 < 2:
            update(mixed, slots, weights)
        else:
            mixed.update(slots, weights, slot_bound=below)
        for links in (compiled, mixed):
            check_equal(links, plain, tight=dtype == torch.float64)
        heads, values = draw_write(generator, batch, 8, high)
        read = heads.view(batch, 2, 4), values.to(dtype).view(batch, 2, 4)
        for links in (compiled, plain):
            links.reserve(high)
        followed += check_follow(compiled, plain, *read)
    assert followed > 1, "there must have been links to follow"
    assert compiled.capacity == size


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
    for _ in range(15):
        update(links, *draw_write(generator, batch, count, size, coarse=coarse))
        dense = links.to_dense()[:, :size, :size]
        assert (dense >= 0).all() and not dense.diagonal(dim1=1, dim2=2).any()
        assert (dense.sum(2) <= 1 + 1e-12).all()
        for links_of_a_word in ((dense > 0).sum(2), (dense > 0).sum(1)):
            assert (links_of_a_word <= num_links).all()
        # Every link is known from both its sides, and from nowhere else.
        values, incoming, outgoing = (table[batch:] for table in links.table.arrays())
        places = batch * num_links + torch.arange(values.size).numpy()
        there = incoming.reshape(-1) > 0
        assert ((values.reshape(-1) > 0) == there).all()
        back = links.table.outgoing.view(-1)[incoming.reshape(-1)[there]]
        assert (back.numpy() == places[there]).all()
        assert (outgoing > 0).sum() == there.sum()
        precedence = links.precedence
        assert (precedence.values >= 0).all() and (precedence.values.sum(2) <= 1 + 1e-12).all()
        assert ((precedence.slots < 0) == (precedence.values == 0)).all()


@pytest.mark.parametrize("decay_sources", [False, True])
@pytest.mark.parametrize("num_links", [1, 3, 8])
def test_negative_weights_count_as_they_are(num_links, decay_sources):
    """The equations give none, but a state that is handed in may have them."""
    generator = torch.Generator().manual_seed(num_links)
    compiled, plain = (
        SparseLinks(2, 12, num_links, dtype=torch.float64, decay_sources=decay_sources)
        for _ in range(2)
    )
    for step in range(40):
        slots, weights = draw_write(generator, 2, 6, 12, coarse=step % 3 == 0)
        if step % 4 == 1:
            weights *= torch.randint(-1, 2, weights.shape, generator=generator)
        update(compiled, slots, weights)
        plain.update(slots, weights)
        check_equal(compiled, plain, tight=True)
        assert (plain.to_dense() >= 0).all() and (plain.precedence.values >= 0).all()
        check_follow(compiled, plain, slots[:, None], weights[:, None])


def test_what_was_given_before_is_not_changed():
    """Precedence is new each time; slots and weights stay as they are."""
    links = SparseLinks(2, 9, 3)
    slots, weights = draw_write(torch.Generator().manual_seed(3), 2, 5, 9)
    weights = weights.float()
    before = slots.clone(), weights.clone()
    update(links, slots, weights)
    held = links.precedence
    copy = held.clone()
    update(links, slots.flip(0), weights.flip(0))
    assert torch.equal(slots, before[0]) and torch.equal(weights, before[1])
    for found, wanted in zip(held, copy, strict=True):
        assert torch.equal(found, wanted)
    assert not torch.equal(links.precedence.values, copy.values)
