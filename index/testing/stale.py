"""What a change leaves behind: an index must answer as a fresh one with the same words.

The answers of a backend with stale tables are right, since its scores are those of the true words.
But what is no longer there is in the way of what is.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from index.recall_measure import recall_at_k
from index.registry import make_index
from index.testing.subject import Subject, pair, part
from index.vector_index import VectorIndex

_CLUSTERS, _EACH, _WIDTH = 16, 32, 8
_COUNT = _CLUSTERS * _EACH
_KEPT = 8  # one word of so many stays, in every cluster
_WORSE = 0.2  # how much lower the recall may be than that of a fresh index


def _clustered(batch_size: int = 2, apart: float = 0.0) -> Tensor:
    """Words in clusters, one cluster after the other, [B, 512, 8].

    The first half of the clusters lies `apart` from the middle, the other half opposite to it.
    """
    side = torch.ones(_CLUSTERS, 1, 1)
    side[_CLUSTERS // 2 :] = -1.0
    direction = torch.nn.functional.normalize(torch.randn(batch_size, 1, 1, _WIDTH), dim=3)
    centers = torch.randn(batch_size, _CLUSTERS, 1, _WIDTH) + apart * side * direction
    words = centers + 0.2 * torch.randn(batch_size, _CLUSTERS, _EACH, _WIDTH)
    return words.flatten(1, 2)


def _new(subject: Subject) -> VectorIndex:
    return pair(subject, capacity=2 * _COUNT, word_size=_WIDTH)[0]


def _as_good_as_fresh(
    subject: Subject, change: Callable[[VectorIndex, Tensor], tuple[Tensor, Tensor]]
) -> None:
    """Compares a changed index with a fresh one that has the same words.

    Args:
        subject: what is tested.
        change: changes an index that was filled with the words given; returns slots [B, M], -1
            where there is no word, and words [B, M, W] of what it then holds.
    """
    index, old = _new(subject), _clustered()
    index.load(old)
    index.search(old[:, :4], 4)  # so that tables are made
    slots, words = change(index, old)
    fresh = _new(subject)
    exact = make_index("exact", batch_size=2, capacity=2 * _COUNT, word_size=_WIDTH)
    for store in (fresh, exact):
        store.update(slots, words)
    assert torch.equal(index.occupancy, exact.occupancy)
    queries = words[:, ::_KEPT] + 0.1 * torch.randn_like(words[:, ::_KEPT])
    true = exact.search(queries, 4)
    found, expected = (
        recall_at_k(store.search(queries, 4), true)[0].mean().item() for store in (index, fresh)
    )
    what = (
        f"recall {found:.2f} of the first memory of a changed index, {expected:.2f} of a fresh one"
    )
    assert found >= expected - _WORSE, what


@part
def removed_words_are_not_in_the_way(subject: Subject) -> None:
    def change(index: VectorIndex, words: Tensor) -> tuple[Tensor, Tensor]:
        slots = torch.arange(_COUNT).repeat(2, 1)
        gone = slots[slots % _KEPT != 0].view(2, -1)
        for some in gone.split(64, 1):
            index.remove(some)
        return slots.masked_fill(slots % _KEPT != 0, -1), words

    _as_good_as_fresh(subject, change)


@part
def nothing_near_is_no_answer(subject: Subject) -> None:
    """Where all words of a wide region were removed, a query finds those that are farther away."""
    index, old = _new(subject), _clustered(apart=3.0)
    index.load(old)
    index.search(old[:, :4], 4)
    half, slots = _COUNT // 2, torch.arange(_COUNT).expand(2, -1)
    for some in slots[:, :half].split(64, 1):
        index.remove(some)
    fresh = _new(subject)
    fresh.update(slots[:, half:], old[:, half:])
    queries = old[:, :half:8]
    found, expected = ((store.search(queries, 8).slots >= 0).sum() for store in (index, fresh))
    assert 2 * found >= expected, f"{found} words found, {expected} by a fresh index"


@part
def words_from_before_a_reset_are_not_in_the_way(subject: Subject) -> None:
    def change(index: VectorIndex, words: Tensor) -> tuple[Tensor, Tensor]:
        index.reset(torch.tensor([True, False]))
        slots = torch.arange(_COUNT).repeat(2, 1)
        slots[0].masked_fill_(slots[0] % _KEPT != 0, -1)
        given = slots.clone()
        given[1] = -1
        for some, new in zip(given.split(64, 1), words.split(64, 1), strict=True):
            index.update(some, new)
        return slots, words

    _as_good_as_fresh(subject, change)


@part
def words_loaded_over_others_are_as_fresh(subject: Subject) -> None:
    def change(index: VectorIndex, words: Tensor) -> tuple[Tensor, Tensor]:
        new = _clustered()
        index.load(new)
        return torch.arange(_COUNT).expand(2, -1), new

    _as_good_as_fresh(subject, change)


@part
def an_index_that_was_emptied_is_as_fresh(subject: Subject) -> None:
    for rows in (None, torch.tensor([True, True])):
        index, words = _new(subject), _clustered()
        index.load(words)
        index.search(words[:, :4], 4)
        index.reset(rows)
        stats = index.stats()
        assert not stats.fill, "places are taken, but there are no words"
        assert stats.unplaced == 0
        assert index.searching == _new(subject).searching
        for count in (3, _COUNT):
            fresh = _new(subject)
            for store in (index, fresh):
                store.load(words[:, :count])
            assert index.searching == fresh.searching
            found, expected = (store.search(words[:, :9], 3) for store in (index, fresh))
            assert (found.slots == expected.slots).float().mean() >= 1 - _WORSE
            index.remove(torch.arange(count).expand(2, -1))
            assert not index.stats().fill, "places are taken, but there are no words"
            index.reset(rows)
