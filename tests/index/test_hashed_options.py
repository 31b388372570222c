"""Indexes with lists: options and rules, what is refused, loading, and what stats say."""

import pickle
from typing import Any

import pytest
import torch
from torch import Tensor

from index import HashedIndex, IndexConfig, NonFiniteError, ShapeError, make_index
from tests.index.hashed_cases import KINDS, LEAST, SIZE, hashed, rebuilds, recall, traffic
from tests.index.oracle import FORMS


@pytest.mark.parametrize("kind", KINDS)
def test_loading_is_one_update(kind: str) -> None:
    words = traffic().fill()[:1].expand(2, -1, -1)
    one, two = hashed(kind, probes=8), hashed(kind, probes=8)
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
        (torch.zeros(2, 5, 16).bool(), ShapeError, "words: expected floating point or integers"),
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
    """Tables, lists, and the length of a list where the options say it."""
    assert hashed("ivf").size(2**16) == (1, 1536, None)
    assert hashed("ivf").size(2**12) == (1, 128, None)
    assert hashed("lsh").size(2**16) == (8, 4096, None)
    assert hashed("product").size(2**16) == (1, 4096, None)
    assert hashed("product").size(2**15) == (1, 1024, None)
    for kind in KINDS:
        index = hashed(kind)
        assert index.size(1) == index.size(32)
        assert index.size(33) == index.size(64)
        assert index.size(256) != index.size(2**10)


@pytest.mark.parametrize(
    ("kind", "options", "expected"),  # tables, lists, length of a list
    [
        ("lsh", {"tables": 3, "probes": 2}, (3, 256, None)),
        ("lsh", {"buckets": 100}, (8, 128, 32)),  # as many as there are patterns of signs
        ("ivf", {"buckets": 100, "bucket_size": 160}, (1, 100, 160)),
        ("ivf", {"bucket_size": 64}, (1, 64, 64)),
        ("ivf", {"probes": 9}, (1, 128, None)),
        ("product", {"buckets": 100, "probes": 5}, (1, 100, 40)),
        ("product", {"buckets": 101}, (1, 121, 33)),  # a square
        ("auto", {"probes": 7}, (1, 128, None)),
    ],
)
@pytest.mark.parametrize("compiled", FORMS)
def test_options_are_honoured(kind: str, options: dict, expected: tuple, compiled: bool) -> None:
    """With `probes` a query meets the words of so many mean lists, or a few more."""
    index, source = hashed(kind, compiled=compiled, **options), traffic()
    assert index.size(SIZE) == expected
    index.load(source.fill())
    index.search(source.queries(64), 8)
    lists = index._lists
    assert lists is not None and lists.tables == expected[0]
    # Those of `ivf` that turn out too long are divided.
    assert lists.lists == expected[1] or (kind in ("ivf", "auto") and lists.lists > expected[1])
    if "probes" in options:
        least = options["probes"] * expected[0] * SIZE / expected[1]
        assert least <= index.stats().candidates <= 2.5 * least


def test_buckets_are_those_of_the_full_memory() -> None:
    index = hashed("ivf", 2**16, buckets=768)
    assert index.size(2**16).lists == 768
    assert index.size(2**12).lists == 64  # half as many as by the rule, as in the full one
    assert hashed("ivf", 2**30, buckets=512).size(2**10).lists == 1


@pytest.mark.parametrize("kind", KINDS)
def test_more_probes_and_a_higher_target_find_more(kind: str) -> None:
    words = torch.randn(2, SIZE, 16)
    queries = words[:, :300] + 0.1 * torch.randn(2, 300, 16)
    for name, values in (("probes", (1, 8, 24, 80)), ("recall", (0.5, 0.8, 0.9, 0.99))):
        shares, counts = [], []
        for value in values:
            index = hashed(kind, **{name: value})
            index.load(words)
            index.search(queries, 8)
            shares.append(recall(index, queries))
            counts.append(index.stats().candidates)
        assert shares == sorted(shares) and counts == sorted(counts)
        assert shares[0] + 0.25 < shares[-1]


@pytest.mark.parametrize("metric", ["dot", "l2"])
def test_hyperplanes_halve_words_that_are_all_on_one_side(metric) -> None:
    """Free slots between them, which hold zeros, do not count."""
    words, slots = 5 + torch.randn(2, SIZE // 4, 16), torch.arange(0, SIZE, 4)
    index = hashed("lsh", metric=metric)
    index.update(slots.expand(2, -1), words)
    index.search(words[:, :1], 1)  # makes the tables
    assert index._hash is not None
    codes = index._hash.choices(words).lists.flatten(0, 1).unsqueeze(2)
    bits = (codes >> torch.arange(8)) & 1
    shares = bits.double().mean(0)
    assert shares.shape == (8, 8)
    assert (shares - 0.5).abs().max() < 0.12  # five standard deviations: 2 x 256 words are seen
    assert recall(index, words[:, :256] + 0.1 * torch.randn(2, 256, 16)) > LEAST


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize("kind", KINDS)
def test_tables_made_without_a_word_serve_those_that_come(kind: str, metric) -> None:
    index, words = hashed(kind, metric=metric), torch.randn(2, 500, 16)
    index.load(words)
    index.remove(torch.arange(500).expand(2, -1))
    index = pickle.loads(pickle.dumps(index))  # without the tables
    assert (index.search(words, 1).slots == -1).all()
    assert rebuilds(index) == 1
    for start in range(0, 500, 100):
        index.update(torch.arange(start, start + 100).expand(2, -1), words[:, start : start + 100])
    assert recall(index, words, 1) > LEAST
    assert index.stats().unplaced == 0


@pytest.mark.parametrize(
    ("kind", "option"),
    [
        ("exact", "probes"),
        ("exact", "tables"),
        ("exact", "exact_below"),
        ("ivf", "tables"),
        ("product", "tables"),
        ("auto", "tables"),
        ("product", "bucket_size"),
        ("lsh", "bucket_size"),
    ],
)
def test_an_option_without_use_is_refused(kind: str, option: str) -> None:
    options: dict[str, Any] = {option: 4}
    config = IndexConfig(kind=kind, **options)
    with pytest.raises(ValueError, match=f"{option}: not an option of index '{kind}'"):
        make_index(config, batch_size=2, capacity=64, word_size=4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("compiled", FORMS)
def test_stats_tell_what_is_there(kind: str, compiled: bool) -> None:
    index, source = hashed(kind, exact_below=100, probes=4, compiled=compiled), traffic()
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
    stats, lists = index.stats(), index._lists
    assert lists is not None and index._hash is not None
    assert stats.occupancy.tolist() == [900, 900]
    assert (stats.unplaced, stats.nbytes) == (0, index.nbytes)
    assert stats.fill == pytest.approx(2 * 900 * lists.tables / int(lists.rooms.sum()))
    assert 0.4 < stats.fill < 1
    # A recount of the words in the first lists of each query, until there are enough.
    budget = max(4 * lists.tables, 4 * -(-1000 // lists.lists) * lists.tables)
    scaled, met = queries / queries.norm(dim=2, keepdim=True), 0
    numbers = lists.number(index._hash.probes(scaled, index._hash.most_probes))
    for b in range(2):
        for q in range(5):
            mine = 0
            for column in numbers[b, q].T:
                if mine < budget:
                    mine += int(lists.lengths[column].sum())
            met += mine
    assert stats.candidates == pytest.approx(met / (2 * 5))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("compiled", FORMS)
def test_equal_words_are_all_in_one_list_and_found(kind: str, compiled: bool) -> None:
    index = hashed(kind, 2**9, compiled=compiled)
    words = torch.ones(2, 400, 16)
    index.load(words)
    found = index.search(words[:, :1], 400).slots
    assert (found.sort(2).values == torch.arange(400)).all()
    index.remove(found[:, 0, :100])
    index.update(found[:, 0, :36], words[:, :36])
    again = index.search(words[:, :1], 400).slots
    assert ((again >= 0).sum(2) == 336).all()
    assert index.stats().unplaced == 0


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
    assert recall(index, source.queries(256)) >= LEAST
    index.reset(torch.tensor([True, True]))
    assert index.searching == "exact"
    index.load(words[:, :50])
    index.search(queries, 8)
    stats = index.stats()
    assert (stats.searching, stats.candidates, stats.fill) == ("exact", 50, None)


def test_auto_knows_its_crossover() -> None:
    index = make_index("auto", batch_size=1, capacity=2**20, word_size=32)
    assert isinstance(index, HashedIndex)
    assert (index.answers(2**13 - 1), index.answers(2**13)) == ("exact", "ivf")
    wide = make_index(IndexConfig(kind="auto", metric="l2"), capacity=2**20, word_size=784)
    assert isinstance(wide, HashedIndex)
    assert (wide.answers(511), wide.answers(512)) == ("exact", "ivf")


@pytest.mark.parametrize("kind", KINDS)
def test_capacity_costs_nothing(kind: str) -> None:
    index, small = hashed(kind, 2**30, buckets=2**20), hashed(kind, 2**10)
    assert index.nbytes == small.nbytes < 1000
    words = torch.randn(2, 200, 16)
    index.load(words)
    assert index.nbytes < 30 * words.nbytes
    assert torch.equal(index.search(words, 1).slots[0, :, 0], torch.arange(200))
