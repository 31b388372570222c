"""What every registered index does, against dictionaries in NumPy; errors: next file."""

import copy
import pickle

import pytest
import torch

from index import NonFiniteError
from tests.index.oracle import CASES, content, filled, pair

METRICS = ("cosine", "dot", "l2")
pytestmark = pytest.mark.parametrize("kind", CASES)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("word_size", [1, 5, 300])
def test_search_agrees_with_the_oracle(kind: str, metric, word_size: int) -> None:
    index, oracle, queries = filled(kind, metric=metric, word_size=word_size)
    for k in (1, 4, 12):
        oracle.assert_agrees(index, queries, k)


@pytest.mark.parametrize("metric", METRICS)
def test_fewer_words_than_k(kind: str, metric) -> None:
    index, oracle = pair(kind, metric=metric)
    queries = torch.randn(2, 3, 5)
    oracle.assert_agrees(index, queries, 4)
    slots, words = torch.tensor([[3, 1], [-1, -1]]), torch.randn(2, 2, 5)
    for store in (index, oracle):
        store.update(slots, words)
    for k in (1, 2, 3, 70):
        oracle.assert_agrees(index, queries, k)
    assert index.search(queries, 4).slots[1].eq(-1).all()


def test_rows_of_different_occupancy(kind: str) -> None:
    index, oracle = pair(kind, batch_size=3)
    slots = torch.tensor([[0, 1, 2, 40], [-1, 7, -1, -1], [-1, -1, -1, -1]])
    words = torch.randn(3, 4, 5)
    for store in (index, oracle):
        store.update(slots, words)
    oracle.assert_agrees(index, torch.randn(3, 2, 5), 3)
    assert index.occupancy.tolist() == [4, 1, 0]


def test_a_new_word_replaces_the_old(kind: str) -> None:
    index, oracle, _ = filled(kind)
    old = torch.eye(5)[None, :1].expand(2, -1, -1)
    new = torch.eye(5)[None, 1:2].expand(2, -1, -1)
    for word in (old, new):
        for store in (index, oracle):
            store.update(torch.full((2, 1), 7), word)
        near = index.search(word, 1)
        assert near.slots.eq(7).all()
        torch.testing.assert_close(near.scores, torch.ones(2, 1, 1))
    assert index.search(old, 1).scores.max() < 0.9999
    oracle.assert_agrees(index, old, 12)


@pytest.mark.parametrize("count", [6, 200])
def test_the_last_of_equal_slots_counts(kind: str, count: int) -> None:
    index, oracle = pair(kind, capacity=8)
    for _ in range(5):
        slots = torch.randint(-1, 4, (2, count))
        words = torch.randn(2, count, 5)
        for store in (index, oracle):
            store.update(slots, words)
        oracle.assert_agrees(index, torch.randn(2, 3, 5), 4)


def test_minus_one_is_skipped(kind: str) -> None:
    index, oracle, queries = filled(kind)
    before = content(index, queries, 12)
    index.update(torch.full((2, 3), -1), 100 * torch.randn(2, 3, 5))
    index.remove(torch.full((2, 3), -1))
    after = index.search(queries, 12)
    assert torch.equal(before.slots, after.slots)
    assert torch.equal(before.scores, after.scores)
    oracle.assert_agrees(index, queries, 4)


@pytest.mark.parametrize("metric", METRICS)
def test_zero_words_and_queries(kind: str, metric) -> None:
    index, oracle, queries = filled(kind, metric=metric)
    for store in (index, oracle):
        store.update(torch.tensor([[2], [5]]), torch.zeros(2, 1, 5))
    queries[:, 0] = 0
    near = index.search(queries, 12)
    assert not near.scores.isnan().any()
    if metric != "l2":
        assert near.scores[:, 0][near.slots[:, 0] >= 0].eq(0).all()
    oracle.assert_agrees(index, queries, 12)


def test_ties(kind: str) -> None:
    index, oracle = pair(kind)
    slots = torch.arange(6).expand(2, -1)
    words = torch.ones(2, 6, 5)
    for store in (index, oracle):
        store.update(slots, words)
    oracle.assert_agrees(index, torch.ones(2, 1, 5), 3)
    first, second = (index.search(torch.ones(2, 1, 5), 3) for _ in range(2))
    assert torch.equal(first.slots, second.slots)


def test_removal_and_adding_again(kind: str) -> None:
    index, oracle, queries = filled(kind)
    gone = torch.tensor([[0, 3, 3, -1, 60], [11, 10, 9, -1, -1]])  # twice, skipped, never there
    for store in (index, oracle):
        store.remove(gone)
    oracle.assert_agrees(index, queries, 12)
    slots, words = torch.tensor([[3, 20], [11, 9]]), torch.randn(2, 2, 5)
    for store in (index, oracle):
        store.update(slots, words)
    oracle.assert_agrees(index, queries, 12)


def test_reset(kind: str) -> None:
    index, oracle, queries = filled(kind)
    for rows in (torch.tensor([False, False]), torch.tensor([False, True]), None):
        for store in (index, oracle):
            store.reset(rows)
        oracle.assert_agrees(index, queries, 5)
    for store in (index, oracle):
        store.update(torch.tensor([[2], [1]]), torch.ones(2, 1, 5))
    oracle.assert_agrees(index, queries, 5)


def test_growth_keeps_what_was_there(kind: str) -> None:
    index, oracle = pair(kind, capacity=5000)
    for slot in (0, 15, 16, 17, 31, 32, 33, 700, 4999):
        word = torch.randn(2, 1, 5)
        for store in (index, oracle):
            store.update(torch.full((2, 1), slot), word)
        oracle.assert_agrees(index, torch.randn(2, 2, 5), 9)


def test_other_layouts_and_dtypes_are_accepted(kind: str) -> None:
    index, oracle = pair(kind)
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


@pytest.mark.parametrize("metric", METRICS)
def test_float64_is_computed_in_float64(kind: str, metric) -> None:
    index, oracle, queries = filled(kind, metric=metric, dtype=torch.float64)
    oracle.assert_agrees(index, queries, 6, rtol=1e-12)


def test_empty_calls(kind: str) -> None:
    index, oracle, queries = filled(kind)
    index.update(torch.zeros(2, 0, dtype=torch.int64), torch.zeros(2, 0, 5))
    index.remove(torch.zeros(2, 0, dtype=torch.int64))
    assert index.search(torch.zeros(2, 0, 5), 3).slots.shape == (2, 0, 3)
    oracle.assert_agrees(index, queries, 4)


def test_no_gradient_passes_and_nothing_is_aliased(kind: str) -> None:
    index, oracle, _ = filled(kind)
    slots, words = torch.tensor([[1], [2]]), torch.randn(2, 1, 5)
    oracle.update(slots, words)
    given = words.clone().requires_grad_()
    index.update(slots, given)
    queries = torch.randn(2, 3, 5, requires_grad=True)
    assert not index.search(queries, 3).scores.requires_grad
    with torch.no_grad():
        given.fill_(9.0)  # what the caller does with its tensor later is its own affair
    oracle.assert_agrees(index, queries.detach(), 4)


def test_scores_stay_exact_under_autocast(kind: str) -> None:
    index, oracle, queries = filled(kind, word_size=64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        oracle.assert_agrees(index, queries, 5, rtol=1e-5)


def test_an_index_used_in_inference_mode_can_be_used_afterwards(kind: str) -> None:
    index, oracle, queries = filled(kind)
    with torch.inference_mode():
        for store in (index, oracle):
            store.update(torch.tensor([[50], [51]]), torch.ones(2, 1, 5))
        copied = index.clone()
    for store in (index, copied, oracle):
        store.update(torch.tensor([[52], [50]]), -torch.ones(2, 1, 5))
    for store in (index, copied):
        oracle.assert_agrees(store, queries, 5)


def test_capacity_costs_nothing(kind: str) -> None:
    small, large = (pair(kind, batch_size=8, capacity=2**n, word_size=32) for n in (10, 30))
    assert large[0].nbytes == small[0].nbytes < 100_000
    slots, words = torch.arange(40).expand(8, -1), torch.randn(8, 40, 32)
    for store in (*small, *large):
        store.update(slots, words)
    assert large[0].nbytes == small[0].nbytes
    large[1].assert_agrees(large[0], torch.randn(8, 2, 32), 4)


@pytest.mark.parametrize("copied", [lambda i: i.clone(), copy.deepcopy])
def test_copies(kind: str, copied) -> None:
    index, oracle, queries = filled(kind)
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


def test_pickling(kind: str) -> None:
    index, oracle, queries = filled(kind)
    searching = index.searching
    data = pickle.dumps(index)
    assert len(data) < 10_000 + index._words.nbytes + index._penalty.nbytes, "more than the words"
    assert index.searching == searching
    other = pickle.loads(data)
    assert other.config == index.config
    assert other.searching == searching
    oracle.assert_agrees(other, queries, 6)
    for store in (other, oracle):
        store.update(torch.tensor([[1], [30]]), torch.ones(2, 1, 5))
    oracle.assert_agrees(other, queries, 6)


def test_reserve_is_a_promise(kind: str) -> None:
    index, oracle, queries = filled(kind)
    index.reserve(20)
    for store in (index, oracle):
        store.update(torch.tensor([[19], [12]]), torch.ones(2, 1, 5))
    with pytest.raises(ValueError, match=r"slots: expected -1 \(skipped\) or 0 \.\. 19, got 20"):
        index.update(torch.tensor([[20], [12]]), torch.ones(2, 1, 5))
    oracle.assert_agrees(index, queries, 5)
    for _ in range(2):  # a higher promise, then none
        index.reserve(30)
        for store in (index, oracle):
            store.update(torch.tensor([[29], [12]]), torch.ones(2, 1, 5))
            store.reset()
            store.update(torch.tensor([[63], [1]]), torch.ones(2, 1, 5))
        oracle.assert_agrees(index, queries, 5)
    with pytest.raises(ValueError, match="at most capacity=64, got 65"):
        index.reserve(65)


def test_devices(kind: str, device: torch.device) -> None:
    if device.type != "cpu" and kind != "exact":
        pytest.skip(f"{kind} is tested on the CPU")
    on_cpu, oracle, queries = filled(kind)
    index = on_cpu.to(device)
    assert index.device.type == device.type
    slots, words = torch.tensor([[3, 3, 20], [1, -1, 60]]), torch.randn(2, 3, 5)
    index.reserve(61)
    for store, place in ((index, device), (oracle, torch.device("cpu"))):
        store.update(slots.to(place), words.to(place))
        store.remove(torch.tensor([[0], [62]], device=place))
    oracle.assert_agrees(index.to("cpu"), queries, 6)
    near = index.search(queries.to(device), 6)
    assert near.slots.device.type == device.type
    assert torch.equal(near.slots.cpu(), index.to("cpu").search(queries, 6).slots)


def test_exchange_is_an_update_and_a_search(kind: str) -> None:
    index, oracle, queries = filled(kind)
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


@pytest.mark.parametrize("which", ["words", "queries"])
def test_exchange_refuses_what_is_not_finite(kind: str, which: str) -> None:
    index, oracle, queries = filled(kind)
    index.reserve(48)
    slots, words, spoiled = torch.tensor([[3], [4]]), torch.randn(2, 1, 5), queries.clone()
    (words if which == "words" else spoiled)[1, 0, 2] = torch.nan
    with pytest.raises(NonFiniteError, match=f"{which}: expected finite values, got nan"):
        index.exchange(slots, words, spoiled, 2)
    oracle.assert_agrees(index, queries, 12)
