"""Searches are glanced at between looks, and a look comes early once queries have become harder."""

import numpy as np
import pytest
import torch

from index.hashed import HashedIndex
from index.list_glance import glance_plainly
from index.list_search import needed_words
from index.recall_costs import LookCosts
from index.recall_glances import GLANCED, NEIGHBORS, Glances, Usual, log_needed
from index.recall_tuner import RecallTuner
from tests.index.hashed_cases import hashed

LOOKS = LookCosts(of_all=1e6, each=1e3, farther=1e5)


def test_only_what_is_within_the_budget_counts() -> None:
    needed = np.array([[1, 4, 100], [16, np.nan, np.inf], [100, 200, np.nan]])
    assert log_needed(needed, 50).tolist() == pytest.approx([1, 4, np.nan], nan_ok=True)
    assert log_needed(np.array([[0.0, 4.0]]), 50).tolist() == [1]  # lists without a word
    usual = Usual.of(needed, 50)
    assert usual is not None
    assert usual.mean == 2.5 and usual.variance == 2.25 and usual.queries == 2
    assert Usual.of(needed, 0.5) is None


def test_glances_come_once_searches_have_cost_enough() -> None:
    glances = Glances()
    due = [glances.due(8e6) for _ in range(9)]
    assert due == 3 * [False, False, True]


@pytest.mark.parametrize(("times", "harder"), [(1, False), (0.1, False), (8, True)])
def test_harder_queries_are_told_from_others_like_the_first(times: float, harder: bool) -> None:
    random = np.random.default_rng(0)
    usual = Usual.of(random.lognormal(3, 1, (100, 4)), np.inf)
    assert usual is not None
    glances = Glances()
    for _ in range(6):
        glances.see(4, times * random.lognormal(3, 1, (16, 4)), np.inf, usual)
        assert glances.are_harder == harder
    glances.begin(4)
    assert not glances.are_harder


def tuner_with(needed: float) -> RecallTuner:
    tuner = RecallTuner(0.9)
    random = torch.Generator().manual_seed(0)
    for _ in range(8):
        tuner.record(4, needed * torch.rand(16, 4, generator=random).exp(), 1.0)
    return tuner


def test_a_look_comes_early_and_what_was_seen_before_is_dropped() -> None:
    tuner = tuner_with(100)
    tuner.count(1e9)
    usual = tuner.until_look(LOOKS) + 1e9
    tuner.glance(4, np.full((16, 4), 100.0))
    assert tuner.until_look(LOOKS) + 1e9 == usual
    for _ in range(3):
        tuner.glance(4, np.full((16, 4), float(tuner.budget(4))))
    assert tuner.glances.are_harder
    assert tuner.until_look(LOOKS) + 1e9 < usual / 4
    tuner.record(4, torch.full((32, 4), 1e4), 1.0)
    assert len(tuner.looks_so_far()[4]) == 40 and tuner.budget(4) >= 1e4
    assert not tuner.glances.are_harder


@pytest.mark.parametrize("metric", ["cosine", "l2", "dot"])
@pytest.mark.parametrize("fullest", [True, False])
def test_a_glance_tells_what_would_have_been_needed(metric: str, fullest: bool) -> None:
    pytest.importorskip("numba")
    index = hashed("ivf", 2048, metric=metric, recall=0.9)
    random = torch.Generator().manual_seed(0)
    words, queries = (torch.randn(2, n, 16, generator=random) for n in (2048, 20))
    index.load(words)
    if not fullest:
        index.remove(torch.arange(1024).expand(2, -1).where(torch.tensor([[False], [True]]), -1))
    for _ in range(8):
        index.search(queries, 8)
    assert isinstance(index, HashedIndex) and index._hash is not None and index._lists is not None
    given = torch.nn.functional.normalize(queries, dim=2) if metric == "cosine" else queries
    found = index._search(given, 8)
    told = index._hash.glanced(index._lists, found)
    assert told is not None and told.shape == (GLANCED, NEIGHBORS)
    slots = found.slots[1, :GLANCED, 1::2]
    rows = slots + index._first_row[1]
    plainly = glance_plainly(
        index._lists, index._hash, given, found.slots, 8, int(index._first_row[1])
    )
    assert plainly == pytest.approx(told)
    mine = given[1:, :GLANCED]
    wanted = needed_words(index._lists, index._hash, mine, 1, rows, compiled=True)
    times = 1 if fullest else 2**0.75
    assert told == pytest.approx(times * wanted.numpy(), rel=1e-9)
