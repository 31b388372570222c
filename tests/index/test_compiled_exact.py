"""The compiled exact search against loops in NumPy, and against the torch form of the index."""

from typing import Any

import numpy as np
import pytest
import torch

from index import ExactIndex, IndexConfig, NonFiniteError, ShapeError, make_index
from tests.index.oracle import DictIndex, score

pytest.importorskip("numba")
DTYPES = [torch.float32, torch.float64]
CLOSE = {torch.float32: 1e-5, torch.float64: 1e-12}
# Words, queries, and neighbours: few are kept sorted, many as a heap.
SIZES = [(0, 1, 2), (3, 4, 5), (70, 9, 3), (200, 3, 1), (0, 1, 50), (40, 5, 50), (300, 6, 70)]


def exact(compiled: bool, metric="cosine", dtype: torch.dtype = torch.float32, **sizes: int):
    """An empty index of two memories."""
    sizes = {"batch_size": 2, "capacity": 2**10, "word_size": 7} | sizes
    config = IndexConfig(metric=metric, compiled=compiled)
    index = make_index(config, dtype=dtype, **sizes)
    assert isinstance(index, ExactIndex)
    return index


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("l2", [False, True])
@pytest.mark.parametrize(("count", "queries", "k"), SIZES)
def test_best_of_words_are_those_of_loops(dtype, l2: bool, count: int, queries: int, k: int):
    """Any number of queries, words in several blocks, closed words, and fewer words than k."""
    from index.kernels.exact_search import best_of_all

    words = torch.randn(2, 1 + count, 7, dtype=dtype)
    closed = torch.rand(2, 1 + count) < 0.3
    closed[:, 0] = True
    penalty = torch.zeros(2, 1 + count, dtype=dtype).masked_fill(closed, -torch.inf)
    vectors = torch.randn(2, 2 + queries, 7, dtype=dtype)
    scores = torch.full((2, queries, k), torch.nan, dtype=dtype)
    slots = torch.full((2, queries, k), -7)
    arrays = (tensor.numpy() for tensor in (words, penalty))
    held = torch.empty(16, dtype=dtype).numpy()
    best_of_all(*arrays, count, vectors.numpy(), 2, l2, held, scores.numpy(), slots.numpy())
    for b in range(2):
        for q in range(queries):
            query = vectors[b, 2 + q].double().numpy()
            metric = "l2" if l2 else "dot"
            true = {
                slot: score(query, words[b, 1 + slot].double().numpy(), metric)
                for slot in range(count)
                if not closed[b, 1 + slot]
            }
            best = sorted(true, key=lambda slot: -true[slot])[:k]
            missing = k - len(best)
            assert slots[b, q].tolist() == best + missing * [-1]
            expected = [true[slot] for slot in best] + missing * [-np.inf]
            close: Any = {"rtol": CLOSE[dtype], "atol": CLOSE[dtype]}
            np.testing.assert_allclose(scores[b, q].numpy(), expected, **close)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_random_traffic_gives_what_the_torch_form_gives(dtype, metric) -> None:
    indexes = [exact(compiled, metric, dtype) for compiled in (True, False)]
    for step in range(40):
        for index in indexes:
            index.reserve(20 + 3 * step)
        slots = torch.randint(-1, 20 + 3 * step, (2, 9))
        words, queries = torch.randn(2, 9, 7, dtype=dtype), torch.randn(2, 3, 7, dtype=dtype)
        words = words[:, (slots.unsqueeze(2) == slots.unsqueeze(1)).int().argmax(2)[0]]
        words[1] = words[0]
        slots[1] = slots[0]  # a repeated slot has one word
        found = [index.exchange(slots, words, queries, 4) for index in indexes]
        assert torch.equal(found[0].slots, found[1].slots)
        close = {"rtol": CLOSE[dtype], "atol": CLOSE[dtype]}
        torch.testing.assert_close(found[0].scores, found[1].scores, **close)
        for index in indexes:
            index.remove(slots[:, :2])
            if step % 10 == 9:
                index.reset(torch.tensor([True, False]))
        assert torch.equal(indexes[0].occupancy, indexes[1].occupancy)
    assert torch.equal(indexes[0]._penalty[:, 1:], indexes[1]._penalty[:, 1:])
    torch.testing.assert_close(indexes[0]._words[:, 1:], indexes[1]._words[:, 1:])


@pytest.mark.parametrize("k", [1, 5, 32, 33, 64, 150, 200])
def test_scores_that_come_in_any_order_and_often(k: int) -> None:
    """The best first, last, and many times; of equal ones any, but none twice."""
    from index.kernels.exact_search import best_of_all

    rising = torch.arange(200.0)
    for order in (
        rising,
        rising.flip(0),
        rising % 7,
        torch.zeros(200),
        rising[torch.randperm(200)],
    ):
        words = torch.cat([torch.zeros(1), order]).view(1, 201, 1)
        scores, slots = torch.empty(1, 1, k), torch.empty(1, 1, k, dtype=torch.int64)
        arrays = words.numpy(), torch.zeros(1, 201).numpy(), 200, torch.ones(1, 1, 1).numpy()
        held = torch.empty(16).numpy()
        best_of_all(*arrays, 0, False, held, scores.numpy(), slots.numpy())
        assert torch.equal(scores.flatten(), order.sort(descending=True).values[:k])
        assert torch.equal(order[slots.flatten()], scores.flatten())
        assert len(slots.unique()) == k


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_many_neighbours_are_left_to_torch(metric, monkeypatch) -> None:
    """Selecting them in loops takes up to four times as long."""
    from index.kernels import steps

    calls = []
    before = steps.best_of_all
    monkeypatch.setattr(steps, "best_of_all", lambda *given: calls.append(0) or before(*given))
    index = exact(True, metric, capacity=2**12)
    words, queries = torch.randn(2, 2**12, 7), torch.randn(2, 3, 7)
    index.load(words)
    index.reserve(2**12)
    for k, compiled in ((10, 1), (100, 1), (1000, 0), (2**12, 0), (2**14, 0)):
        found = index.search(queries, k)
        again = index.exchange(torch.full((2, 1), -1), words[:, :1], queries, k)
        # Sums may be rounded differently, and words that score alike change places.
        torch.testing.assert_close(found.scores, again.scores)
        assert len(calls) == 2 * compiled
        calls.clear()
        assert (found.slots >= 0).sum(2).eq(min(k, 2**12)).all()


def test_many_slots_at_once_and_more_words_than_a_compiled_search_is_for() -> None:
    indexes = [exact(compiled, capacity=2**15) for compiled in (True, False)]
    words, queries = torch.randn(2, 2**15, 7), torch.randn(2, 3, 7)
    slots = torch.randint(-1, 500, (2, 200))
    for index in indexes:
        index.load(words)
        found = index.exchange(slots, torch.ones(2, 200, 7), queries, 3)
        assert (index.search_exact(torch.ones(2, 1, 7), 300).scores[..., 0] > 0.99).all()
        torch.testing.assert_close(found, indexes[0].search_exact(queries, 3))
    assert torch.equal(indexes[0].occupancy, indexes[1].occupancy)


@pytest.mark.parametrize("compiled", [True, False])
def test_more_neighbours_than_words(compiled: bool) -> None:
    index, oracle = exact(compiled), DictIndex(2)
    index.reserve(5)
    slots, words = torch.tensor([[3, -1], [-1, -1]]), torch.randn(2, 2, 7)
    index.exchange(slots, words, torch.randn(2, 3, 7), 8)
    oracle.update(slots, words)
    oracle.assert_agrees(index, torch.randn(2, 3, 7), 8)
    found = index.exchange(slots, words, words, 6)
    assert found.slots.tolist() == [[[3] + 5 * [-1]] * 2, [6 * [-1]] * 2]


@pytest.mark.parametrize("slot", [-2, 64, 2**40])
def test_a_slot_out_of_range_changes_nothing(slot: int) -> None:
    """A compiled loop would write beside the words."""
    index = exact(True)
    index.reserve(5)
    before = index.clone()
    slots = torch.tensor([[0, 1], [1, slot]])
    with pytest.raises(ValueError, match=f"slots: expected -1 .skipped. or 0 .. .*, got {slot}"):
        index.exchange(slots, torch.randn(2, 2, 7), torch.randn(2, 3, 7), 2)
    assert torch.equal(before._words, index._words)
    assert index.occupancy.tolist() == [0, 0]


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_not_finite_is_refused_and_changes_nothing(value: float, dtype) -> None:
    index = exact(True, dtype=dtype)
    index.reserve(9)
    slots, words = torch.tensor([[3], [4]]), torch.randn(2, 1, 7, dtype=dtype)
    index.exchange(slots, words, words, 1)
    before = index.clone()
    for which in ("words", "queries"):
        given = [torch.ones(2, 1, 7, dtype=dtype) for _ in range(2)]
        given[which == "queries"][1, 0, 6] = value
        with pytest.raises(NonFiniteError, match=f"{which}: expected finite"):
            index.exchange(slots, *given, 1)
    assert torch.equal(before._words, index._words)


def test_words_whose_sum_overflows_are_stored() -> None:
    """The quick look for NaN must not take them for one."""
    index = exact(True, "l2")
    index.reserve(2)
    words = torch.full((2, 2, 7), 3e38)
    index.exchange(torch.tensor([[0, 1], [-1, 1]]), words, torch.zeros(2, 1, 7), 1)
    assert index.occupancy.tolist() == [2, 1]
    assert torch.equal(index._words[0, 1:3], words[0])


@pytest.mark.parametrize(
    ("slots", "words", "queries"),
    [
        (torch.int32, torch.float32, torch.float32),
        (torch.int64, torch.float16, torch.float32),
        (torch.int64, torch.float32, torch.float64),
    ],
)
def test_an_exchange_names_the_dtypes_that_were_given(slots, words, queries) -> None:
    index = exact(True)
    index.update(torch.tensor([[0], [0]]), torch.ones(2, 1, 7))
    given = f"slots of {slots}, words of {words} and queries of {queries}"
    with pytest.raises(ShapeError, match=f"int64 and vectors of torch.float32, got {given}"):
        index.exchange(
            torch.zeros(2, 1, dtype=slots),
            torch.zeros(2, 1, 7, dtype=words),
            torch.ones(2, 3, 7, dtype=queries),
            2,
        )
    assert index.search(torch.ones(2, 1, 7), 1).scores.sub(1).abs().max() < 1e-6
