"""Recall on examples small enough to count by hand."""

import pytest
import torch

from index import Neighbors, ShapeError, make_index, recall_at_k

NO = float("-inf")


def near(slots: list[int], scores: list[float]) -> Neighbors:
    """The answer to one query of one memory."""
    return Neighbors(torch.tensor([[slots]]), torch.tensor([[scores]]))


EXACT = near([4, 2, 9, 7], [0.9, 0.8, 0.7, 0.6])


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (EXACT, 1.0),
        (near([4, 2, 9, 1], [0.9, 0.8, 0.7, 0.1]), 0.75),
        (near([4, 9, 1, -1], [0.9, 0.7, 0.1, NO]), 0.5),
        (near([1, 3, 5, 8], [0.5, 0.4, 0.3, 0.2]), 0.0),
        (near([-1, -1, -1, -1], [NO] * 4), 0.0),
        (near([4, 4, 4, 4], [0.9] * 4), 0.25),
        (near([4, 2, 9, 8], [0.9, 0.8, 0.7, 0.6]), 1.0),  # 8 ties with 7
        (near([4, 2, 9, 8], [0.9, 0.8, 0.7, 0.6 - 1e-7]), 1.0),  # but for rounding
        (near([4, 2, 9, 8], [0.9, 0.8, 0.7, 0.5999]), 0.75),
    ],
)
def test_four_words(found: Neighbors, expected: float) -> None:
    assert recall_at_k(found, EXACT).tolist() == [[expected]]


def test_only_the_first_k_count() -> None:
    found = near([4, 9, 2, 1], [0.9, 0.7, 0.8, 0.1])
    assert recall_at_k(found, EXACT, 1).item() == 1.0
    assert recall_at_k(found, EXACT, 2).item() == 0.5
    assert recall_at_k(found, EXACT, 3).item() == 1.0


def test_fewer_words_than_k() -> None:
    exact = near([3, 1, -1, -1], [0.5, 0.2, NO, NO])
    assert recall_at_k(exact, exact).item() == 1.0
    assert recall_at_k(near([3, -1, -1, -1], [0.5, NO, NO, NO]), exact).item() == 0.5
    nothing = near([-1, -1], [NO, NO])
    assert recall_at_k(nothing, nothing).item() == 1.0


def test_rounding_is_relative_for_large_scores() -> None:
    exact = near([0, 1], [-1e4, -2e4])
    assert recall_at_k(near([0, 2], [-1e4, -2e4 - 0.01]), exact).item() == 1.0
    assert recall_at_k(near([0, 2], [-1e4, -2e4 - 1.0]), exact).item() == 0.5


def test_one_recall_per_query() -> None:
    index = make_index("exact", batch_size=3, capacity=50, word_size=4)
    index.update(torch.arange(50).expand(3, -1), torch.randn(3, 50, 4))
    found = index.search(torch.randn(3, 5, 4), 8)
    other = Neighbors(found.slots.clone(), found.scores.clone())
    other.slots[1, 2, 6:], other.scores[1, 2, 6:] = -1, NO
    expected = torch.ones(3, 5)
    expected[1, 2] = 0.75
    assert torch.equal(recall_at_k(other, found), expected)


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="k: expected at least 1, got 0"):
        recall_at_k(EXACT, EXACT, 0)
    with pytest.raises(ShapeError, match=r"exact: expected shape \[1, 1, >= 4\], got \[1, 1, 2\]"):
        recall_at_k(EXACT, near([1, 2], [0.2, 0.1]))
    with pytest.raises(ShapeError, match=r"found: expected shape \[1, 1, >= 5\]"):
        recall_at_k(EXACT, EXACT, 5)
