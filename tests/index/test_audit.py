"""What an audit says about searches, against a count by hand."""

import pytest
import torch
from torch import Tensor

from index import Audit, ExactIndex, IndexConfig, Neighbors, ShapeError, VectorIndex, make_index


class Blind(ExactIndex):
    """Does not see words at odd slots, and says that it is not exact."""

    @property
    def searching(self) -> str:
        return "blind"

    def _search(self, queries: Tensor, k: int) -> Neighbors:
        near = super()._search(queries, k)
        odd = near.slots % 2 == 1
        return Neighbors(near.slots.masked_fill(odd, -1), near.scores.masked_fill(odd, -torch.inf))


class Sealed(VectorIndex):
    """Keeps no words: there is nothing to compare with."""

    @property
    def searching(self) -> str:
        return "sealed"

    def _build(self) -> None: ...
    def _grow(self, slots: int) -> None: ...
    def _update(self, slots: Tensor, words: Tensor) -> None: ...
    def _remove(self, slots: Tensor) -> None: ...
    def _reset(self, rows: Tensor | None) -> None: ...

    def _search(self, queries: Tensor, k: int) -> Neighbors:
        shape = *queries.shape[:2], k
        return Neighbors(torch.zeros(shape, dtype=torch.int64), torch.zeros(shape))

    def _occupancy(self) -> Tensor:
        return torch.ones(self.batch_size, dtype=torch.int64)


def filled(cls: type[VectorIndex]) -> VectorIndex:
    """One memory; slot i holds the unit vector i, and more of slot 0 the lower i is."""
    index = cls(IndexConfig(metric="dot"), batch_size=1, capacity=8, word_size=6)
    index.update(torch.arange(6).unsqueeze(0), torch.eye(6).unsqueeze(0))
    return index


# Best first: slots 0, 1, 2, 3, 4, 5 for the first, 1, 3, 5, 0, 2, 4 for the second.
QUERIES = torch.tensor([[[6.0, 5.0, 4.0, 3.0, 2.0, 1.0], [3.0, 6.0, 2.0, 5.0, 1.0, 4.0]]])


def test_recall_is_counted_over_all_queries() -> None:
    index = filled(Blind)
    with Audit() as audit:
        assert audit.recall is None
        index.search(QUERIES, 4)  # 2 of 4 and 1 of 4
        assert audit.recall == pytest.approx(3 / 8)
        index.search(QUERIES[:, :1], 1)  # slot 0
        assert audit.recall == pytest.approx((2 / 4 + 1 / 4 + 1) / 3)
    assert audit.recall == pytest.approx((2 / 4 + 1 / 4 + 1) / 3)
    assert audit.searches == {"blind": 2}


def test_searches_of_exchange_count_too_and_updates_do_not() -> None:
    index = filled(Blind)
    index.reserve(8)
    with Audit() as audit:
        index.update(torch.tensor([[0]]), torch.zeros(1, 1, 6))
        index.remove(torch.tensor([[7]]))
        assert not audit.searches
        slots, words = torch.tensor([[0, 7]]), torch.eye(6)[None, [0, 1]]
        index.exchange(slots, words, QUERIES, 2)  # slots 0 of 0, 1; none of 1, 7
    assert audit.recall == pytest.approx((1 / 2 + 0) / 2)
    assert audit.searches == {"blind": 1}


def test_exact_searches_are_right_by_definition() -> None:
    index, blind = filled(ExactIndex), filled(Blind)
    with Audit() as audit:
        index.search(QUERIES, 4)
        assert audit.recall == 1.0
        blind.search(QUERIES, 4)
        assert audit.recall == pytest.approx((1 + 1 + 2 / 4 + 1 / 4) / 4)
    assert audit.searches == {"exact": 1, "blind": 1}


def test_what_answered_is_told_when_it_answers() -> None:
    index = make_index(
        IndexConfig(kind="ivf", exact_below=40), batch_size=2, capacity=64, word_size=4
    )
    queries = torch.randn(2, 3, 4)
    with Audit() as audit:
        for count in (39, 40, 64):
            index.load(torch.randn(2, count, 4))
            index.search(queries, 2)
    assert audit.searches == {"exact": 1, "ivf": 2}
    assert audit.recall is not None


@pytest.mark.parametrize("kind", ["ivf", "lsh", "product"])
def test_a_real_index_is_judged_by_an_exact_one_with_the_same_words(kind: str) -> None:
    config = IndexConfig(kind=kind, exact_below=0, probes=1)
    index = make_index(config, batch_size=2, capacity=2**11, word_size=6)
    exact = make_index("exact", batch_size=2, capacity=2**11, word_size=6)
    words, queries = torch.randn(2, 2000, 6), torch.randn(2, 9, 6)
    for store in (index, exact):
        store.load(words)
        store.remove(torch.arange(0, 2000, 3).expand(2, -1))
    with Audit() as audit:
        found = index.search(queries, 8)
    worst = exact.search(queries, 8).scores[:, :, -1:] - 1e-6
    by_hand = (found.scores >= worst).double().mean()
    assert audit.recall == pytest.approx(float(by_hand))
    assert 0.1 < by_hand < 1


def test_results_are_as_without_it() -> None:
    index = filled(Blind)
    before = index.search(QUERIES, 4)
    with Audit():
        after = index.search(QUERIES, 4)
    assert torch.equal(before.slots, after.slots)
    assert torch.equal(before.scores, after.scores)


def test_a_search_for_nothing_changes_nothing() -> None:
    index = filled(Blind)
    with Audit() as audit:
        index.search(QUERIES, 4)
        index.search(QUERIES[:, :0], 4)
    assert audit.recall == pytest.approx(3 / 8)


def test_where_no_word_is_nothing_is_missed() -> None:
    index = filled(Blind)
    index.reset()
    with Audit() as audit:
        index.search(QUERIES, 4)
    assert audit.recall == 1.0


def test_what_keeps_no_words_is_left_out() -> None:
    index = filled(Sealed)
    with Audit() as audit:
        index.search(QUERIES, 2)
    assert audit.recall is None
    assert not audit.searches


def test_only_what_happens_inside_counts() -> None:
    index = filled(Blind)
    index.search(QUERIES, 4)
    with Audit() as audit:
        pass
    index.search(QUERIES, 4)
    assert audit.recall is None
    assert not audit.searches


def test_the_inner_one_counts() -> None:
    index = filled(Blind)
    with Audit() as outer:
        index.search(QUERIES[:, :1], 4)
        with Audit() as inner:
            index.search(QUERIES[:, 1:], 4)
        index.search(QUERIES[:, :1], 1)
    assert inner.searches == {"blind": 1}
    assert inner.recall == pytest.approx(1 / 4)
    assert outer.searches == {"blind": 2}
    assert outer.recall == pytest.approx((2 / 4 + 1) / 2)


def test_an_error_inside_leaves_none_behind() -> None:
    index = filled(Blind)
    with pytest.raises(ShapeError), Audit() as audit:
        index.search(QUERIES, 4)
        index.search(QUERIES[0], 4)
    assert audit.searches == {"blind": 1}
    index.search(QUERIES, 4)
    assert audit.searches == {"blind": 1}
    with Audit() as outer:
        with pytest.raises(ShapeError), Audit():
            index.search(QUERIES[0], 4)
        index.search(QUERIES, 4)
    assert outer.searches == {"blind": 1}


def test_the_same_one_can_be_entered_again() -> None:
    index, audit = filled(Blind), Audit()
    for _ in range(2):
        with audit:
            index.search(QUERIES, 4)
    assert audit.searches == {"blind": 2}
    assert audit.recall == pytest.approx(3 / 8)
