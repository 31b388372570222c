"""The contract of an index as tests, for backends of your own; it runs with or without pytest.

    from index.testing import CHECKS, check_index

    check_index("mine")  # a registered name, an IndexConfig, or a function that makes an index

    @pytest.mark.parametrize("check", CHECKS)  # the same, one test for each part of the contract
    def test_contract(check):
        check("mine")

A function is called with the keyword arguments of `make_index`, and `metric`.
"""

import copy
import functools
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from index.config import IndexConfig
from index.contents import Contents
from index.errors import NonFiniteError, ShapeError
from index.metric import Metric
from index.neighbors import Neighbors
from index.registry import as_index_config, make_index
from index.vector_index import VectorIndex

Make = Callable[..., VectorIndex]
Subject = str | IndexConfig | Make
METRICS: tuple[Metric, ...] = ("cosine", "dot", "l2")
CHECKS: list[Callable[[Subject], None]] = []
"""The parts of the contract: each raises AssertionError if an index does not keep it."""


def check_index(subject: Subject) -> None:
    """Runs all `CHECKS`.

    Args:
        subject: a registered name, a configuration, or a function that makes an index.

    Raises:
        AssertionError: the index does something else than the contract says.
    """
    for check in CHECKS:
        check(subject)


def score(query: np.ndarray, word: np.ndarray, metric: Metric, norm_eps: float = 0.0) -> float:
    """One score in float64, from the definition of the metric; see `IndexConfig`."""
    query, word = query.astype(np.float64), word.astype(np.float64)
    if metric == "l2":
        return -float(((query - word) ** 2).sum())
    if metric == "dot":
        return float((query * word).sum())
    return float((_unit(query, norm_eps) * _unit(word, norm_eps)).sum())


def _unit(vector: np.ndarray, norm_eps: float) -> np.ndarray:
    """v / sqrt(v.v + eps), or zeros; divided first by its largest number."""
    largest = max(np.abs(vector).max(), np.sqrt(norm_eps))
    if largest == 0:
        return vector
    vector = vector / largest
    return vector / np.sqrt((vector * vector).sum() + (np.sqrt(norm_eps) / largest) ** 2)


class DictIndex:
    """B dictionaries from slot to word: what an index must do, without any cleverness."""

    def __init__(self, batch_size: int, metric: Metric = "cosine", norm_eps: float = 0.0) -> None:
        self.words: list[dict[int, np.ndarray]] = [{} for _ in range(batch_size)]
        self.metric: Metric = metric
        self.norm_eps = norm_eps

    def update(self, slots: Tensor, words: Tensor) -> None:
        for b, memory in enumerate(self.words):
            for slot, word in zip(slots[b].tolist(), words[b].double().numpy(), strict=True):
                if slot >= 0:
                    memory[slot] = word.copy()

    def remove(self, slots: Tensor) -> None:
        for b, memory in enumerate(self.words):
            for slot in slots[b].tolist():
                memory.pop(slot, None)

    def reset(self, rows: Tensor | None = None) -> None:
        for b, memory in enumerate(self.words):
            if rows is None or rows[b]:
                memory.clear()

    def assert_agrees(
        self, index: VectorIndex, queries: Tensor, k: int, *, rtol: float = 1e-4
    ) -> None:
        """Searches the index and checks everything the contract says about the answer."""
        found = index.search(queries, k)
        batch, count = queries.shape[:2]
        assert found.slots.shape == found.scores.shape == (batch, count, k)
        assert found.slots.dtype == torch.int64
        assert found.scores.dtype == index.dtype
        assert index.occupancy.tolist() == [len(memory) for memory in self.words]
        for b, memory in enumerate(self.words):
            for q in range(count):
                query = queries[b, q].double().numpy()
                true = {
                    slot: score(query, word, self.metric, self.norm_eps)
                    for slot, word in memory.items()
                }
                slots, scores = found.slots[b, q].tolist(), found.scores[b, q].double().numpy()
                n = sum(slot >= 0 for slot in slots)
                assert slots[n:] == [-1] * (k - n), "free places come last"
                assert np.all(scores[n:] == -np.inf), "a free place has the score -inf"
                assert len(set(slots[:n])) == n, "a slot was returned twice"
                assert set(slots[:n]) <= set(memory), "a slot without a word was returned"
                scale = max((abs(value) for value in true.values()), default=1.0)
                close: Any = {"rtol": rtol, "atol": rtol * max(1.0, scale)}
                np.testing.assert_allclose(scores[:n], [true[s] for s in slots[:n]], **close)
                assert np.all(np.diff(scores[:n]) <= 0), "best first"
                if index.searching == "exact":
                    assert n == min(k, len(memory))
                    best = sorted(true.values(), reverse=True)[:n]
                    np.testing.assert_allclose(scores[:n], best, **close)


def pair(
    subject: Subject,
    *,
    batch_size: int = 2,
    capacity: int = 64,
    word_size: int = 5,
    metric: Metric = "cosine",
    dtype: torch.dtype = torch.float32,
) -> tuple[VectorIndex, DictIndex]:
    """An empty index and its oracle."""
    sizes: Any = {
        "batch_size": batch_size,
        "capacity": capacity,
        "word_size": word_size,
        "dtype": dtype,
    }
    if isinstance(subject, str | IndexConfig):
        index = make_index(replace(as_index_config(subject), metric=metric), **sizes)
    else:
        index = subject(metric=metric, **sizes)
    return index, DictIndex(batch_size, metric, index.config.norm_eps or 0.0)


def filled(
    subject: Subject, count: int = 12, **options: Any
) -> tuple[VectorIndex, DictIndex, Tensor]:
    """An index with words at slots 0 .. count-1 of each memory, its oracle, and queries."""
    index, oracle = pair(subject, **options)
    slots = torch.stack([torch.randperm(count) for _ in range(index.batch_size)])
    words = torch.randn(index.batch_size, count, index.word_size, dtype=index.dtype)
    for store in (index, oracle):
        store.update(slots, words)
    queries = torch.randn(index.batch_size, 3, index.word_size, dtype=index.dtype)
    return index, oracle, queries


def answer(index: VectorIndex, queries: Tensor, k: int) -> Neighbors:
    """A copy of what the index answers, to compare before and after."""
    near = index.search(queries, k)
    return Neighbors(near.slots.clone(), near.scores.clone())


@contextmanager
def _raises(error: type[Exception]) -> Iterator[None]:
    try:
        yield
    except error:
        return
    raise AssertionError(f"expected {error.__name__}, got no error")


def _part(check: Callable[[Subject], None]) -> Callable[[Subject], None]:
    """Adds a check to the contract, seeded."""

    @functools.wraps(check)
    def seeded(subject: Subject) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            check(subject)

    CHECKS.append(seeded)
    return seeded


@_part
def search_agrees_with_dictionaries(subject: Subject) -> None:
    for metric in METRICS:
        for word_size in (1, 5, 300):
            index, oracle, queries = filled(subject, metric=metric, word_size=word_size)
            for k in (1, 4, 12):
                oracle.assert_agrees(index, queries, k)


@_part
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


@_part
def rows_of_different_occupancy(subject: Subject) -> None:
    index, oracle = pair(subject, batch_size=3)
    slots = torch.tensor([[0, 1, 2, 40], [-1, 7, -1, -1], [-1, -1, -1, -1]])
    words = torch.randn(3, 4, 5)
    for store in (index, oracle):
        store.update(slots, words)
    oracle.assert_agrees(index, torch.randn(3, 2, 5), 3)
    assert index.occupancy.tolist() == [4, 1, 0]


@_part
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


@_part
def the_last_of_equal_slots_counts(subject: Subject) -> None:
    for count in (6, 200):
        index, oracle = pair(subject, capacity=8)
        for _ in range(5):
            slots = torch.randint(-1, 4, (2, count))
            words = torch.randn(2, count, 5)
            for store in (index, oracle):
                store.update(slots, words)
            oracle.assert_agrees(index, torch.randn(2, 3, 5), 4)


@_part
def minus_one_is_skipped(subject: Subject) -> None:
    index, oracle, queries = filled(subject)
    before = answer(index, queries, 12)
    index.update(torch.full((2, 3), -1), 100 * torch.randn(2, 3, 5))
    index.remove(torch.full((2, 3), -1))
    after = index.search(queries, 12)
    assert torch.equal(before.slots, after.slots)
    assert torch.equal(before.scores, after.scores)
    oracle.assert_agrees(index, queries, 4)


@_part
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


@_part
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


@_part
def ties(subject: Subject) -> None:
    index, oracle = pair(subject)
    slots = torch.arange(6).expand(2, -1)
    words = torch.ones(2, 6, 5)
    for store in (index, oracle):
        store.update(slots, words)
    oracle.assert_agrees(index, torch.ones(2, 1, 5), 3)
    first, second = (index.search(torch.ones(2, 1, 5), 3) for _ in range(2))
    assert torch.equal(first.slots, second.slots), "the same question has the same answer"


@_part
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


@_part
def reset(subject: Subject) -> None:
    index, oracle, queries = filled(subject)
    for rows in (torch.tensor([False, False]), torch.tensor([False, True]), None):
        for store in (index, oracle):
            store.reset(rows)
        oracle.assert_agrees(index, queries, 5)
    for store in (index, oracle):
        store.update(torch.tensor([[2], [1]]), torch.ones(2, 1, 5))
    oracle.assert_agrees(index, queries, 5)


@_part
def growth_keeps_what_was_there(subject: Subject) -> None:
    index, oracle = pair(subject, capacity=5000)
    for slot in (0, 15, 16, 17, 31, 32, 33, 700, 4999):
        word = torch.randn(2, 1, 5)
        for store in (index, oracle):
            store.update(torch.full((2, 1), slot), word)
        oracle.assert_agrees(index, torch.randn(2, 2, 5), 9)


@_part
def other_layouts_and_dtypes_are_accepted(subject: Subject) -> None:
    index, oracle = pair(subject)
    slots = torch.tensor([[0, 1], [2, 3], [4, 5]], dtype=torch.int32).t()[:, :2]
    words = torch.randn(5, 4, 2).permute(2, 1, 0)[:, ::2]
    assert not slots.is_contiguous()
    assert not words.is_contiguous()
    for store in (index, oracle):
        store.update(slots, words)
    oracle.assert_agrees(index, torch.randn(5, 3, 2).permute(2, 1, 0), 2)
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        words = torch.randn(2, 2, 5).to(dtype)
        for store in (index, oracle):
            store.update(slots, words)
        oracle.assert_agrees(index, torch.randn(2, 1, 5).to(dtype), 2)


@_part
def float64_is_computed_in_float64(subject: Subject) -> None:
    for metric in METRICS:
        index, oracle, queries = filled(subject, metric=metric, dtype=torch.float64)
        oracle.assert_agrees(index, queries, 6, rtol=1e-12)


@_part
def empty_calls(subject: Subject) -> None:
    index, oracle, queries = filled(subject)
    index.update(torch.zeros(2, 0, dtype=torch.int64), torch.zeros(2, 0, 5))
    index.remove(torch.zeros(2, 0, dtype=torch.int64))
    assert index.search(torch.zeros(2, 0, 5), 3).slots.shape == (2, 0, 3)
    oracle.assert_agrees(index, queries, 4)


@_part
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


@_part
def scores_stay_exact_under_autocast(subject: Subject) -> None:
    index, oracle, queries = filled(subject, word_size=64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        oracle.assert_agrees(index, queries, 5, rtol=1e-5)


@_part
def an_index_used_in_inference_mode_can_be_used_afterwards(subject: Subject) -> None:
    index, oracle, queries = filled(subject)
    with torch.inference_mode():
        for store in (index, oracle):
            store.update(torch.tensor([[50], [51]]), torch.ones(2, 1, 5))
        copied = index.clone()
    for store in (index, copied, oracle):
        store.update(torch.tensor([[52], [50]]), -torch.ones(2, 1, 5))
    for store in (index, copied):
        oracle.assert_agrees(store, queries, 5)


@_part
def capacity_costs_nothing(subject: Subject) -> None:
    small, large = (pair(subject, batch_size=8, capacity=2**n, word_size=32) for n in (10, 30))
    assert large[0].nbytes == small[0].nbytes < 100_000
    slots, words = torch.arange(40).expand(8, -1), torch.randn(8, 40, 32)
    for store in (*small, *large):
        store.update(slots, words)
    assert large[0].nbytes == small[0].nbytes
    large[1].assert_agrees(large[0], torch.randn(8, 2, 32), 4)


@_part
def copies_are_independent(subject: Subject) -> None:
    for copied in (lambda index: index.clone(), copy.deepcopy):
        index, oracle, queries = filled(subject)
        other = copied(index)
        slots, words = torch.tensor([[1, 40], [2, 40]]), torch.ones(2, 2, 5)
        assert index.to("cpu") is index
        other_oracle = copy.deepcopy(oracle)
        for store in (other, other_oracle):
            store.update(slots, words)
            store.reset(torch.tensor([True, False]))
        oracle.assert_agrees(index, queries, 5)
        other_oracle.assert_agrees(other, queries, 5)
        for store in (index, oracle):
            store.reset()
        other_oracle.assert_agrees(other, queries, 5)


@_part
def a_pickled_index_goes_on(subject: Subject) -> None:
    index, oracle, queries = filled(subject)
    searching = index.searching
    data = pickle.dumps(index)
    assert len(data) < 10_000 + index.nbytes, "more than the words"
    assert index.searching == searching
    other = pickle.loads(data)
    assert other.config == index.config
    assert other.searching == searching
    oracle.assert_agrees(other, queries, 6)
    for store in (other, oracle):
        store.update(torch.tensor([[1], [30]]), torch.ones(2, 1, 5))
    oracle.assert_agrees(other, queries, 6)


@_part
def a_restored_index_goes_on(subject: Subject) -> None:
    """What `save` writes is enough; a backend without `_content` cannot be saved."""
    index, oracle, queries = filled(subject)
    try:
        content = index.content()
    except NotImplementedError:
        return
    tensors = {name: part.clone() for name, part in content.items() if isinstance(part, Tensor)}
    settings = {name: part for name, part in content.items() if name not in tensors}
    given = Contents("content", tensors, settings)
    other = pair(subject)[0].restored(given)
    given.finish()
    for store in (other, oracle):
        store.update(torch.tensor([[1], [30]]), torch.ones(2, 1, 5))
    oracle.assert_agrees(other, queries, 6)


@_part
def reserve_is_a_promise(subject: Subject) -> None:
    index, oracle, queries = filled(subject)
    index.reserve(20)
    for store in (index, oracle):
        store.update(torch.tensor([[19], [12]]), torch.ones(2, 1, 5))
    with _raises(ValueError):
        index.update(torch.tensor([[20], [12]]), torch.ones(2, 1, 5))
    oracle.assert_agrees(index, queries, 5)
    for _ in range(2):  # a higher promise, then none
        index.reserve(30)
        for store in (index, oracle):
            store.update(torch.tensor([[29], [12]]), torch.ones(2, 1, 5))
            store.reset()
            store.update(torch.tensor([[63], [1]]), torch.ones(2, 1, 5))
        oracle.assert_agrees(index, queries, 5)
    with _raises(ValueError):
        index.reserve(65)


@_part
def resize_changes_the_capacity(subject: Subject) -> None:
    index, oracle, queries = filled(subject, capacity=20)
    with _raises(ValueError):
        index.resize(11)  # 12 slots are in use
    index.resize(12)
    with _raises(ValueError):
        index.update(torch.tensor([[12], [0]]), torch.ones(2, 1, 5))
    oracle.assert_agrees(index, queries, 12)
    index.resize(10_000)
    for store in (index, oracle):
        store.update(torch.tensor([[9_999], [500]]), torch.ones(2, 1, 5))
    oracle.assert_agrees(index, queries, 13)


@_part
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


@_part
def wrong_calls_raise_and_change_nothing(subject: Subject) -> None:
    index, oracle, queries = filled(subject)
    slots, words = torch.tensor([[0, 50], [1, 51]]), torch.ones(2, 2, 5)
    spoiled = words.clone()
    spoiled[1, 1, 4] = torch.nan
    index.reserve(60)
    calls: list[tuple[type[Exception], Callable[[], Any]]] = [
        (ValueError, lambda: index.update(slots + 20, words)),
        (ValueError, lambda: index.update(slots - 2, words)),
        (ValueError, lambda: index.remove(slots + 20)),
        (ShapeError, lambda: index.update(slots.float(), words)),
        (ShapeError, lambda: index.update(slots[:1], words)),
        (ShapeError, lambda: index.update(slots, words[..., :4])),
        (NonFiniteError, lambda: index.update(slots, spoiled)),
        (ShapeError, lambda: index.search(words[:1], 2)),
        (NonFiniteError, lambda: index.search(spoiled, 2)),
        (ValueError, lambda: index.search(words, 0)),
        (ShapeError, lambda: index.reset(torch.ones(3, dtype=torch.bool))),
        (NonFiniteError, lambda: index.exchange(slots, spoiled, queries, 2)),
        (NonFiniteError, lambda: index.exchange(slots, words, spoiled, 2)),
        (ValueError, lambda: index.exchange(slots + 20, words, queries, 2)),
    ]
    for error, call in calls:
        with _raises(error):
            call()
        oracle.assert_agrees(index, queries, 12)
