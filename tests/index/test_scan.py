"""Both ways of scanning find what one product and one top-k in float64 find, at the cost stated."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from index import make_index
from index import scan as scan_module
from index.scan import rounded_up, scan
from index.storage import Storage

METRICS = ("cosine", "dot", "l2")
# B, Q, W, k: many queries, few of long words, one memory and several.
STAGED = [(1, 32, 8, 8), (2, 40, 8, 3), (3, 1, 64, 4), (2, 4, 64, 1)]


class Operations(TorchDispatchMode):
    """Notes which operations run and how large the largest result is."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.names.append(func.overloadpacket.__name__)
        # What is new: a view of the words is as large as they are and costs nothing.
        if isinstance(result, Tensor) and not func.is_view:
            self.largest = max(self.largest, result.numel())
        return result


def scene(
    batch: int, rows: int, count: int, size: int, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, Tensor]:
    """Words and penalty as an index stores them, behind a row of no slot, and queries.

    A third of the words are free, and what stands there would win where the penalty is forgotten.
    """
    words = torch.randn(batch, 1 + rows, size, dtype=dtype)
    penalty = torch.zeros(batch, 1 + rows, dtype=dtype)
    free = torch.rand(batch, 1 + rows) < 1 / 3
    penalty[free] = -torch.inf
    words[free] *= 10
    return words[:, 1:], penalty[:, 1:], torch.randn(batch, count, size, dtype=dtype)


def plain(
    words: Tensor, penalty: Tensor, queries: Tensor, k: int, metric: str
) -> tuple[Tensor, Tensor]:
    words, penalty, queries = words.double(), penalty.double(), queries.double()
    scores = torch.einsum("bqw,brw->bqr", queries, words)
    if metric == "l2":
        scores = -(queries.unsqueeze(2) - words.unsqueeze(1)).square().sum(-1)
    best = (scores + penalty.unsqueeze(1)).topk(k)
    return best.values, best.indices


def assert_as_plain(
    words: Tensor, penalty: Tensor, queries: Tensor, k: int, metric="dot"
) -> Operations:
    """The true k best, in order; returns what it took."""
    with Operations() as operations:
        scores, places = scan(words, penalty, queries, k, metric)
    true = plain(words, penalty, queries, k, metric)
    assert scores.dtype == words.dtype
    assert places.dtype == torch.int64
    rtol = 1e-4 if words.dtype == torch.float32 else 1e-10
    torch.testing.assert_close(scores.double(), true[0], rtol=rtol, atol=rtol)
    found = true[0] > -torch.inf
    assert torch.equal(places[found], true[1][found])
    return operations


@pytest.fixture
def staged(monkeypatch) -> list[int]:
    """Stages whatever there is to search, in several pieces; notes the k of each such search."""
    calls = []
    in_stages = scan_module._in_stages

    def noted(
        words: Tensor, penalty: Tensor, queries: Tensor, k: int, storage: Storage
    ) -> tuple[Tensor, Tensor]:
        calls.append(k)
        return in_stages(words, penalty, queries, k, storage)

    monkeypatch.setattr(scan_module, "_in_stages", noted)
    monkeypatch.setattr(scan_module, "_STAGES_FROM_BYTES", 0)
    monkeypatch.setattr(scan_module, "_HELD_BYTES", 3 * 2**13)
    return calls


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("k", [1, 5, 100, 1000])
def test_pieces_find_the_same(monkeypatch, metric, k: int) -> None:
    """k is below and above the words of a piece and of the last piece."""
    monkeypatch.setattr(scan_module, "_PIECE_BYTES", 64 * 2 * 3 * 4)
    sizes = []
    best = scan_module._best

    def noted(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
        sizes.append(scores.shape[2])
        return best(scores, count)

    monkeypatch.setattr(scan_module, "_best", noted)
    assert_as_plain(*scene(2, 1000, 3, 5), k, metric)
    step = max(64, rounded_up(k))
    assert sizes == [min(step, 1000 - start) for start in range(0, 1000, step)]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("k", [1, 4, 33])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_groups_find_the_same(metric, k: int, dtype: torch.dtype) -> None:
    operations = assert_as_plain(*scene(2, 2**13, 3, 5, dtype), k, metric)
    assert "amax" in operations.names


@pytest.mark.parametrize(
    ("rows", "k"), [(1, 1), (5, 5), (2000, 7), (2**13 + 5, 4), (2**13, 600), (2**13, 2**13)]
)
def test_odd_sizes_find_the_same(rows: int, k: int) -> None:
    """Few words, words that do not fill the last group, and more wanted than there are groups."""
    operations = assert_as_plain(*scene(2, rows, 3, 5, torch.float64), k)
    assert "amax" not in operations.names


@pytest.mark.parametrize(("batch", "count", "size", "k"), STAGED)
@pytest.mark.parametrize("metric", ["cosine", "dot"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_stages_find_the_same(
    staged, batch: int, count: int, size: int, k: int, metric, dtype: torch.dtype
) -> None:
    rows = 4 * max(count * k, 32) * 64 + 64  # the last piece is a shorter one
    operations = assert_as_plain(*scene(batch, rows, count, size, dtype), k, metric)
    assert staged == [k]
    assert operations.names.count("baddbmm") > 2


def test_stages_look_into_every_block_and_piece(staged) -> None:
    """The best word is once at each end of every block."""
    rows = 64 * 40
    words, penalty, queries = torch.zeros(1, rows, 64), torch.zeros(1, rows), torch.ones(1, 1, 64)
    for place in [row for row in range(rows) if row % 64 in (0, 63)]:
        words[0, place] = 1.0
        _, places = scan(words, penalty, queries, 1, "dot")
        assert places.item() == place
        words[0, place] = 0.0
    assert len(staged) == 2 * 40


def test_free_words_do_not_hide_a_block_in_stages(staged) -> None:
    """Every score is below zero, as a free word's would be, and most of a block is free."""
    words, penalty = torch.zeros(1, 2**14, 64), torch.full((1, 2**14), -torch.inf)
    used = torch.arange(0, 2**14, 50)
    words[0, used] = -1 - torch.rand(len(used), 64)
    penalty[0, used] = 0.0
    assert_as_plain(words, penalty, torch.ones(1, 2, 64), 8)
    assert staged == [8]


@pytest.mark.parametrize("used", [0, 1, 5])
def test_fewer_words_than_k_in_stages(staged, used: int) -> None:
    words, penalty, queries = scene(2, 2**13, 2, 64)
    penalty.fill_(-torch.inf)
    penalty[0, 100 : 100 + used] = 0.0
    assert_as_plain(words, penalty, queries, 8)
    scores, places = scan(words, penalty, queries, 8, "dot")
    assert (scores[0] > -torch.inf).sum(-1).tolist() == [used, used]
    assert torch.all(scores[1] == -torch.inf)
    assert all(len(set(row)) == 8 for row in places.flatten(0, 1).tolist()), "a word came twice"
    assert staged == [8, 8]


def test_equal_words_come_once_each_in_stages(staged) -> None:
    words, penalty, queries = torch.ones(1, 2**14, 64), torch.zeros(1, 2**14), torch.ones(1, 2, 64)
    scores, places = scan(words, penalty, queries, 8, "dot")
    assert torch.all(scores == 64)
    assert all(len(set(row)) == 8 for row in places[0].tolist())
    assert staged == [8]


def test_words_may_lie_anyhow_in_stages(staged) -> None:
    """Views that are no table of rows, and one memory seen as several."""
    words, penalty, queries = scene(2, 2**13, 2, 64)
    for view in (
        words.transpose(1, 2).contiguous().transpose(1, 2),
        torch.randn(2, 2**13, 65)[:, :, :64],
        torch.randn(2, 2**14, 64)[:, ::2],
        torch.randn(2, 2**19 + 1)[:, 1:].view(2, 2**13, 64),
        torch.randn(1, 2**13, 64).expand(2, -1, -1),
    ):
        assert_as_plain(view, penalty, queries, 4)
    assert len(staged) == 5


def test_stages_only_where_they_pay(staged) -> None:
    """Otherwise the search is in pieces, and right."""
    for batch, rows, count, size, k, metric in (
        (1, 2**13, 4, 64, 8, "l2"),  # distances do not come from a product
        (1, 2**13, 8, 64, 1, "dot"),  # a slow product
        (1, 2**13, 4, 32, 1, "dot"),  # likewise
        (1, 2**13, 4, 64, 9, "dot"),  # too many words to score twice
        (1, 2**13 + 16, 1, 64, 1, "dot"),  # no whole blocks
        (1, 2**13, 0, 64, 1, "dot"),  # nothing asked
    ):
        assert_as_plain(*scene(batch, rows, count, size), k, metric)
    assert staged == []
    assert_as_plain(*scene(1, 2**13, 4, 64), 8)
    assert staged == [8]


def test_no_way_holds_all_scores() -> None:
    """Of 2^17 words and 64 queries the scores would be 32 MiB."""
    words, penalty, queries = scene(1, 2**17, 64, 64)
    for k in (2, 100):  # in stages, in pieces
        with Operations() as operations:
            scan(words, penalty, queries, k, "dot")
        assert 4 * operations.largest <= 16 * 2**20
        staged = "embedding" in operations.names
        assert staged == (k == 2)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("rows", [100, 2**12, 2**20])
def test_no_value_is_looked_at(metric, rows: int) -> None:
    """A meta tensor has none: what asks for one would wait for a real device, and fails here."""
    words, penalty = torch.empty(1, rows, 32, device="meta"), torch.empty(1, rows, device="meta")
    scores, places = scan(words, penalty, torch.empty(1, 32, 32, device="meta"), 8, metric)
    assert scores.shape == places.shape == (1, 32, 8)


def test_a_large_index_searches_in_stages(staged, monkeypatch) -> None:
    """At the real sizes, through the public calls, with slots that do not fill the last block."""
    monkeypatch.undo()
    index = make_index("exact", batch_size=1, capacity=2**20, word_size=64)
    words = torch.randn(1, 2**17 + 5, 64)
    index.load(words)
    gone = torch.arange(0, 2**17, 3).unsqueeze(0)
    index.remove(gone)
    queries = torch.randn(1, 2, 64)
    with Operations() as operations:
        near = index.search(queries, 8)
    assert "embedding" in operations.names
    unit = torch.nn.functional.normalize(words, dim=-1)
    penalty = torch.zeros(1, 2**17 + 5).index_fill_(1, gone[0], -torch.inf)
    true = plain(unit, penalty, torch.nn.functional.normalize(queries, dim=-1), 8, "dot")
    assert torch.equal(near.slots, true[1])
    torch.testing.assert_close(near.scores.double(), true[0], rtol=1e-4, atol=1e-5)


@given(st.integers(0, 10_000))
def test_rounding_up(count: int) -> None:
    rounded = rounded_up(count)
    assert 0 <= rounded - count < 64
    assert rounded % 16 == 0
    assert rounded % 64 == 0 or rounded <= 2048
    assert rounded <= rounded_up(count + 1), "room for more slots would be less room"
