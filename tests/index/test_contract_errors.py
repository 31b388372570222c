"""Wrong calls of every registered index: one clear error each, and the index as before."""

import pytest
import torch
from torch import Tensor

from index import NonFiniteError, ShapeError, make_index
from index.compiled import use_compiled
from tests.index.oracle import CASES, FORMS, config_of, filled, pair

pytestmark = pytest.mark.parametrize("kind", CASES)

WORDS = torch.ones(2, 2, 5)
SLOTS = torch.tensor([[0, 50], [1, 51]])


def spoiled(value: float) -> Tensor:
    """Words of which one number is spoiled."""
    words = WORDS.clone()
    words[1, 1, 4] = value
    return words


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda i: i.update(SLOTS + 20, WORDS), ValueError, r"0 \.\. 63, got 71"),
        (lambda i: i.update(SLOTS - 2, WORDS), ValueError, r"0 \.\. 63, got -2"),
        (lambda i: i.remove(SLOTS + 20), ValueError, r"0 \.\. 63, got 71"),
        (lambda i: i.update(SLOTS.float(), WORDS), ValueError, "an integer dtype, got torch.float"),
        (lambda i: i.update(SLOTS > 0, WORDS), ValueError, "an integer dtype, got torch.bool"),
        (lambda i: i.update(SLOTS[0], WORDS), ValueError, r"slots: .*\[B=2, M\], got \[2\]"),
        (lambda i: i.update(SLOTS[:1], WORDS), ValueError, r"slots: .*\[B=2, M\], got \[1, 2\]"),
        (lambda i: i.update(SLOTS[:, :1], WORDS), ValueError, r"M=1, W=5\], got \[2, 2, 5\]"),
        (lambda i: i.update(SLOTS, WORDS[0]), ValueError, r"words: .*M=2, W=5\], got \[2, 5\]"),
        (lambda i: i.update(SLOTS, WORDS[..., :4]), ValueError, r"W=5\], got \[2, 2, 4\]"),
        (lambda i: i.update(SLOTS, WORDS > 0), ValueError, "words: .*or integers, got torch.bool"),
        (lambda i: i.update(SLOTS, WORDS.cfloat()), ValueError, "words: .*, got torch.complex64"),
        (lambda i: i.update(SLOTS, WORDS.to("meta")), ValueError, "device cpu, got meta"),
        (lambda i: i.update(SLOTS, spoiled(float("nan"))), ValueError, r"nan at \[1, 1, 4\]"),
        (lambda i: i.update(SLOTS, spoiled(float("-inf"))), ValueError, r"-inf at \[1, 1, 4\]"),
        (lambda i: i.search(WORDS[:, :, :4], 2), ValueError, r"queries: .*Q, W=5\], got"),
        (lambda i: i.search(WORDS[:1], 2), ValueError, r"queries: .*\[B=2, Q, W=5\], got \[1,"),
        (lambda i: i.search(spoiled(float("inf")), 2), ValueError, r"queries: .*inf at"),
        (lambda i: i.search(WORDS, 0), ValueError, "k: expected an integer of at least 1, got 0"),
        (lambda i: i.reset(torch.ones(3, dtype=torch.bool)), ValueError, r"bool \[B=2\], got"),
        (lambda i: i.reset(torch.ones(2)), ValueError, r"bool \[B=2\], got torch.float32"),
    ],
)
def test_wrong_calls_raise_and_change_nothing(kind: str, call, error, text: str) -> None:
    index, oracle, queries = filled(kind)
    size = index.nbytes
    with pytest.raises(error, match=text):
        call(index)
    assert index.nbytes == size
    oracle.assert_agrees(index, queries, 12)


def test_errors_have_their_own_class(kind: str) -> None:
    index, _ = pair(kind)
    with pytest.raises(NonFiniteError):
        index.update(SLOTS, spoiled(float("nan")))
    for slots, words in ((SLOTS[0], WORDS), (SLOTS, WORDS[..., :4]), (SLOTS.float(), WORDS)):
        with pytest.raises(ShapeError):
            index.update(slots, words)


@pytest.mark.parametrize("name", ["batch_size", "capacity", "word_size"])
@pytest.mark.parametrize("value", [0, -3, 2.0, True])
def test_wrong_sizes(kind: str, name: str, value) -> None:
    sizes = {"batch_size": 2, "capacity": 8, "word_size": 5, name: value}
    with pytest.raises(ValueError, match=f"{name}: expected an integer of at least 1, got"):
        make_index(config_of(kind), **sizes)
    with pytest.raises(ValueError, match=r"dtype: expected torch\.float32 or"):
        make_index(config_of(kind), batch_size=2, capacity=8, word_size=5, dtype=torch.float16)


def test_capacity_may_change_but_not_below_what_is_in_use(kind: str) -> None:
    index = make_index(config_of(kind), batch_size=1, capacity=20, word_size=4)
    words = torch.randn(1, 8, 4)
    index.update(torch.arange(8)[None], words)
    with pytest.raises(ValueError, match="capacity: expected at least the 8 in use, got 7"):
        index.resize(7)
    with pytest.raises(ValueError, match="capacity: expected an integer"):
        index.resize(0)
    index.resize(8)
    with pytest.raises(ValueError, match="8"):
        index.update(torch.tensor([[8]]), words[:, :1])
    index.resize(10_000)
    index.update(torch.tensor([[9_999]]), -words[:, :1])
    assert index.search(torch.cat([words[:, 3:4], -words[:, :1]], 1), 1).slots.tolist() == [
        [[3], [9_999]]
    ]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("slot", [-2, 12, 20, 32, 47, 63, 64, 2**40])
def test_exchange_refuses_slots_out_of_range(kind: str, slot: int, form: bool) -> None:
    """Above what is reserved or in use a slot could be another memory's, or never be found."""
    index, oracle, queries = filled(kind)
    if slot > 12:
        index.reserve(20)
    below = 20 if slot > 12 else 12
    slots, words = torch.tensor([[3, slot], [4, 5]]), torch.randn(2, 2, 5)
    expected = f"slots: expected -1 .skipped. or 0 .. {below - 1}, got {slot}"
    with use_compiled(form), pytest.raises(ValueError, match=expected):
        index.exchange(slots, words, queries, 2)
    oracle.assert_agrees(index, queries, 12)
    slots = torch.tensor([[3, below - 1], [4, 5]])
    with use_compiled(form):
        index.exchange(slots, words, queries, 2)
    oracle.update(slots, words)
    oracle.assert_agrees(index, queries, 12)
