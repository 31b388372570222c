"""Calls with nothing in them: no slots, no queries, skipped slots only, more asked for than is."""

import pytest
import torch

from index import VectorIndex
from index.compiled import use_compiled
from tests.index.oracle import CASES, FORMS, DictIndex, filled, pair

NO_SLOTS, SKIPPED = torch.zeros(2, 0, dtype=torch.int64), torch.full((2, 3), -1)
pytestmark = pytest.mark.parametrize("kind", CASES)


@pytest.fixture(autouse=True, params=FORMS, ids=lambda form: "compiled" if form else "plain")
def form(request: pytest.FixtureRequest):
    with use_compiled(request.param):
        yield


def prepared(kind: str, state: str) -> tuple[VectorIndex, DictIndex]:
    """An index in one of some states, with room promised for what an exchange brings."""
    if state == "fresh":
        index, oracle = pair(kind)
    else:
        index, oracle, _ = filled(kind)
    if state == "one row emptied":
        for store in (index, oracle):
            store.reset(torch.tensor([True, False]))
    elif state == "all removed":
        for store in (index, oracle):
            store.remove(torch.arange(12).expand(2, -1))
    index.reserve(20)
    return index, oracle


@pytest.mark.parametrize("state", ["fresh", "filled", "one row emptied", "all removed"])
@pytest.mark.parametrize("slots", [NO_SLOTS, SKIPPED], ids=["no slots", "skipped slots"])
def test_nothing_is_put_anywhere(kind: str, slots: torch.Tensor, state: str) -> None:
    index, oracle = prepared(kind, state)
    words = torch.randn(2, slots.shape[1], 5)
    for queries, k in ((0, 3), (2, 4), (2, 70)):
        asked = torch.randn(2, queries, 5)
        near, wanted = index.exchange(slots, words, asked, k), index.search(asked, k)
        assert near.slots.shape == near.scores.shape == (2, queries, k)
        assert near.slots.dtype == torch.int64
        assert torch.equal(near.slots, wanted.slots)
        torch.testing.assert_close(near.scores, wanted.scores)
    index.update(slots, words)
    index.remove(slots)
    index.load(torch.randn(2, 0, 5))
    index.reset(torch.tensor([False, False]))
    oracle.assert_agrees(index, torch.randn(2, 2, 5), 5)


@pytest.mark.parametrize("state", ["fresh", "filled", "one row emptied"])
def test_words_without_queries(kind: str, state: str) -> None:
    index, oracle = prepared(kind, state)
    slots, words = torch.tensor([[1, 15, -1], [-1, -1, 2]]), torch.randn(2, 3, 5)
    assert index.exchange(slots, words, torch.randn(2, 0, 5), 3).slots.shape == (2, 0, 3)
    oracle.update(slots, words)
    oracle.assert_agrees(index, torch.randn(2, 3, 5), 20)
    assert index.search(torch.randn(2, 0, 5), 3).scores.shape == (2, 0, 3)


def test_one_memory_gets_nothing(kind: str) -> None:
    index, oracle = prepared(kind, "filled")
    slots, words = torch.tensor([[-1, -1], [3, 18]]), torch.randn(2, 2, 5)
    for _ in range(3):
        index.exchange(slots, words, torch.randn(2, 1, 5), 2)
        oracle.update(slots, words)
        oracle.assert_agrees(index, torch.randn(2, 3, 5), 25)
        slots = slots.flip(0)
