"""What the exact index promises beyond the contract."""

import pytest
import torch

from index import make_index
from tests.index.oracle import pair


def test_few_words_far_apart() -> None:
    index, oracle = pair("exact", capacity=5000)
    slots, words = torch.tensor([[4999, 17, 0], [4100, 4101, -1]]), torch.randn(2, 3, 5)
    for store in (index, oracle):
        store.update(slots, words)
    oracle.assert_agrees(index, torch.randn(2, 3, 5), 8)


def test_l2_does_not_cancel_far_from_the_origin() -> None:
    """The form |q|^2 - 2 q.m + |m|^2 loses all digits here."""
    index, oracle = pair("exact", metric="l2")
    words = 1e4 + torch.randn(2, 20, 5)
    for store in (index, oracle):
        store.update(torch.arange(20).expand(2, -1), words)
    queries = 1e4 + torch.randn(2, 3, 5)
    near = index.search(queries, 20)
    oracle.assert_agrees(index, queries, 4, rtol=1e-5)
    true = (queries.unsqueeze(2).double() - words.unsqueeze(1).double()).square().sum(-1).neg()
    order = true.argsort(dim=-1, descending=True)
    assert torch.equal(near.slots, order)


def test_bytes_follow_the_highest_slot() -> None:
    index, _ = pair("exact", batch_size=1, capacity=2**30, word_size=32)
    sizes = []
    for slot in (0, 100, 1000, 10_000):
        index.update(torch.tensor([[slot]]), torch.ones(1, 1, 32))
        sizes.append(index.nbytes)
        assert index.nbytes < 2 * 33 * 4 * (slot + 64)
    assert sizes == sorted(set(sizes))


def test_a_reset_row_lowers_what_is_searched() -> None:
    """Otherwise one long episode would slow down all later ones."""
    index, _ = pair("exact", capacity=4096)
    index.update(torch.tensor([[3000], [4]]), torch.ones(2, 1, 5))
    index.reset(torch.tensor([True, False]))
    assert index._in_use == 5
    index.reset(torch.tensor([False, True]))
    assert index._in_use == 0


def test_reserve_makes_room_once() -> None:
    index, _ = pair("exact", capacity=2**20)
    index.reserve(1000)
    size = index.nbytes
    index.update(torch.tensor([[999], [0]]), torch.ones(2, 1, 5))
    assert index.nbytes == size


def test_a_growth_that_fails_changes_nothing() -> None:
    index = make_index("exact", batch_size=2, capacity=2**60, word_size=5)
    index.update(torch.tensor([[1], [2]]), torch.ones(2, 1, 5))
    before = index.search(torch.ones(2, 1, 5), 1)
    with pytest.raises(RuntimeError):
        index.update(torch.full((2, 1), 2**58), torch.ones(2, 1, 5))
    index.update(torch.tensor([[3], [2]]), -torch.ones(2, 1, 5))
    assert index.occupancy.tolist() == [2, 1]
    assert torch.equal(index.search(torch.ones(2, 1, 5), 1).slots[0], before.slots[0])


def test_large_finite_words_are_legal() -> None:
    """Their sum overflows, which the quick look for NaN must not take for one."""
    index, _ = pair("exact", metric="l2")
    words = torch.full((2, 2, 5), 3e38)
    index.update(torch.tensor([[0, 1], [0, 1]]), words)
    assert index.occupancy.tolist() == [2, 2]
