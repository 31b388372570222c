"""What a change of the words must do, and what must not change anything."""

import torch

from index.testing.subject import Subject, answer, filled, pair, part, raises


@part
def a_new_word_replaces_the_old(subject: Subject) -> None:
    index, oracle, _ = filled(subject)
    old = torch.eye(5)[None, :1].expand(2, -1, -1)
    new = torch.eye(5)[None, 1:2].expand(2, -1, -1)
    for word in (old, new):
        for store in (index, oracle):
            store.update(torch.full((2, 1), 7), word)
        near = index.search(word, 1)
        assert near.slots.eq(7).all(), "a word is found by itself"
        torch.testing.assert_close(near.scores, torch.ones(2, 1, 1))
    assert index.search(old, 1).scores.max() < 0.9999
    oracle.assert_agrees(index, old, 12)


@part
def the_last_of_equal_slots_counts(subject: Subject) -> None:
    for count in (6, 200):
        index, oracle = pair(subject, capacity=8)
        for _ in range(5):
            slots = torch.randint(-1, 4, (2, count))
            words = torch.randn(2, count, 5)
            for store in (index, oracle):
                store.update(slots, words)
            oracle.assert_agrees(index, torch.randn(2, 3, 5), 4)


@part
def minus_one_is_skipped(subject: Subject) -> None:
    index, oracle, queries = filled(subject)
    before = answer(index, queries, 12)
    index.update(torch.full((2, 3), -1), 100 * torch.randn(2, 3, 5))
    index.remove(torch.full((2, 3), -1))
    after = index.search(queries, 12)
    assert torch.equal(before.slots, after.slots)
    assert torch.equal(before.scores, after.scores)
    oracle.assert_agrees(index, queries, 4)


@part
def removal_and_adding_again(subject: Subject) -> None:
    index, oracle, queries = filled(subject)
    gone = torch.tensor([[0, 3, 3, -1, 60], [11, 10, 9, -1, -1]])  # twice, skipped, never there
    for store in (index, oracle):
        store.remove(gone)
    oracle.assert_agrees(index, queries, 12)
    slots, words = torch.tensor([[3, 20], [11, 9]]), torch.randn(2, 2, 5)
    for store in (index, oracle):
        store.update(slots, words)
    oracle.assert_agrees(index, queries, 12)


@part
def reset(subject: Subject) -> None:
    index, oracle, queries = filled(subject)
    for rows in (torch.tensor([False, False]), torch.tensor([False, True]), None):
        for store in (index, oracle):
            store.reset(rows)
        oracle.assert_agrees(index, queries, 5)
    for store in (index, oracle):
        store.update(torch.tensor([[2], [1]]), torch.ones(2, 1, 5))
    oracle.assert_agrees(index, queries, 5)


@part
def growth_keeps_what_was_there(subject: Subject) -> None:
    index, oracle = pair(subject, capacity=5000)
    for slot in (0, 15, 16, 17, 31, 32, 33, 700, 4999):
        word = torch.randn(2, 1, 5)
        for store in (index, oracle):
            store.update(torch.full((2, 1), slot), word)
        oracle.assert_agrees(index, torch.randn(2, 2, 5), 9)


@part
def capacity_costs_nothing(subject: Subject) -> None:
    small, large = (pair(subject, batch_size=8, capacity=2**n, word_size=32) for n in (10, 30))
    assert large[0].nbytes == small[0].nbytes < 100_000
    slots, words = torch.arange(40).expand(8, -1), torch.randn(8, 40, 32)
    for store in (*small, *large):
        store.update(slots, words)
    assert large[0].nbytes == small[0].nbytes
    large[1].assert_agrees(large[0], torch.randn(8, 2, 32), 4)


@part
def no_gradient_passes_and_nothing_is_aliased(subject: Subject) -> None:
    index, oracle, _ = filled(subject)
    slots, words = torch.tensor([[1], [2]]), torch.randn(2, 1, 5)
    oracle.update(slots, words)
    given = words.clone().requires_grad_()
    index.update(slots, given)
    queries = torch.randn(2, 3, 5, requires_grad=True)
    assert not index.search(queries, 3).scores.requires_grad
    with torch.no_grad():
        given.fill_(9.0)  # what the caller does with its tensor later must not matter
    oracle.assert_agrees(index, queries.detach(), 4)


@part
def exchange_is_an_update_and_a_search(subject: Subject) -> None:
    index, oracle, queries = filled(subject)
    index.reserve(48)
    slots = torch.tensor([[3, 47, 3, -1], [-1, 9, 9, 40]])
    words = torch.randn(2, 4, 5)
    words[0, 2], words[1, 2] = words[0, 0], words[1, 1]  # a repeated slot has one word
    near = index.exchange(slots, words, queries, 4)
    oracle.update(slots, words)
    expected = index.search(queries, 4)
    assert torch.equal(near.slots, expected.slots)
    torch.testing.assert_close(near.scores, expected.scores)
    oracle.assert_agrees(index, queries, 12)


@part
def reserve_is_a_promise(subject: Subject) -> None:
    index, oracle, queries = filled(subject)
    index.reserve(20)
    for store in (index, oracle):
        store.update(torch.tensor([[19], [12]]), torch.ones(2, 1, 5))
    with raises(ValueError):
        index.update(torch.tensor([[20], [12]]), torch.ones(2, 1, 5))
    oracle.assert_agrees(index, queries, 5)
    for _ in range(2):  # a higher promise, then none
        index.reserve(30)
        for store in (index, oracle):
            store.update(torch.tensor([[29], [12]]), torch.ones(2, 1, 5))
            store.reset()
            store.update(torch.tensor([[63], [1]]), torch.ones(2, 1, 5))
        oracle.assert_agrees(index, queries, 5)
    with raises(ValueError):
        index.reserve(65)


@part
def resize_changes_the_capacity(subject: Subject) -> None:
    index, oracle, queries = filled(subject, capacity=20)
    with raises(ValueError):
        index.resize(11)  # 12 slots are in use
    index.resize(12)
    with raises(ValueError):
        index.update(torch.tensor([[12], [0]]), torch.ones(2, 1, 5))
    oracle.assert_agrees(index, queries, 12)
    index.resize(10_000)
    for store in (index, oracle):
        store.update(torch.tensor([[9_999], [500]]), torch.ones(2, 1, 5))
    oracle.assert_agrees(index, queries, 13)
