"""Every registered index keeps the contract of `index.testing`; errors: next file."""

import pickle

import pytest
import torch

from index import ExactIndex, IndexConfig, Neighbors, NonFiniteError, StoredIndex
from index.testing import CHECKS, check_index, filled, pair
from tests.index.oracle import CASES, config_of

KINDS = pytest.mark.parametrize("kind", CASES)


@KINDS
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(kind: str, check) -> None:
    check(config_of(kind))


@KINDS
def test_a_pickle_is_no_larger_than_the_words(kind: str) -> None:
    index, _, queries = filled(config_of(kind))
    index.search(queries, 2)
    assert isinstance(index, StoredIndex)
    assert len(pickle.dumps(index)) < 10_000 + index._words.nbytes + index._penalty.nbytes


@KINDS
def test_devices(kind: str, device: torch.device) -> None:
    if device.type != "cpu" and kind != "exact":
        pytest.skip(f"{kind} is tested on the CPU")
    on_cpu, oracle, queries = filled(config_of(kind))
    index = on_cpu.to(device)
    assert index.device.type == device.type
    slots, words = torch.tensor([[3, 3, 20], [1, -1, 60]]), torch.randn(2, 3, 5)
    index.reserve(61)
    for store, place in ((index, device), (oracle, torch.device("cpu"))):
        store.update(slots.to(place), words.to(place))
        store.remove(torch.tensor([[0], [62]], device=place))
    oracle.assert_agrees(index.to("cpu"), queries, 6)
    copied = index.clone().to("cpu")  # a search may change how the next one goes about it
    near = index.search(queries.to(device), 6)
    assert near.slots.device.type == device.type
    assert torch.equal(near.slots.cpu(), copied.search(queries, 6).slots)


@KINDS
@pytest.mark.parametrize("which", ["words", "queries"])
def test_exchange_names_what_is_not_finite(kind: str, which: str) -> None:
    index, oracle, queries = filled(config_of(kind))
    index.reserve(48)
    slots, words, spoiled = torch.tensor([[3], [4]]), torch.randn(2, 1, 5), queries.clone()
    (words if which == "words" else spoiled)[1, 0, 2] = torch.nan
    with pytest.raises(NonFiniteError, match=f"{which}: expected finite values, got nan"):
        index.exchange(slots, words, spoiled, 2)
    oracle.assert_agrees(index, queries, 12)


@KINDS
def test_reserve_says_what_was_promised(kind: str) -> None:
    index, _ = pair(config_of(kind))
    index.reserve(20)
    with pytest.raises(ValueError, match=r"slots: expected -1 \(skipped\) or 0 \.\. 19, got 20"):
        index.update(torch.tensor([[20], [12]]), torch.ones(2, 1, 5))
    with pytest.raises(ValueError, match="at most capacity=64, got 65"):
        index.reserve(65)


class Forgetful(StoredIndex):
    """Stores nothing."""

    def _update(self, slots: torch.Tensor, words: torch.Tensor) -> None: ...


class Repeating(ExactIndex):
    """Returns the best slot over and over."""

    def _search(self, queries: torch.Tensor, k: int) -> Neighbors:
        near = super()._search(queries, k)
        return Neighbors(*(part[:, :, :1].expand(-1, -1, k) for part in near))


class Shared(ExactIndex):
    """Its copies are the index itself."""

    def copied(self, device: torch.device):
        return self


def maker(cls: type[StoredIndex]):
    return lambda *, metric, **sizes: cls(IndexConfig(metric=metric), **sizes)


def test_the_contract_takes_a_function_that_makes_an_index() -> None:
    check_index(maker(StoredIndex))


@pytest.mark.parametrize("cls", [Forgetful, Repeating, Shared])
def test_the_contract_notices_a_wrong_index(cls: type[StoredIndex]) -> None:
    with pytest.raises(AssertionError):
        check_index(maker(cls))
