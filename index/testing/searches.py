"""What a search must find."""

import torch

from index.testing.subject import METRICS, Subject, filled, pair, part


@part
def search_agrees_with_dictionaries(subject: Subject) -> None:
    for metric in METRICS:
        for word_size in (1, 5, 300):
            index, oracle, queries = filled(subject, metric=metric, word_size=word_size)
            for k in (1, 4, 12):
                oracle.assert_agrees(index, queries, k)


@part
def fewer_words_than_k(subject: Subject) -> None:
    for metric in METRICS:
        index, oracle = pair(subject, metric=metric)
        queries = torch.randn(2, 3, 5)
        oracle.assert_agrees(index, queries, 4)
        slots, words = torch.tensor([[3, 1], [-1, -1]]), torch.randn(2, 2, 5)
        for store in (index, oracle):
            store.update(slots, words)
        for k in (1, 2, 3, 70):
            oracle.assert_agrees(index, queries, k)
        assert index.search(queries, 4).slots[1].eq(-1).all()


@part
def rows_of_different_occupancy(subject: Subject) -> None:
    index, oracle = pair(subject, batch_size=3)
    slots = torch.tensor([[0, 1, 2, 40], [-1, 7, -1, -1], [-1, -1, -1, -1]])
    words = torch.randn(3, 4, 5)
    for store in (index, oracle):
        store.update(slots, words)
    oracle.assert_agrees(index, torch.randn(3, 2, 5), 3)
    assert index.occupancy.tolist() == [4, 1, 0]


@part
def zero_words_and_queries(subject: Subject) -> None:
    for metric in METRICS:
        index, oracle, queries = filled(subject, metric=metric)
        for store in (index, oracle):
            store.update(torch.tensor([[2], [5]]), torch.zeros(2, 1, 5))
        queries[:, 0] = 0
        near = index.search(queries, 12)
        assert not near.scores.isnan().any()
        if metric != "l2":
            assert near.scores[:, 0][near.slots[:, 0] >= 0].eq(0).all()
        oracle.assert_agrees(index, queries, 12)


@part
def cosines_do_not_depend_on_lengths(subject: Subject) -> None:
    for dtype, longest in ((torch.float32, 30), (torch.float64, 200)):
        index, oracle, queries = filled(subject, dtype=dtype)
        words = torch.randn(2, 12, 5, dtype=dtype) * 10.0 ** torch.linspace(
            -longest, longest, 12, dtype=dtype
        ).unsqueeze(1)
        for store in (index, oracle):
            store.update(torch.arange(12).expand(2, -1), words)
        for length in (10.0**-longest, 1.0, 10.0**longest):
            oracle.assert_agrees(index, length * queries, 12, rtol=1e-5)


@part
def ties(subject: Subject) -> None:
    index, oracle = pair(subject)
    slots = torch.arange(6).expand(2, -1)
    words = torch.ones(2, 6, 5)
    for store in (index, oracle):
        store.update(slots, words)
    oracle.assert_agrees(index, torch.ones(2, 1, 5), 3)
    first, second = (index.search(torch.ones(2, 1, 5), 3) for _ in range(2))
    assert torch.equal(first.slots, second.slots), "the same question has the same answer"


@part
def float64_is_computed_in_float64(subject: Subject) -> None:
    for metric in METRICS:
        index, oracle, queries = filled(subject, metric=metric, dtype=torch.float64)
        oracle.assert_agrees(index, queries, 6, rtol=1e-12)


@part
def scores_stay_exact_under_autocast(subject: Subject) -> None:
    index, oracle, queries = filled(subject, word_size=64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        oracle.assert_agrees(index, queries, 5, rtol=1e-5)


@part
def empty_calls(subject: Subject) -> None:
    index, oracle, queries = filled(subject)
    index.update(torch.zeros(2, 0, dtype=torch.int64), torch.zeros(2, 0, 5))
    index.remove(torch.zeros(2, 0, dtype=torch.int64))
    assert index.search(torch.zeros(2, 0, 5), 3).slots.shape == (2, 0, 3)
    oracle.assert_agrees(index, queries, 4)
