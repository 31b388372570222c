"""A few hundred calls of each backend of the index; see `tests.attack.index_operations`."""

import pytest
import torch

from index import Neighbors
from tests.attack.index_dictionary import Dictionary
from tests.attack.index_operations import KINDS, attack


def test_every_backend_agrees_with_a_dictionary() -> None:
    ended = attack(160, seed=7)
    assert sum(ended.values()) == 160 * len(KINDS)
    assert ended["wrong"] > 15 and ended["exchange"] > 50


def test_a_word_that_is_missing_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Dictionary, "remove", lambda self, slots: None)
    with pytest.raises(AssertionError, match=r"auto, seed 7, call \d+, .*: AssertionError"):
        attack(300, seed=7)


def test_a_wrong_score_is_noticed() -> None:
    truth = Dictionary(1, 4, 2, "dot")
    truth.load(torch.ones(1, 3, 2))
    slots, queries = torch.tensor([[[2, 0]]]), torch.ones(1, 1, 2)
    right = torch.tensor([[[2.0, 2.0]]])
    truth.check_found(Neighbors(slots, right), queries, 2, torch.float32, complete=True)
    for wrong in (right + 1e-3, right.flip(2) - 1, right * torch.tensor([1.0, 0.9])):
        with pytest.raises(AssertionError):
            truth.check_found(Neighbors(slots, wrong), queries, 2, torch.float32, complete=True)
