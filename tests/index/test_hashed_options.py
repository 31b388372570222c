"""Indexes with buckets: options and rules, what is refused, loading, and what stats say."""

from typing import Any

import pytest
import torch
from torch import Tensor

from index import HashedIndex, IndexConfig, NonFiniteError, ShapeError, make_index
from tests.index.hashed_cases import KINDS, SIZE, hashed, rebuilds, recall, traffic


@pytest.mark.parametrize("kind", KINDS)
def test_loading_is_one_update(kind: str) -> None:
    words = traffic().fill()[:1].expand(2, -1, -1)
    one, two = hashed(kind), hashed(kind)
    one.load(words)
    two.update(torch.arange(SIZE).expand(2, -1), words)
    assert rebuilds(one) == rebuilds(two) == 1
    queries = words[:, ::64]
    assert torch.equal(one.search(queries, 8).slots, two.search(queries, 8).slots)
    assert torch.equal(one.search(queries, 1).slots[0, :, 0], torch.arange(0, SIZE, 64))
    one.load(-words[:, :10])  # and in place of what was there
    assert torch.equal(one.search(-words[:, :10], 1).slots[1, :, 0], torch.arange(10))
    assert one.occupancy.tolist() == [SIZE, SIZE]
    one.load(words[:, :0])
    assert one.occupancy.tolist() == [SIZE, SIZE]


@pytest.mark.parametrize(
    ("words", "error", "text"),
    [
        (torch.zeros(2, 65, 16), ValueError, "words: expected at most capacity=64, got 65"),
        (torch.zeros(3, 5, 16), ShapeError, r"words: expected shape \[B=2, M, W=16\], got \[3,"),
        (torch.zeros(2, 5, 8), ShapeError, r"words: expected shape \[B=2, M, W=16\]"),
        (torch.zeros(5, 16), ShapeError, r"words: .*got \[5, 16\]"),
        (torch.zeros(2, 5, 16).long(), ShapeError, "words: expected a floating point dtype"),
        (torch.full((2, 5, 16), torch.nan), NonFiniteError, "words: expected finite values"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_loaded(kind: str, words: Tensor, error, text: str) -> None:
    index, kept = hashed(kind, 64), torch.eye(16).expand(2, -1, -1)
    index.load(kept)
    with pytest.raises(error, match=text):
        index.load(words)
    assert torch.equal(index.search(kept, 1).slots[:, :, 0], torch.arange(16).expand(2, -1))
    assert index.occupancy.tolist() == [16, 16]


def test_the_rules_are_as_documented() -> None:
    assert hashed("ivf").size(2**16) == (1, 1024, 112, 4)
    assert hashed("ivf").size(2**12) == (1, 128, 64, 4)
    assert hashed("lsh").size(2**16) == (8, 4096, 32, 4)
    assert hashed("product").size(2**16) == (1, 4096, 48, 20)
    assert hashed("product").size(2**15) == (1, 1024, 96, 20)
    for kind in KINDS:
        index = hashed(kind)
        assert index.size(1) == index.size(32)
        assert index.size(33) == index.size(64) != index.size(65)


@pytest.mark.parametrize(
    ("kind", "options", "expected"),  # tables, buckets, places of a bucket, probes
    [
        ("lsh", {"tables": 3, "probes": 2}, (3, 256, 32, 2)),
        ("lsh", {"buckets": 100}, (8, 128, 64, 4)),  # as many as there are patterns of signs
        ("lsh", {"bucket_size": 17}, (8, 256, 32, 4)),  # whole blocks
        ("ivf", {"buckets": 100, "bucket_size": 160}, (1, 100, 160, 4)),
        ("ivf", {"probes": 9}, (1, 128, 64, 9)),
        ("product", {"buckets": 100, "probes": 5}, (1, 100, 128, 5)),
        ("product", {"buckets": 101}, (1, 121, 112, 20)),  # a square
        ("auto", {"probes": 7}, (1, 128, 64, 7)),
    ],
)
def test_options_are_honoured(kind: str, options: dict, expected: tuple) -> None:
    index, source = hashed(kind, **options), traffic()
    assert index.size(SIZE) == expected
    index.load(source.fill())
    index.search(source.queries(3), 8)
    buckets, probed = index._buckets, index._probed
    assert buckets is not None and probed is not None
    assert (buckets.tables, buckets.buckets, buckets.size) == expected[:3]
    assert probed.numel() == 2 * 3 * expected[0] * expected[3]


def test_buckets_are_those_of_the_full_memory() -> None:
    index = hashed("ivf", 2**16, buckets=512)
    assert index.size(2**16).buckets == 512
    assert index.size(2**12).buckets == 64  # half as many as by the rule, as in the full one
    assert hashed("ivf", 2**30, buckets=512).size(2**10).buckets == 1


def test_more_probes_find_more_and_fewer_buckets_too() -> None:
    words = torch.randn(2, SIZE, 16)
    queries = words[:, :200] + 0.1 * torch.randn(2, 200, 16)
    for kind in KINDS:
        shares, counts = [], []
        for options in ({"probes": 1}, {}, {"probes": 24}, {"probes": 24, "buckets": 36}):
            index = hashed(kind, **options)
            index.load(words)
            shares.append(recall(index, queries))
            counts.append(index.stats().candidates)
        assert shares == sorted(shares) and counts == sorted(counts)
        assert shares[0] + 0.3 < shares[2]


@pytest.mark.parametrize("metric", ["dot", "l2"])
def test_hyperplanes_halve_words_that_are_all_on_one_side(metric) -> None:
    """Free slots between them, which hold zeros, do not count."""
    words, slots = 5 + torch.randn(2, SIZE // 4, 16), torch.arange(0, SIZE, 4)
    index = hashed("lsh", metric=metric)
    index.update(slots.expand(2, -1), words)
    index.search(words[:, :1], 1)  # makes the tables
    assert index._hash is not None
    codes = index._hash.choices(words).first.flatten(0, 1).unsqueeze(2)
    bits = (codes >> torch.arange(8)) & 1
    shares = bits.double().mean(0)
    assert shares.shape == (8, 8)
    assert (shares - 0.5).abs().max() < 0.12  # five standard deviations: 2 x 256 words are seen
    assert recall(index, words[:, :64] + 0.1 * torch.randn(2, 64, 16)) > 0.8


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize("kind", KINDS)
def test_tables_made_without_a_word_serve_those_that_come(kind: str, metric) -> None:
    index, words = hashed(kind, metric=metric), torch.randn(2, 500, 16)
    index.load(words)
    index.remove(torch.arange(500).expand(2, -1))
    index.reserve(SIZE)  # drops the tables
    made = rebuilds(index)
    assert (index.search(words, 1).slots == -1).all()
    assert rebuilds(index) == made + 1
    for start in range(0, 500, 100):
        index.update(torch.arange(start, start + 100).expand(2, -1), words[:, start : start + 100])
    assert recall(index, words, 1) > 0.9
    assert index.stats().unplaced < 5


@pytest.mark.parametrize(
    ("kind", "option"),
    [
        ("exact", "probes"),
        ("exact", "tables"),
        ("exact", "exact_below"),
        ("ivf", "tables"),
        ("product", "tables"),
        ("auto", "tables"),
        ("lsh", "refresh_after"),
    ],
)
def test_an_option_without_use_is_refused(kind: str, option: str) -> None:
    options: dict[str, Any] = {option: 4}
    config = IndexConfig(kind=kind, **options)
    with pytest.raises(ValueError, match=f"{option}: not an option of index '{kind}'"):
        make_index(config, batch_size=2, capacity=64, word_size=4)


@pytest.mark.parametrize("kind", KINDS)
def test_stats_tell_what_is_there(kind: str) -> None:
    index, source = hashed(kind, exact_below=100), traffic()
    empty = index.stats()
    assert (empty.searching, empty.candidates, empty.fill, empty.rebuilds) == ("exact", 0, None, 0)
    words, queries = source.fill(), source.queries(5)
    index.load(words[:, :99])
    index.search(queries, 4)
    few = index.stats()
    assert (few.searching, few.candidates, few.fill, few.rebuilds) == ("exact", 99, None, 0)
    index.load(words[:, :1000])
    index.remove(torch.arange(700, 800).expand(2, -1))
    unasked = index.stats()
    assert (unasked.searching, unasked.candidates, unasked.rebuilds) == (kind, 0, 1)
    index.search(queries, 4)
    stats, buckets = index.stats(), index._buckets
    assert buckets is not None and index._hash is not None and stats.fill is not None
    assert stats.occupancy.tolist() == [900, 900]
    assert (stats.unplaced, stats.nbytes) == (0, index.nbytes)
    # A recount from where each word says it is.
    size = index.size(1000)
    places = buckets._places.view(2, -1, size.tables)
    assert stats.fill == pytest.approx(float((places < buckets.places).sum()) / buckets.places)
    assert 0.9 < stats.fill * size.buckets * size.bucket_size / 900 <= 1.0
    found = 0
    probes = index._hash.probes(queries / queries.norm(dim=2, keepdim=True))
    for b in range(2):
        for t in range(size.tables):
            home = places[b, :, t][places[b, :, t] < buckets.places] // size.bucket_size
            home = home - (b * size.tables + t) * size.buckets
            found += int((probes[b, :, t].reshape(-1, 1) == home).sum())
    assert stats.candidates == pytest.approx(found / (2 * 5))
    assert 0 < stats.candidates < 900 * size.tables


@pytest.mark.parametrize("kind", KINDS)
def test_words_without_a_place_are_counted(kind: str) -> None:
    """Equal words all want one bucket."""
    index = hashed(kind, 2**9, bucket_size=16)
    index.load(torch.ones(2, 400, 16))
    stats, size = index.stats(), index.size(400)
    near = index.search(torch.ones(2, 1, 16), 400)
    found = int((near.slots >= 0).sum())
    assert 0 < found < 800
    assert 800 - 2 * size.tables * 16 * 9 <= stats.unplaced <= 800 - found
    assert stats.unplaced > 0
    exact = index.search_exact(torch.ones(2, 1, 16), 400)
    assert (exact.slots >= 0).all()
    index.remove(near.slots[:, 0])  # makes room for others
    again = exact.slots[:, 0, :36]
    index.update(again, torch.ones(2, 36, 16))
    assert index.stats().unplaced <= stats.unplaced


@pytest.mark.parametrize("kind", KINDS)
def test_stats_after_tables_became_smaller(kind: str) -> None:
    """The last search looked into buckets that are no longer there."""
    index, words = hashed(kind), torch.randn(2, SIZE, 16)
    index.load(words)
    index.search(words[:, :4], 4)
    assert index.stats().candidates > 0
    index.reset(torch.tensor([True, True]))
    index.load(words[:, :100])
    assert index.stats().candidates == 0
    assert index.stats().occupancy.tolist() == [100, 100]


def test_auto_changes_over_and_back() -> None:
    index, source = hashed("auto", exact_below=300), traffic()
    words, queries = source.fill(), source.queries(8)
    assert (index.answers(299), index.answers(300)) == ("exact", "ivf")
    index.load(words[:, :299])
    assert index.searching == "exact"
    exact = index.search(queries, 8)
    assert torch.equal(exact.slots, index.search_exact(queries, 8).slots)
    assert index.stats().fill is None
    index.update(torch.full((2, 1), 299), words[:, 299:300])
    assert index.searching == "ivf"
    assert index.search(words[:, 299:300], 1).slots.flatten().tolist() == [299, 299]
    assert index.stats().fill is not None
    index.load(words)
    assert recall(index, queries) > 0.9
    index.reset(torch.tensor([True, True]))
    assert index.searching == "exact"
    index.load(words[:, :50])
    index.search(queries, 8)
    stats = index.stats()
    assert (stats.searching, stats.candidates, stats.fill) == ("exact", 50, None)


def test_auto_knows_its_crossover() -> None:
    index = make_index("auto", batch_size=1, capacity=2**20, word_size=32)
    assert isinstance(index, HashedIndex)
    assert (index.answers(2**12 - 1), index.answers(2**12)) == ("exact", "ivf")


@pytest.mark.parametrize("kind", KINDS)
def test_capacity_costs_nothing(kind: str) -> None:
    index, small = hashed(kind, 2**30, buckets=2**20), hashed(kind, 2**10)
    assert index.nbytes == small.nbytes < 1000
    words = torch.randn(2, 200, 16)
    index.load(words)
    assert index.nbytes < 30 * words.nbytes
    assert torch.equal(index.search(words, 1).slots[0, :, 0], torch.arange(200))
