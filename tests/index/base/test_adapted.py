"""Vector stores of others in the place of a base: what they find, and what is wrong with them."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from index import (
    AdaptedBase,
    BaseMemory,
    IndexConfig,
    NonFiniteError,
    ShapeError,
    as_base,
    make_index,
)
from index.base import adapted
from index.testing import METRICS
from tests.memory.base_episodes import (
    FORMS,
    INPUTS,
    B,
    assert_same,
    base_words,
    make_model,
    normal,
    run,
)

COUNT, W = 40, 6


class ArrayStore:
    """Words in an array, which are searched by comparing all."""

    def __init__(self, words: Tensor, metric: Any = "cosine") -> None:
        self.words, self.metric, self.identity = words.numpy(), metric, "array"
        self.num_words, self.word_size = words.shape

    def search(self, keys: np.ndarray, k: int) -> tuple[Any, Any]:
        words = self.words
        if self.metric == "l2":
            scores = -((keys[:, None] - words) ** 2).sum(2)
        else:
            lengths = np.linalg.norm(words, axis=1) if self.metric == "cosine" else 1
            scores = keys @ words.T / lengths
        slots = (-scores).argsort(1, kind="stable")[:, :k]
        return slots, np.take_along_axis(scores, slots, 1)

    def fetch(self, slots: np.ndarray) -> Any:
        return self.words[slots]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("at_once", [1, 50, 2**21])
def test_all_words_are_compared_where_the_store_finds_others(
    tmp_path, monkeypatch: pytest.MonkeyPatch, metric, at_once: int
) -> None:
    monkeypatch.setattr(adapted, "_AT_ONCE", at_once)

    class Wrong(ArrayStore):
        def search(self, keys: np.ndarray, k: int) -> tuple[Any, Any]:
            return np.zeros((len(keys), 1), int), np.zeros((len(keys), 1))

    words, queries = base_words(COUNT), normal(3, W, seed=2)
    base, store = BaseMemory.create(tmp_path / "base", words, metric=metric), Wrong(words, metric)
    for k in (1, 5, COUNT + 3):
        expected = base.search(queries, k, norm_eps=0.2)
        found = AdaptedBase(store).search(queries, k, norm_eps=0.2, exact=True)
        torch.testing.assert_close(found.scores, expected.scores)
        assert torch.equal(found.slots, expected.slots)
    assert AdaptedBase(store).search(queries[:0], 2, exact=True).slots.shape == (0, 2)
    index: Any = make_index(
        IndexConfig(kind="exact", metric=metric), capacity=50, word_size=W, base=store
    )
    found = index.search_exact(queries.float(), 2).slots
    assert torch.equal(found, base.search(queries.float(), 2).slots)


@pytest.mark.parametrize("metric", METRICS)
def test_an_index_over_a_store_equals_one_over_a_base(tmp_path, metric) -> None:
    words = base_words(COUNT)
    base = BaseMemory.create(tmp_path / "base", words, metric=metric)
    config: Any = {"capacity": COUNT + 9, "word_size": W, "batch_size": 2, "dtype": torch.float64}
    kind = IndexConfig(metric=metric)
    made = [make_index(kind, base=one, **config) for one in (ArrayStore(words, metric), base)]
    queries = normal(2, 5, W, seed=3)
    for change in ("none", "writes", "removals", "begin"):
        for index in made:
            if change == "writes":
                slots = torch.tensor([[3, 4, COUNT + 1], [7, 3, COUNT + 2]])
                index.update(slots, normal(2, 3, W, seed=8))
            elif change == "removals":
                index.remove(torch.arange(20).repeat(2, 1))
            elif change == "begin":
                index.begin(torch.tensor([False, True]))
        for k in (1, 4, COUNT + 9):
            found, expected = (index.search(queries, k) for index in made)
            torch.testing.assert_close(found.scores, expected.scores, rtol=1e-12, atol=1e-12)
            assert torch.equal(found.slots, expected.slots)


@pytest.mark.parametrize("form", FORMS)
def test_a_model_over_a_store_equals_one_over_a_base(tmp_path, form) -> None:
    words, inputs = base_words(COUNT), normal(20, B, INPUTS)
    model = make_model("sam", COUNT + 6, form)
    base = BaseMemory.create(tmp_path / "base", words)
    given = ArrayStore(words), base
    found, expected = (run(model, model.initial_state(B, base=b), inputs, form) for b in given)
    assert_same(found, expected)
    parts = found.state.state_dict()
    again = model.load_state(parts, base=ArrayStore(words))
    assert again.memory.order.base.identity == "array"


def test_a_base_of_a_store() -> None:
    words = base_words(COUNT)
    base = as_base(ArrayStore(words))
    assert as_base(base) is base and copy.deepcopy(base) is base and len(base) == COUNT
    assert (base.word_size, base.metric, base.index) == (W, "cosine", "ArrayStore")
    slots = torch.tensor([[3, -1], [3, 39]])
    found = base.words_at(slots, dtype=torch.float64)
    assert torch.equal(found[1], words[[3, 39]].double()) and not found[0, 1].any()
    found.zero_()
    assert torch.equal(base.words_at(torch.tensor([3])), words[[3]]), "words are copies"
    assert base.search(words[4], 2).slots[0] == 4
    again = pickle.loads(pickle.dumps(base)).search(words, 2)
    assert torch.equal(again.slots[:, 0], torch.arange(COUNT))
    with pytest.raises(NonFiniteError):
        base.search(words[0] * torch.nan, 1)


def with_search(answer) -> ArrayStore:
    store = ArrayStore(base_words(COUNT))
    search = store.search
    store.search = lambda keys, k: answer(*map(np.array, search(keys, k)))
    return store


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (lambda slots, scores: (slots, -scores), "expected the highest score first, got a lower"),
        (lambda slots, scores: (slots + 38, scores), "expected slots in -1 .. 39, got"),
        (lambda slots, scores: (slots * 0, scores), "expected each slot once, got one repeatedly"),
        (lambda slots, scores: (slots[:, :1], scores), r"\[2, 3\] and as many scores, got"),
        (lambda slots, scores: (slots[0], scores[0]), r"got torch.int64 \[3\] and \[3\]"),
        (lambda slots, scores: (slots * 1.0, scores), "expected integers .* got torch.float64"),
    ],
)
def test_wrong_answers_of_a_store(answer, text: str) -> None:
    with pytest.raises(ShapeError, match=f"store.search: .*{text}") as caught:
        as_base(with_search(answer)).search(base_words(2), 3)
    assert "\n" not in str(caught.value)


def test_stores_that_find_less() -> None:
    def fewer(slots: np.ndarray, scores: np.ndarray):
        slots[0, 1:] = -1
        scores[0, 1:] = -np.inf
        return slots[:, :2], scores[:, :2]

    found = as_base(with_search(fewer)).search(base_words(2), 3)
    assert found.slots[0].ge(0).tolist() == [True, False, False] and found.slots[1, :2].ge(0).all()
    assert found.scores[0, 1:].eq(-torch.inf).all() and found.slots[1, 2] == -1


def test_stores_that_are_none() -> None:
    def changed(**settings: Any) -> ArrayStore:
        store = ArrayStore(base_words(COUNT))
        for name, value in settings.items():
            setattr(store, name, value)
        return store

    for wrong, error, text in (
        (changed(metric="Cosine"), ValueError, "store.metric: expected one of cosine, dot, l2"),
        (changed(num_words=0), ShapeError, "store.num_words: expected a whole number >= 1, got 0"),
        (changed(identity=""), ValueError, "store.identity: expected a text"),
        (ArrayStore, TypeError, "base: expected a BaseMemory, got type; or another base"),
        (3, TypeError, "base: expected a BaseMemory, got int; or another base, or a VectorStore"),
    ):
        with pytest.raises(error, match=text):
            as_base(wrong)
    with pytest.raises(TypeError, match="store: expected a VectorStore, got int"):
        AdaptedBase(3)
    short = changed(fetch=lambda slots: base_words(1))
    with pytest.raises(ShapeError, match=r"store.fetch: expected finite words \[2, 6\], got \[1"):
        as_base(short).words_at(torch.tensor([1, 2]))
    with pytest.raises(ShapeError, match="base: expected words of word_size=5, got 6"):
        make_index("exact", capacity=50, word_size=5, base=changed())
    with pytest.raises(ValueError, match="base: expected one of metric 'cosine', got 'l2'"):
        make_index("exact", capacity=50, word_size=6, base=changed(metric="l2"))
