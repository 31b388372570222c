"""Arrays and memories without a batch dimension: what errors say, and what goes with what."""

from typing import Any

import numpy as np
import pytest
import torch

from index import Audit, IndexConfig, ShapeError, make_index
from index.compiled import use_compiled
from tests.index.oracle import FORMS

WORDS = np.eye(5, dtype=np.float32)
SPOILED = np.array([0, 0, np.nan, 0, 0])


def single(kind: str = "exact") -> Any:
    index = make_index(kind, capacity=8, word_size=5)
    index.load(WORDS)
    return index


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda i: i.update([[1]], WORDS[:1]), ShapeError, r"slots: .* \[M\], got \[1, 1\]$"),
        (lambda i: i.update(3, WORDS[:1]), TypeError, "slots: .* or a list of integers, got int$"),
        (lambda i: i.update([1], WORDS), ShapeError, r"words: .* \[M=1, W=5\], got \[5, 5\]$"),
        (lambda i: i.update([1], WORDS[None, :1]), ShapeError, r"\[M=1, W=5\], got \[1, 1, 5\]$"),
        (lambda i: i.update([1], WORDS[0]), ShapeError, r"words: .* \[M=1, W=5\], got \[5\]$"),
        (lambda i: i.load(WORDS[None]), ShapeError, r"words: .* \[M, W=5\], got \[1, 5, 5\]$"),
        (lambda i: i.search(WORDS[None], 1), ShapeError, r"queries: .* \[Q, W=5\] or \[W=5\], got"),
        (lambda i: i.search(WORDS[0, :4], 1), ShapeError, r"\[Q, W=5\] or \[W=5\], got \[4\]$"),
        (lambda i: i.search(np.float32(3), 1), TypeError, "queries: .* array, got float32$"),
        (lambda i: i.search(WORDS + SPOILED, 1), ValueError, r"queries: .*, got nan at \[0, 2\]$"),
        (lambda i: i.search(SPOILED, 1), ValueError, r"queries: .*, got nan at \[2\]$"),
        (lambda i: i.reset([True]), ShapeError, "rows: expected None, as there is no batch"),
        (lambda i: i.remove([8]), ValueError, r"slots: .* 0 \.\. 7, got 8$"),
        (lambda i: i.search(WORDS, 1.0), ValueError, "k: expected an integer of at least 1"),
    ],
)
def test_errors_name_the_shapes_without_a_batch(call: Any, error: Any, text: str) -> None:
    with pytest.raises(error, match=text):
        call(single())


def test_numbers_of_numpy_are_numbers() -> None:
    size, k = np.int64(5), np.int32(2)
    index: Any = make_index("exact", capacity=size, word_size=size)  # pyright: ignore
    index.load(WORDS)
    assert index.search(WORDS[1], k).slots.tolist()[0] == 1
    assert type(index.capacity) is int
    index.reserve(np.uint8(3))
    index.resize(np.int16(9))


def test_one_memory_with_a_batch_dimension_keeps_it() -> None:
    index = make_index("exact", batch_size=1, capacity=8, word_size=5)
    index.load(WORDS[None])
    assert index.search(WORDS[None], 2).slots.shape == (1, 5, 2)
    assert index.occupancy.tolist() == [5]
    with pytest.raises(ShapeError, match=r"slots: expected shape \[B=1, M\], got \[1\]"):
        index.update([3], WORDS[:1])


@pytest.mark.parametrize("form", FORMS)
def test_an_exchange_of_arrays(form: bool) -> None:
    index = single("ivf")
    with use_compiled(form):
        found = index.exchange([3, 3, -1], WORDS[:3], WORDS[1], 1)
        assert found.slots.tolist() in ([1], [3])
        assert index.search(WORDS[0], 2).slots.tolist() != [3, 0], "the last of equal slots counts"
        with pytest.raises(ValueError, match=r"0 \.\. 4, got 5"):
            index.exchange([5], WORDS[:1], WORDS, 1)
        index.reserve(6)
        assert index.exchange([5], -WORDS[:1], -WORDS[0], 1).slots.tolist() == [5]


def test_an_audit_counts_queries_of_arrays() -> None:
    index = make_index(IndexConfig(kind="lsh", exact_below=0), capacity=600, word_size=5)
    words = np.random.default_rng(0).standard_normal((500, 5))
    index.load(words)
    with Audit() as audit:
        index.search(words[:20], 3)
        index.search(words[3], 3)
    assert audit.searches == {"lsh": 2}
    assert audit.recall is not None
    assert len(audit._shares[0]) == 20


def test_what_numpy_gets_is_its_own() -> None:
    index = single()
    found = index.search(WORDS, 2)
    found.slots[:] = 0
    found.scores[:] = 0.0
    assert index.search(WORDS, 1).slots.tolist() == [[0], [1], [2], [3], [4]]


def test_a_state_dictionary_of_flags_and_words_is_not_needed() -> None:
    """Clones, devices and sizes work as with a batch dimension."""
    index = single()
    assert index.to("cpu") is index
    other = index.clone()
    other.reset()
    assert (index.occupancy, other.occupancy) == (5, 0)
    assert torch.is_tensor(index.search_exact(torch.eye(5), 1).slots)
    assert type(index.search_exact(WORDS, 1).slots) is np.ndarray
