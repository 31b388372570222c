"""Compiled loops read words as they are kept: the same numbers, lists and neighbors as in torch."""

from typing import Any

import numpy as np
import pytest
import torch

from index.storage import as_array, storage_of
from tests.index.hashed_cases import KINDS
from tests.index.test_compiled_hashed import THOROUGH, assert_whole, compare, contents, make

numba = pytest.importorskip("numba")
STORAGES = ("float16", "bfloat16", "int8")


def all_halves() -> torch.Tensor:
    """Every finite number of float16, [16, 3968]."""
    bits = np.arange(2**16, dtype=np.uint16).view(np.float16)
    return torch.from_numpy(bits[np.isfinite(bits)].astype(np.float32)).view(16, -1)


@pytest.mark.parametrize("name", STORAGES)
def test_every_number_is_read_as_it_is(name: Any) -> None:
    """Of one word at a time: with one 1 in a query the score is a number of the word."""
    from index.kernels.steps import best_of_all

    words = all_halves()
    storage = storage_of(name, torch.float32, words.shape[1])
    kept = storage.encode(words)
    for row in range(16):
        held = kept[row].view(1, 1, -1).expand(1, 2, -1).contiguous()
        queries = torch.eye(512, words.shape[1]).roll(512 * (row % 7), 1).unsqueeze(0)
        found = best_of_all(held, torch.zeros(1, 2), 1, queries, 0, 1, False)
        expected = (storage.decode(kept[row]) * queries[0]).sum(1)
        assert torch.equal(found.scores[0, :, 0], expected)


def test_halves_without_an_instruction_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    from index.kernels import kept
    from index.llvm import kept_vectors

    for known in (True, False):
        if known and not kept_vectors.knows_half():
            continue  # this processor has none
        monkeypatch.setattr(kept_vectors, "knows_half", lambda known=known: known)
        from_half = kept.from_half

        @numba.njit
        def read(bits, numbers, from_half=from_half):
            for at in range(len(bits)):
                numbers[at] = from_half(np.uint32(bits[at]))

        halves = all_halves().flatten()
        numbers = np.empty(len(halves), np.float32)
        read(as_array(halves.half()), numbers)
        assert np.array_equal(numbers, halves.numpy())


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("kind", [*KINDS, "ivf, no copies"])
def test_the_same_lists_and_neighbors(kind: str, metric: Any) -> None:
    """In float64, as rounding may put a word on the other side of a hyperplane."""
    kind, _, without = kind.partition(", ")
    options: Any = {"copies": False} if without else {}
    options |= {"storage": "int8", "metric": metric, "probes": 3, "buckets": 64}
    dtype = torch.float64
    indexes = [make(kind, dtype, compiled=compiled, **options) for compiled in (True, False)]
    centers = torch.randn(2, 6, 6, dtype=dtype)
    for step in range(12):
        count = 40
        slots = torch.stack([torch.randperm(60 + 30 * step)[:count] for _ in range(2)])
        words = centers[:, torch.randint(6, (count,))]
        words = words + 0.1 * torch.randn(2, count, 6, dtype=dtype)
        for index in indexes:
            index.update(slots, words)
            index.remove(slots[:, :5])
    for index in indexes:
        index.reserve(500)
    queries = torch.randn(2, 3, 6, dtype=dtype)
    found, expected = (index.exchange(slots, words, queries, 4) for index in indexes)
    assert torch.equal(found.slots, expected.slots)
    compare(*indexes, torch.randn(2, 7, 6, dtype=dtype), 6)
    assert contents(indexes[0]) == contents(indexes[1])
    for index in indexes:
        assert_whole(index)


# Each kind of storage has loops of its own; that its numbers are read as they are is tested above.
SLOW_TO_COMPILE = [pytest.param(name, marks=pytest.mark.slow) for name in ("float16", "bfloat16")]


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("copies", [True, False])
@pytest.mark.parametrize("name", ["int8", *SLOW_TO_COMPILE])
def test_all_lists_together_have_the_nearest(name: Any, copies: bool, metric: Any) -> None:
    options = {"storage": name, "copies": copies, "metric": metric, **THOROUGH}
    indexes = [make("ivf", compiled=compiled, **options) for compiled in (True, False)]
    words, queries = torch.randn(2, 700, 6), torch.randn(2, 9, 6)
    for index in indexes:
        index.load(words)
        index.update(torch.arange(50).expand(2, -1), -words[:, :50])
        assert_whole(index)
        expected = index.search_exact(queries, 8)
        torch.testing.assert_close(index.search(queries, 8).scores, expected.scores)
    found, other = (index.search(queries, 8) for index in indexes)
    torch.testing.assert_close(found.scores, other.scores)


@pytest.mark.parametrize("name", STORAGES)
def test_exact_search_is_compiled_for_rounded_words(name: Any, monkeypatch) -> None:
    from index import ExactIndex, IndexConfig
    from index.kernels import steps

    calls = []
    best = steps.best_of_all
    monkeypatch.setattr(steps, "best_of_all", lambda *args: calls.append(1) or best(*args))
    indexes = [
        ExactIndex(IndexConfig(storage=name, compiled=form), capacity=2**15, word_size=20)
        for form in (True, False)
    ]
    words, queries = torch.randn(2**15, 20), torch.randn(30, 20)
    for index in indexes:
        index.load(words)
    found, expected = (index.search(queries, 9) for index in indexes)
    assert calls == [1]
    torch.testing.assert_close(found.scores, expected.scores)
    assert (found.slots == expected.slots).float().mean() > 0.99
