"""Tables are made anew when words come from elsewhere, and not while they only change."""

from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch import Tensor

from index import IndexConfig, hashed, list_fit, make_index
from index.compiled import use_compiled

pytest.importorskip("numba")
WORDS, WIDTH, WRITES, QUERIES, K = 2048, 16, 32, 8, 4


def clusters(seed: int, count: int, centers: int = 24) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    centers_ = torch.randn(centers, WIDTH, generator=random)
    which = torch.randint(centers, (count,), generator=random)
    return centers_[which] + 0.2 * torch.randn(count, WIDTH, generator=random)


def played(index: Any, words: Tensor, queries: Tensor, *, exchanges: bool = False) -> list[int]:
    """Replaces all words; returns the calls at which tables were made anew."""
    slots = torch.randperm(WORDS, generator=torch.Generator().manual_seed(1)).split(WRITES)
    made, many = [], None
    into = np.empty((1, QUERIES, K), np.int64), np.empty((1, QUERIES, K), np.float32)
    for call, (where, new) in enumerate(zip(slots, words.split(WRITES), strict=True)):
        before, first = index._rebuilds, call * QUERIES % len(queries)
        given = where[None], new[None], queries[None, first : first + QUERIES]
        many = many or (index.exchanges(WRITES, QUERIES, K) if exchanges else None)
        if many is None:
            index.exchange(*given, K)
        else:
            arrays = [tensor.contiguous().numpy() for tensor in given]
            many = many if many.exchange(*arrays, *into) else None
        made += [call] * (index._rebuilds - before)
    if many is not None:
        many.close()
    return made


@pytest.fixture
def index() -> Any:
    """Lists, though by the measured costs they would not pay with so few words."""
    pays = {"lists_from": lambda *given, **how: 512, "lists_pay": lambda *given, **how: True}
    with use_compiled(True), patch.multiple(hashed, **pays):
        config = IndexConfig(kind="ivf", recall=0.9, metric="l2", seed=2)
        made = make_index(config, batch_size=1, capacity=WORDS, word_size=WIDTH)
        made.load(clusters(3, WORDS)[None])
        for part in clusters(3, WORDS + 256)[WORDS:].split(64):  # until looks have become rare
            made.search(part[None], K)
        yield made


def test_words_of_the_same_kind_leave_tables_as_they_are(index: Any) -> None:
    same = clusters(3, 3 * WORDS)
    assert played(index, same[WORDS : 2 * WORDS], same[-512:]) == []


def test_words_from_elsewhere_get_tables_of_their_own(index: Any) -> None:
    follows, other = index.clone(), clusters(4, 2 * WORDS)
    with patch("index.list_fit.Fit.is_lost", return_value=False):
        assert played(follows, other[:WORDS], other[WORDS:]) == []
    made = played(index, other[:WORDS], other[WORDS:])
    assert 1 <= len(made) <= 3 and made[0] >= WORDS // 8 // WRITES
    assert index._filling is None
    rows = torch.arange(1, 1 + WORDS)
    apart = [float(list_fit._distances(one, rows)[0].mean()) for one in (index, follows)]
    assert apart[0] < apart[1] / 3


def test_not_where_filling_them_would_take_too_long(index: Any) -> None:
    other = clusters(4, 2 * WORDS)
    with patch.object(list_fit, "_SLOWER", 0.01):  # of the time of a search in lists
        assert played(index, other[:WORDS], other[WORDS:]) == []


def test_exchanges_make_them_at_the_call_at_which_calls_do(index: Any) -> None:
    called, other = index.clone(), clusters(4, 2 * WORDS)
    given = other[:WORDS], other[WORDS:]
    made = played(called, *given)
    assert played(index, *given, exchanges=True) == made != []
    assert torch.equal(index._lists.lengths, called._lists.lengths)


def test_equal_words_are_never_from_elsewhere(index: Any) -> None:
    index.load(torch.ones(1, WORDS, WIDTH))
    assert played(index, torch.ones(WORDS, WIDTH), clusters(3, 512)) == []


def test_answers_are_completed_though_tables_are_made_anew_meanwhile(index: Any) -> None:
    index.remove(torch.arange(20, WORDS)[None])
    index._tuner = None  # a given number of probes, with which too little is found
    index.config = IndexConfig(kind="ivf", probes=1, metric="l2")
    many = index.exchanges(WRITES, QUERIES, K)
    index.count_exchanges = lambda *given: index._rebuild(32)
    found, scores = np.empty((1, QUERIES, K), np.int64), np.empty((1, QUERIES, K), np.float32)
    slots = torch.full((1, WRITES), -1)
    queries = clusters(9, QUERIES)[None]
    given = slots.numpy(), clusters(3, WRITES)[None].numpy(), queries.numpy()
    many.exchange(*given, found, scores)
    expected = index.search_exact(queries, K)
    assert torch.equal(torch.from_numpy(found), expected.slots)


def test_a_quarter_of_the_words_may_be_alone_in_their_lists():
    """Nothing is known of how far those are: not a number in between either."""
    far = torch.tensor([1.0, 2.0, 3.0, torch.inf, torch.inf])
    assert list_fit._quantile(far) == torch.inf
    assert list_fit._quantile(far[:4]) == 3.0
