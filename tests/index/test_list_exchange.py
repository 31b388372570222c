"""`ListExchanges` does what calls of `exchange` do."""

from typing import Any

import pytest
import torch

from index import IndexConfig, NonFiniteError, make_index
from index.audit import Audit
from index.compiled import use_compiled
from index.neighbors import Neighbors

pytest.importorskip("numba")
BATCH, WIDTH, WRITES, QUERIES, K = 2, 16, 6, 3, 4


def index_with(config: IndexConfig, count: int, random: torch.Generator) -> Any:
    index = make_index(config, batch_size=BATCH, capacity=4096, word_size=WIDTH)
    index.load(torch.randn(BATCH, count, WIDTH, generator=random))
    return index


def steps_of(random: torch.Generator, count: int, below: int) -> list[tuple[torch.Tensor, ...]]:
    """Slots, some twice and some -1, words that drift, and queries near them."""
    given = []
    for step in range(count):
        slots = torch.randint(-1, below, (BATCH, WRITES), generator=random)
        slots[:, 1] = slots[:, 0]
        words = torch.randn(BATCH, WRITES, WIDTH, generator=random) + 0.005 * step
        words[:, 1] = words[:, 0]  # as `exchange` asks for
        queries = words[:, :QUERIES] + 0.3 * torch.randn(BATCH, QUERIES, WIDTH, generator=random)
        given.append((slots, words, queries))
    return given


def run_with(index: Any, steps: list[Any], k: int = K) -> tuple[list[Neighbors], int]:
    """All exchanges, and how many of them were made by `ListExchanges`."""
    answers, made, many = [], 0, None
    for slots, words, queries in steps:
        found = Neighbors(
            torch.empty(BATCH, QUERIES, k, dtype=torch.int64), torch.empty(BATCH, QUERIES, k)
        )
        many = many or index.exchanges(WRITES, QUERIES, k)
        if many is None:
            found = index.exchange(slots, words, queries, k)
        else:
            made += 1
            given = slots.numpy(), words.numpy(), queries.contiguous().numpy()
            into = found.slots.numpy(), found.scores.numpy()
            many = many if many.exchange(*given, *into) else None
        answers.append(found)
    if many is not None:
        many.close()
    return answers, made


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize("options", [{}, {"probes": 8}, {"recall": 0.95}])
def test_answers_lists_and_looks_are_those_of_calls(metric: Any, options: Any) -> None:
    random = torch.Generator().manual_seed(1)
    config = IndexConfig(kind="ivf", metric=metric, exact_below=0, seed=3, **options)
    with use_compiled(True):
        index = index_with(config, 1200, random)
        for _ in range(8):  # until looks have become rare
            index.search(torch.randn(BATCH, 16, WIDTH, generator=random), K)
        called = index.clone()
        steps = steps_of(random, 300, 1200)
        answers, made = run_with(index, steps)
        for found, given in zip(answers, steps, strict=True):
            expected = called.exchange(*given, K)
            assert torch.equal(found.slots, expected.slots)
            assert torch.equal(found.scores, expected.scores)
    assert made > 250
    assert torch.equal(index._lists.lengths, called._lists.lengths)
    assert torch.equal(index._words, called._words)
    assert repr(index.stats()) == repr(called.stats())
    if index._tuner is not None:
        assert index._tuner.looks == called._tuner.looks > 8


def test_lists_are_packed_when_they_run_out_of_places() -> None:
    random = torch.Generator().manual_seed(2)
    config = IndexConfig(kind="ivf", exact_below=0, probes=4)
    with use_compiled(True):
        index = index_with(config, 300, random)
        index.reserve(4096)
        index.search(torch.randn(BATCH, 2, WIDTH), K)
        called, places = index.clone(), index._lists.places
        steps = steps_of(random, 900, 4096)
        answers, made = run_with(index, steps)
        for found, given in zip(answers, steps, strict=True):
            assert torch.equal(found.slots, called.exchange(*given, K).slots)
    assert made == 900 and index._lists.places > places


@pytest.mark.parametrize(("wrong", "error"), [("words", NonFiniteError), ("slots", ValueError)])
def test_what_is_refused_changes_nothing(wrong: str, error: type[Exception]) -> None:
    random = torch.Generator().manual_seed(4)
    with use_compiled(True):
        index = index_with(IndexConfig(kind="ivf", exact_below=0, probes=4), 600, random)
        index.search(torch.randn(BATCH, 2, WIDTH), K)
        ((slots, words, queries),) = steps_of(random, 1, 600)
        before = index._words.clone()
        words[1, 2, 3] = torch.nan if wrong == "words" else 0.0
        slots[1, 2] = 5000 if wrong == "slots" else 0
        with pytest.raises(error, match=wrong):
            run_with(index, [(slots, words, queries)])
        assert torch.equal(index._words, before)


def test_vectors_whose_sum_alone_is_infinite_are_stored() -> None:
    random = torch.Generator().manual_seed(4)
    with use_compiled(True):
        index = index_with(IndexConfig(kind="ivf", exact_below=0, probes=4), 600, random)
        index.search(torch.randn(BATCH, 2, WIDTH), K)
        called = index.clone()
        ((slots, words, queries),) = steps_of(random, 1, 600)
        given = slots, words.abs() * 3e37, queries
        ((found,), _), expected = run_with(index, [given]), called.exchange(*given, K)
        assert torch.equal(found.slots, expected.slots)
        assert torch.equal(index._words, called._words)


def test_queries_that_find_too_little_are_answered_by_all_words() -> None:
    random = torch.Generator().manual_seed(5)
    with use_compiled(True):
        index = index_with(IndexConfig(kind="ivf", exact_below=0, probes=1), 600, random)
        index.search(torch.randn(BATCH, 2, WIDTH), 40)
        index.remove(torch.arange(20, 600).expand(BATCH, -1))
        called = index.clone()
        steps = steps_of(random, 3, 30)
        answers, made = run_with(index, steps, k=40)
        for found, given in zip(answers, steps, strict=True):
            assert torch.equal(found.slots, called.exchange(*given, 40).slots)
    assert made == 3


@pytest.mark.parametrize("kind", ["exact", "lsh", "product"])
def test_other_indexes_have_to_be_called(kind: str) -> None:
    index = make_index(kind, batch_size=1, capacity=64, word_size=WIDTH)
    index.load(torch.randn(1, 64, WIDTH))
    assert index.exchanges(WRITES, QUERIES, K) is None


def test_who_is_audited_or_not_compiled_has_to_call() -> None:
    random = torch.Generator().manual_seed(6)
    with use_compiled(True):
        index = index_with(IndexConfig(kind="ivf", exact_below=0, probes=4), 600, random)
        index.search(torch.randn(BATCH, 2, WIDTH), K)
        assert index.exchanges(WRITES, QUERIES, K) is not None
        with Audit():
            assert index.exchanges(WRITES, QUERIES, K) is None
    with use_compiled(False):
        assert index.exchanges(WRITES, QUERIES, K) is None


def test_lists_that_do_not_pay_are_not_asked() -> None:
    random = torch.Generator().manual_seed(7)
    with use_compiled(True):
        index = index_with(IndexConfig(kind="ivf"), 600, random)
        index.search(torch.randn(BATCH, 2, WIDTH), K)
        assert index.exchanges(WRITES, QUERIES, K) is None
