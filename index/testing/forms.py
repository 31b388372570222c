"""The forms in which words, queries and slots may be given."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from index.errors import ShapeError
from index.neighbors import Neighbors
from index.testing.subject import METRICS, Subject, answer, filled, pair, part, raises


@part
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


def _same(found: Neighbors, expected: Neighbors) -> None:
    """Asserts that two answers are equal; the first one may be made of arrays."""
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


@part
def numpy_in_numpy_out(subject: Subject) -> None:
    for metric in METRICS:
        index, oracle, queries = filled(subject, metric=metric)
        twin = index.clone()
        words, asked = torch.randn(2, 4, 5), queries.numpy()
        index.load(words)
        twin.load(words.numpy())
        oracle.update(torch.arange(4).expand(2, -1), words)
        slots, words = torch.tensor([[40, 1, 40, -1], [3, -1, 7, 2]]), torch.randn(2, 4, 5)
        index.update(slots, words)
        twin.update(slots.numpy(), words.numpy())
        oracle.update(slots, words)
        index.remove(slots[:, 1:2])
        twin.remove(slots[:, 1:2].tolist())
        oracle.remove(slots[:, 1:2])
        found, expected = twin.search(asked, 6), index.search(queries, 6)
        assert type(found.slots) is type(found.scores) is np.ndarray
        assert found.slots.dtype == np.int64
        assert found.scores.dtype == np.float32
        _same(found, expected)
        found, expected = twin.search(queries, 6), index.search(asked, 6)
        assert isinstance(found.slots, torch.Tensor), "tensor in, tensor out"
        words = torch.randn(2, 4, 5)
        found = twin.exchange(slots.tolist(), words.numpy(), asked, 6)
        assert type(found.slots) is type(found.scores) is np.ndarray
        _same(found, index.exchange(slots, words, queries, 6))
        oracle.update(slots, words)
        oracle.assert_agrees(twin, queries, 12)
        twin.reset(np.array([True, False]))
        oracle.reset(torch.tensor([True, False]))
        oracle.assert_agrees(twin, queries, 6)


@part
def numbers_of_any_dtype_and_layout(subject: Subject) -> None:
    """Each is converted to the dtype of the index, and none is aliased or changed."""
    numbers = np.round(4 * np.random.default_rng(0).standard_normal((2, 12, 5)))
    reversed_rows = np.ascontiguousarray(numbers[:, ::-1]).astype(np.float32)[:, ::-1]
    read_only = numbers.astype(np.float32)
    read_only.flags.writeable = False
    unaligned = np.zeros(1 + numbers.size * 4, np.uint8)[1:].view(np.float32)
    unaligned = unaligned.reshape(numbers.shape)
    unaligned[:] = numbers
    expected, oracle = pair(subject)
    slots = torch.arange(12).expand(2, -1)
    given = torch.from_numpy(numbers)
    for store in (expected, oracle):
        store.update(slots, given.float())
    tensors = (torch.float16, torch.bfloat16, torch.float64, torch.int8, torch.int64)
    forms: list[Any] = [given.to(dtype) for dtype in tensors]
    kinds = ("f2", ">f4", "f8", "g", "i1", ">i4", "q")
    forms += [numbers.astype(kind) for kind in kinds]
    forms += [reversed_rows, read_only, unaligned, np.asfortranarray(numbers)]
    for words in forms:
        index = pair(subject)[0]
        before = words.copy() if isinstance(words, np.ndarray) else words.clone()
        index.update(slots.numpy().astype(">i2"), words)
        index.load(words)
        assert (words == before).all(), "what is given must not be changed"
        queries = words[:, :3]
        _same(index.search(queries, 4), expected.search(given[:, :3].float(), 4))
    for kind in ("i1", ">u2", "q", "Q"):
        index = pair(subject)[0]
        index.update(slots.numpy().astype(kind), read_only)
        oracle.assert_agrees(index, given[:, :3], 5)
    words = numbers.astype(np.float32)
    index = pair(subject)[0]
    index.update(slots, words)
    words[:] = 9.0  # what the caller does with its array later must not matter
    oracle.assert_agrees(index, given[:, :3], 5)


@part
def other_things_are_refused(subject: Subject) -> None:
    made, oracle, queries = filled(subject)
    index: Any = made
    words, slots = np.ones((2, 1, 5), np.float32), np.array([[3], [4]])
    masked = np.ma.masked_array(words, words > 0)
    calls: list[tuple[type[Exception], Callable[[], Any]]] = [
        *(
            (ShapeError, _called(index.update, slots, words.astype(k)))
            for k in ("?", "c8", "O", "U1")
        ),
        *(
            (ShapeError, _called(index.update, slots.astype(k), words))
            for k in ("?", "f4", "c8", "O")
        ),
        (ShapeError, lambda: index.update(slots, masked)),
        (ShapeError, lambda: index.update(slots, words[0])),
        (ShapeError, lambda: index.update([[3], [4, 5]], words)),
        (ShapeError, lambda: index.update([[3.0], [4.0]], words)),
        (ShapeError, lambda: index.update([[True], [False]], words)),
        (ShapeError, lambda: index.update([3, 4], words)),
        (ValueError, lambda: index.update([[2**63], [2**64 - 1]], words)),
        (ValueError, lambda: index.update(np.array([[3], [2**64 - 1]], np.uint64), words)),
        (TypeError, lambda: index.update(slots, words.tolist())),
        (TypeError, lambda: index.update(None, words)),
        (TypeError, lambda: index.load(words.tolist())),
        (TypeError, lambda: index.search("words", 2)),
        (TypeError, lambda: index.reset("rows")),
        (ShapeError, lambda: index.search(words[:, 0], 2)),
        (ShapeError, lambda: index.search(words > 0, 2)),
        (ShapeError, lambda: index.reset(np.array([1, 0]))),
        (ValueError, lambda: index.search(np.full((2, 1, 5), np.nan), 2)),
        (ValueError, lambda: index.search(np.full((2, 1, 5), 1e300), 2)),
        (ValueError, lambda: index.exchange(slots, np.full((2, 1, 5), np.inf), words, 2)),
    ]
    for error, call in calls:
        with raises(error):
            call()
        oracle.assert_agrees(made, queries, 12)


def _called(method: Callable[..., Any], *given: Any) -> Callable[[], Any]:
    return lambda: method(*given)


@part
def one_memory_without_a_batch_dimension(subject: Subject) -> None:
    """It does what a batch of one memory does, in shapes without the first dimension."""
    for metric in METRICS:
        index, twin = (pair(subject, metric=metric, batch_size=size)[0] for size in (None, 1))
        assert (index.batched, twin.batched, index.batch_size) == (False, True, 1)
        words, new, queries = torch.randn(20, 5), torch.randn(5, 5), torch.randn(3, 5)
        index.load(words)
        twin.load(words[None])
        index.update([30, 3, 30], new[:3])
        twin.update([[30, 3, 30]], new[None, :3])
        index.remove([4, -1])
        twin.remove([[4, -1]])
        assert index.occupancy.shape == index.stats().occupancy.shape == ()
        assert index.occupancy == twin.occupancy[0] == 20
        for k in (1, 7, 70):
            expected = Neighbors(*(part[0] for part in answer(twin, queries[None], k)))
            _same(index.search(queries, k), expected)
            _same(index.search(queries.numpy(), k), expected)
            alone = index.search(queries[1], k)
            assert alone.slots.shape == alone.scores.shape == (k,)
            assert type(index.search(queries[1].numpy(), k).slots) is np.ndarray
        assert index.search(queries[:0], 2).slots.shape == (0, 2)
        near = index.exchange(torch.tensor([9, 9]), new[3:], queries[0], 2)
        assert near.slots.shape == (2,)
        twin.exchange([[9, 9]], new[None, 3:], queries[None], 2)
        for other in (index, index.clone()):
            _same(
                other.search(queries, 4), Neighbors(*(p[0] for p in twin.search(queries[None], 4)))
            )
        with raises(ShapeError):
            index.reset(torch.tensor([True]))
        for wrong in (words[None], words[:, :4], words[0]):
            with raises(ShapeError):
                index.update(range(len(wrong)), wrong)
        with raises(ShapeError):
            index.search(queries[None], 2)
        index.reset()
        assert index.occupancy == 0
        assert index.search(queries, 2).slots.eq(-1).all()
