"""A table of words that training moves: gradients of what is read, and an index that follows."""

import copy
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from index import BaseMemory, IndexConfig, NonFiniteError, ShapeError
from sam.optim import RowwiseAdam, TrainableBase


def test_gradients_are_those_of_a_dense_table() -> None:
    words = torch.randn(9, 4, dtype=torch.float64)
    table, dense = TrainableBase(words), words.clone().requires_grad_()
    slots = torch.tensor([[3, -1, 3], [8, 0, -1]])
    read = table.words_at(slots)
    there = (slots >= 0).unsqueeze(2)
    expected = dense[slots.clamp_min(0)] * there
    assert torch.equal(read, expected)
    weights = torch.randn(read.shape, dtype=torch.float64)
    (read * weights).sum().backward()
    (expected * weights).sum().backward()
    gradient = table.weight.grad
    assert gradient is not None and gradient.is_sparse and dense.grad is not None
    assert sorted(gradient.coalesce().indices()[0].tolist()) == [0, 3, 8]
    torch.testing.assert_close(gradient.to_dense(), dense.grad)
    assert table.words_at(torch.tensor(2)).shape == (4,)
    assert table.words_at(slots[:0]).shape == (0, 3, 4)


@pytest.mark.parametrize("index", ["exact", IndexConfig(kind="ivf", exact_below=0, metric="dot")])
def test_the_index_follows_the_words(index) -> None:
    """Keys learn to be found by their queries, and the index finds them where they are."""
    queries = nn.functional.normalize(torch.randn(12, 8), dim=1)
    table = TrainableBase(0.1 * torch.randn(200, 8), index=index)
    optimizer = RowwiseAdam(table.parameters(), lr=0.05)
    wanted = torch.arange(12) * 7
    for _ in range(80):
        optimizer.zero_grad()
        (table.words_at(wanted) - queries).square().sum().backward()
        optimizer.step()
        touched = optimizer.touched_rows(table.weight)
        assert touched.tolist() == wanted.tolist()
        table.refresh(touched)
    found = table.search(queries, 1)
    assert found.slots[:, 0].tolist() == wanted.tolist()
    fresh = TrainableBase(table.weight.detach(), index=index).search(queries, 3)
    torch.testing.assert_close(table.search(queries, 3).scores[:, 0], fresh.scores[:, 0])


def test_from_a_base_and_back(tmp_path: Path) -> None:
    words = torch.randn(40, 6)
    base = BaseMemory.create(tmp_path / "base", words, dtype="float16", metric="dot")
    table = TrainableBase(base)
    assert torch.equal(table.weight, base.words_at(torch.arange(40)))
    found, expected = (one.search(words[:5], 3) for one in (table, base))
    assert torch.equal(found.slots, expected.slots)
    with torch.no_grad():
        table.weight.mul_(2)
    written = table.save_base(tmp_path / "trained", index="ivf")
    assert (written.metric, written.index) == ("dot", "ivf")
    assert torch.equal(written.words_at(torch.arange(40)), table.weight)
    assert (len(table), table.num_words, table.word_size) == (40, 40, 6)


def test_copies_and_state_dicts() -> None:
    table = TrainableBase(torch.randn(30, 5), index="lsh")
    queries = torch.randn(3, 5)
    for other in (copy.deepcopy(table), pickle.loads(pickle.dumps(table))):
        assert torch.equal(other.search(queries, 2).slots, table.search(queries, 2).slots)
        with torch.no_grad():
            other.weight.neg_()
        other.refresh()
        assert not torch.equal(other.weight, table.weight)
    assert list(table.state_dict()) == ["weight"]
    loaded = TrainableBase(torch.randn(30, 5))
    loaded.load_state_dict(table.state_dict())
    loaded.refresh()
    expected = TrainableBase(table.weight.detach()).search(queries, 2)
    assert torch.equal(loaded.search(queries, 2).slots, expected.slots)


def test_wrong_arguments() -> None:
    for words in (torch.randn(3), torch.arange(6).view(3, 2), torch.randn(0, 2), [[1.0]]):
        with pytest.raises(ShapeError, match="words: expected"):
            TrainableBase(words)  # type: ignore[arg-type]
    with pytest.raises(NonFiniteError, match="words: expected finite numbers"):
        TrainableBase(torch.full((2, 2), torch.nan))
    table = TrainableBase(torch.randn(4, 2))
    with pytest.raises(ValueError, match=r"slots: expected -1 \(zeros\) or 0 \.\. 3, got 4"):
        table.words_at(torch.tensor([4]))
    with pytest.raises(ShapeError, match="slots: expected a tensor of integers"):
        table.words_at(torch.tensor([1.0]))
    with torch.no_grad():
        table.weight[1, 1] = torch.inf
    with pytest.raises(NonFiniteError):
        table.refresh(torch.tensor([1]))
