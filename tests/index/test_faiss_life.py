"""The FAISS backend over a long life: when it trains, what it keeps, what a step costs."""

import warnings

import pytest
import torch
from torch.nn.functional import normalize

from index import IndexConfig, recall_at_k
from index.faiss_backend import FaissIndex
from index.faiss_factory import rule
from index.faiss_memory import FaissMemory

pytest.importorskip("faiss", reason="faiss is not installed")
WIDTH = 16


def made(kind: str, capacity: int, **options) -> FaissIndex:
    """An index of two memories."""
    config = IndexConfig(kind=kind, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return FaissIndex(config, batch_size=2, capacity=capacity, word_size=WIDTH)


class Words:
    """Words around random centres, which can be replaced by others."""

    def __init__(self, clusters: int = 40) -> None:
        self.centres = normalize(torch.randn(clusters, WIDTH), dim=-1)

    def some(self, count: int) -> torch.Tensor:
        """[2, count, W]."""
        near = self.centres[torch.randint(0, len(self.centres), (2, count))]
        return near + 0.5 / WIDTH**0.5 * torch.randn(2, count, WIDTH)


def recall(index: FaissIndex, queries: torch.Tensor, k: int = 8) -> float:
    """Mean recall@k."""
    return recall_at_k(index.search(queries, k), index.search_exact(queries, k)).mean().item()


def churn(index: FaissIndex, words: Words, rounds: int = 1) -> None:
    """Replaces every word, `rounds` times."""
    slots = index.stats().occupancy[0].item()
    for _ in range(rounds):
        for batch in torch.randperm(slots).split(32):
            index.update(batch.expand(2, -1), words.some(len(batch)))


@pytest.mark.parametrize(
    ("kind", "least"),
    [
        ("faiss", 0.95),
        ("faiss:IVF32,Flat", 0.95),
        ("faiss:IVF32,SQ8", 0.95),
        ("faiss:PQ8x4", 0.9),
        ("faiss:HNSW16", 0.95),
        ("faiss:LSH", 0.6),
    ],
)
def test_recall_holds_while_words_are_replaced(kind: str, least: float) -> None:
    index, words = made(kind, 1024, exact_below=256), Words()
    index.load(words.some(1024))
    queries = words.some(64)
    assert index.searching == kind
    assert recall(index, queries) >= least
    churn(index, words, rounds=2)
    assert recall(index, queries) >= least
    found = index.search(queries, 8)
    true = normalize(queries, dim=-1) @ normalize(index._words[:, 1:], dim=-1).mT
    torch.testing.assert_close(found.scores, true.gather(2, found.slots), atol=1e-5, rtol=0)


def test_words_that_drift_are_learned_anew() -> None:
    old, new = Words(), Words()
    options = {"exact_below": 0, "probes": 4}
    kept, renewed = (made("faiss:IVF32,Flat", 1024, refresh_after=r, **options) for r in (0, 1))
    by_fit = made("faiss:IVF32,Flat", 1024, **options)
    for index in (kept, renewed, by_fit):
        index.load(old.some(1024))
        churn(index, old)
    assert [index.stats().rebuilds for index in (kept, renewed, by_fit)] == [0, 2, 0]
    for index in (kept, renewed, by_fit):
        churn(index, new)
    queries = new.some(200)
    assert kept.stats().rebuilds == 0
    assert renewed.stats().rebuilds == 4
    assert by_fit.stats().rebuilds >= 2
    assert recall(renewed, queries) >= 0.95
    assert recall(by_fit, queries) >= 0.95
    assert recall(kept, queries) < recall(renewed, queries) - 0.1


def test_a_growing_memory_is_trained_at_every_doubling() -> None:
    index, words = made("faiss", 4096, exact_below=256), Words()
    lists = []
    for start in range(0, 4096, 64):
        index.update(torch.arange(start, start + 64).expand(2, -1), words.some(64))
        lists.append([m._index.nlist for m in index._memories])
    assert index.searching == "faiss"
    assert lists[2:4] == [[], [16, 16]]  # exact below 256 words
    # At 256, 512, ... words; slots 0 .. 63 come first.
    assert [lists[words // 64 - 1] for words in (256, 512, 1024, 2048, 4096)] == [
        [16, 16],
        [32, 32],
        [32, 32],
        [64, 64],
        [64, 64],
    ]
    assert index.stats().rebuilds == 2 * 4
    assert recall(index, words.some(64)) >= 0.95


@pytest.mark.parametrize("kind", ["faiss", "faiss:IVF32,SQ8", "faiss:SQ8", "faiss:HNSW8"])
def test_a_step_touches_only_the_words_it_names(kind: str, monkeypatch) -> None:
    probes = {"probes": 8} if kind in ("faiss", "faiss:IVF32,SQ8") else {}  # or it looks at recall
    index, words = made(kind, 2048, exact_below=0, **probes), Words()
    index.load(words.some(2048))
    handed, vectors = [], FaissIndex._for_faiss
    monkeypatch.setattr(
        FaissIndex, "_for_faiss", lambda i, v: handed.append(v.shape[:-1].numel()) or vectors(i, v)
    )
    monkeypatch.setattr(FaissIndex, "_exact", None)
    maps = [memory._number_of for memory in index._memories]
    for step in range(8):
        index.reserve(2048)
        slots = torch.randperm(2048)[:32].view(2, 16)
        index.update(slots, words.some(16))
        index.remove(slots[:, :1])
        index.update(slots[:, :1], words.some(1))
        index.search(words.some(3), 4)
        assert handed == [32, 2, 6] * (step + 1)
    assert all(m._number_of is old for m, old in zip(index._memories, maps, strict=True))


def test_stale_words_of_a_graph_are_kept_out_and_cleared_away() -> None:
    index, words = made("faiss:HNSW8", 256, exact_below=0), Words()
    index.load(words.some(256))
    hot = torch.arange(8).expand(2, -1)
    most = 0
    for _ in range(100):
        new = words.some(8)
        index.update(hot, new)
        memory = index._memories[0]
        assert memory.live == 256
        assert memory.stale <= memory.live
        most = max(most, memory.stale)
        # Many stale words lie where the query looks; not one of them may come back.
        found = index.search(new[:, :1], 10)
        assert all(len(set(row)) == 10 for row in found.slots[:, 0].tolist())
    assert most > 200
    assert index.stats().rebuilds == 2 * (800 // 257)
    assert recall(index, words.some(64)) > 0.9


def test_removed_words_are_cleared_away() -> None:
    index, words = made("faiss:IVF8,Flat", 512, exact_below=0), Words()
    index.load(words.some(512))
    size = index.nbytes
    index.remove(torch.arange(100, 500).expand(2, -1))
    assert index.stats().rebuilds == 2
    assert index._memories[0].count == index._memories[0].live == 112
    assert index.nbytes < size
    assert recall(index, words.some(32)) > 0.9


@pytest.mark.parametrize("kind", ["faiss:HNSW8", "faiss:IVF8,Flat"])
def test_a_memory_emptied_of_most_words_is_searched_in_its_own_dtype(kind: str) -> None:
    """FAISS, which counts in float32, cannot tell these words from each other."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = IndexConfig(kind=kind, metric="l2", exact_below=64)
        index = FaissIndex(config, batch_size=1, capacity=256, word_size=WIDTH, dtype=torch.float64)
    words = torch.randn(WIDTH, dtype=torch.float64) + 1e-12 * torch.randn(1, 256, WIDTH)
    index.load(words)
    assert index.searching == kind
    index.remove(torch.arange(40, 256).unsqueeze(0))
    assert index.searching == "exact"
    assert index.search(words[:, :40], 1).slots.flatten().tolist() == list(range(40))
    assert index.stats().candidates == 256  # slots in use, with a word or without


def test_a_reset_drops_what_faiss_held() -> None:
    index, words = made("faiss:IVF8,Flat", 512, exact_below=16), Words()
    index.load(words.some(512))
    empty = made("faiss:IVF8,Flat", 512, exact_below=16)
    made_from: list[int] = []
    init = FaissMemory.__init__
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            FaissMemory,
            "__init__",
            lambda m, i, s, w, r: made_from.append(len(s)) or init(m, i, s, w, r),
        )
        index.reset(torch.tensor([True, False]))
    assert made_from == [0]  # the other memory was not looked at
    assert index.stats().occupancy.tolist() == [0, 512]
    index.reset()
    assert index.searching == "exact"
    assert index._memories == empty._memories == []


@pytest.mark.parametrize(
    ("capacity", "options", "enough"),
    [
        (2**20, {}, 4096),
        (2**20, {"exact_below": 10}, 64),
        (2**20, {"exact_below": 9000}, 9000),
        (1000, {}, 500),
        (100, {}, 64),
    ],
)
def test_how_many_words_are_enough(capacity: int, options: dict, enough: int) -> None:
    index = made("faiss:IVF64,Flat", capacity, **options)
    assert index._enough == enough
    if enough <= 500:
        for count in (enough - 1, enough):
            index.load(Words().some(count))
            assert (index.searching == "exact") == (count < enough)
    assert made("faiss:IVF1024,Flat", 2**20)._enough == 2**14
    assert made("faiss:PQ4x6", 2**20, exact_below=0)._enough == 64
    assert made("faiss", 100)._enough == 4096


@pytest.mark.parametrize("kind", ["faiss:IVF32,PQ8x4", "faiss:PQ8x4", "faiss:IVF32,Flat"])
def test_training_on_few_words_is_quiet(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    index, words = made(kind, 64, exact_below=0), Words()
    index.load(words.some(32))
    assert index.searching == kind
    assert capfd.readouterr() == ("", "")


def test_the_rule_for_lists() -> None:
    counts = (1, 64, 4096, 2**16, 2**17, 2**19, 2**20)
    assert [rule(n) for n in counts] == [
        (1, 4),
        (8, 4),
        (64, 4),
        (256, 4),
        (2 * 512, 8),
        (4 * 1024, 16),
        (4 * 1024, 16),
    ]


def test_stats() -> None:
    index, words = made("faiss:IVF32,Flat", 1024, exact_below=0, probes=1), Words()
    index.load(words.some(1024))
    flat = made("faiss:Flat", 1024, exact_below=0)
    flat.load(words.some(1024))
    for each in (index, flat):
        each.search(words.some(5), 1)
    stats = index.stats()
    assert stats.searching == "faiss:IVF32,Flat"
    assert stats.occupancy.tolist() == [1024, 1024]
    assert 1 < stats.candidates < 300
    assert flat.stats().candidates == 1024
    assert (stats.fill, stats.unplaced, stats.rebuilds) == (None, 0, 0)
    words_twice = 2 * 2 * 1024 * WIDTH * 4
    assert words_twice < stats.nbytes < 2 * words_twice


def test_words_that_lie_far_apart_are_seen_to_drift() -> None:
    """Of 8,192 slots in use one in 16 has a word, and none of the slots 0, 8, 16, ... does."""
    index, words = made("faiss:IVF8,Flat", 2**13, exact_below=256), Words()
    slots = (torch.arange(512) * 16 + 3).expand(2, -1)
    index.update(slots, words.some(512))
    learned = index.stats().rebuilds
    for _ in range(4):
        index.update(slots, words.some(512))
    assert index.stats().rebuilds == learned, "these fit as well"
    for _ in range(4):
        index.update(slots, 3 + words.some(512))
    assert index.stats().rebuilds > learned
    index.remove(slots[:, 1:])  # and where next to none is left
    index.update(slots[:, :1], words.some(1))
