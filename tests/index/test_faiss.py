"""The FAISS backend keeps the contract where FAISS answers, for every kind of its indexes."""

import copy
import pickle
import subprocess
import sys
import warnings

import pytest
import torch

from index import BackendMissingError, IndexConfig, recall_at_k
from index.config import Metric
from index.faiss_backend import FaissIndex
from tests.index import test_stateful
from tests.index.oracle import DictIndex

# Small enough that a dozen words of size 5 suffice to train them.
LISTS = ("faiss", "faiss:IVF4,Flat", "faiss:IVF4,SQ8", "faiss:IVF2,PQ1x3", "faiss:PCA3,IVF2,Flat")
CODES = ("faiss:Flat", "faiss:SQ8", "faiss:PQ1x3", "faiss:PCA3,SQ8", "faiss:LSH")
APPENDED = ("faiss:HNSW4", "faiss:HNSW4_SQ8", "faiss:IVF2,PQ1x4fs")
KINDS = LISTS + CODES + APPENDED
# When all lists are looked into, these compare every word as it is.
COMPLETE = ("faiss", "faiss:IVF4,Flat", "faiss:Flat")
METRICS: tuple[Metric, ...] = ("cosine", "dot", "l2")


@pytest.fixture(autouse=True)
def installed(request: pytest.FixtureRequest) -> None:
    """Skips what needs FAISS."""
    if "without_faiss" not in request.node.name:
        pytest.importorskip("faiss", reason="faiss is not installed")


def pair(kind: str, metric: Metric = "cosine", **sizes) -> tuple[FaissIndex, DictIndex]:
    """An empty index that goes to FAISS as soon as it can, and its oracle."""
    probes = 64 if kind in ("faiss", "faiss:IVF4,Flat") else None
    config = IndexConfig(kind=kind, metric=metric, exact_below=0, probes=probes)
    sizes = {"batch_size": 2, "capacity": 64, "word_size": 5} | sizes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that words cannot be replaced has its own test
        return FaissIndex(config, **sizes), DictIndex(sizes["batch_size"], metric)


def filled(kind: str, metric: Metric = "cosine", **sizes) -> tuple:
    """An index that FAISS answers for, with words at slots 0 .. 19, its oracle and queries."""
    index, oracle = pair(kind, metric, **sizes)
    slots = torch.stack([torch.randperm(20) for _ in range(2)])
    words = torch.randn(2, 20, index.word_size, dtype=index.dtype)
    put((index, oracle), slots, words)
    assert index.searching == kind
    return index, oracle, torch.randn(2, 3, index.word_size, dtype=index.dtype)


def put(stores, slots: torch.Tensor, words: torch.Tensor) -> None:
    """The same update of several stores."""
    for store in stores:
        store.update(slots, words)


def check(index: FaissIndex, oracle: DictIndex, queries: torch.Tensor, k: int, rtol=1e-4) -> None:
    """The contract; and where FAISS compares every word, that nothing better exists."""
    oracle.assert_agrees(index, queries, k, rtol=rtol)
    if index.config.kind in COMPLETE:
        recall = recall_at_k(index.search(queries, k), index.search_exact(queries, k))
        assert recall.eq(1).all()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", KINDS)
def test_updates_removals_and_resets(kind: str, metric: Metric) -> None:
    if (kind, metric) == ("faiss:LSH", "dot"):
        pytest.skip("FAISS compares hashes for l2 only, which on unit words says what cosine says")
    index, oracle, queries = filled(kind, metric)
    stores = (index, oracle)
    check(index, oracle, queries, 8)
    for turn in range(12):
        put(stores, torch.randint(-1, 30, (2, 9)), torch.randn(2, 9, 5))
        check(index, oracle, queries, 4)
        gone = torch.randint(-1, 30, (2, 4))
        for store in stores:
            store.remove(gone)
        check(index, oracle, queries, 4)
        if turn == 6:
            for store in stores:
                store.reset(torch.tensor([False, True]))
            check(index, oracle, queries, 4)
    for store in stores:
        store.reset()
    assert index.searching == "exact"
    check(index, oracle, queries, 4)


@pytest.mark.parametrize("kind", KINDS)
def test_any_sequence_of_calls(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def made(kind: str, metric: Metric, **sizes) -> tuple[FaissIndex, DictIndex]:
        return pair(kind, "l2" if kind == "faiss:LSH" else metric, **sizes)

    monkeypatch.setattr(test_stateful, "pair", made)
    test_stateful.run(kind, examples=12)  # each search trains an index


@pytest.mark.parametrize("kind", (*LISTS, "faiss:Flat", "faiss:SQ8"))
def test_as_many_are_found_as_exist(kind: str) -> None:
    """Lists that hold too few words, and places of removed ones, are no excuse."""
    index, oracle, queries = filled(kind)
    for store in (index, oracle):
        store.remove(torch.tensor([[0, 1, 2, 3, 4, 5], [-1, -1, -1, -1, -1, 19]]))
    for k in (1, 14, 30):
        near = index.search(queries, k)
        assert (near.slots >= 0).sum(-1).tolist() == [[min(k, 14)] * 3, [min(k, 19)] * 3]
        check(index, oracle, queries, k)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "faiss:LSH"])
def test_a_new_word_replaces_the_old(kind: str) -> None:
    index, oracle, _ = filled(kind)
    old, new = (torch.eye(5)[None, i : i + 1].expand(2, -1, -1) for i in range(2))
    for word in (old, new, old):
        put((index, oracle), torch.full((2, 1), 7), word)
        near = index.search(word, 12)
        assert near.slots[..., 0].eq(7).all()
        torch.testing.assert_close(near.scores[..., 0], torch.ones(2, 1))
        check(index, oracle, word, 12)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", ["faiss", "faiss:IVF2,PQ1x3", "faiss:HNSW4"])
def test_float64_scores_are_exact(kind: str, metric: Metric) -> None:
    index, oracle, queries = filled(kind, metric, dtype=torch.float64)
    check(index, oracle, queries, 6, rtol=1e-12)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", ["faiss", "faiss:SQ8", "faiss:HNSW4"])
def test_words_of_any_size_are_legal(kind: str, metric: Metric) -> None:
    """FAISS counts in float32, where these overflow; a NaN in it would end the process."""
    index, oracle, queries = filled(kind, metric, dtype=torch.float64)
    sizes = torch.tensor([1e100, 1e-100, 1e38, 0.0], dtype=torch.float64)
    words = torch.randn(2, 4, 5, dtype=torch.float64) * sizes[:, None]
    put((index, oracle), torch.tensor([[0, 3, 21, 22], [5, 6, 7, 8]]), words)
    oracle.assert_agrees(index, queries, 6, rtol=1e-9)
    near = index.search(torch.cat((queries, 1e100 * queries, 0 * queries), 1), 24)
    assert not near.scores.isnan().any()
    assert (near.slots >= 0).sum(-1).min() >= 20


@pytest.mark.parametrize("count", [1, 3, 9])
def test_one_row_full_and_one_with_few_words(count: int) -> None:
    """Each memory is trained when it has enough words of its own."""
    index, oracle = pair("faiss:IVF8,Flat")
    slots = torch.arange(20).repeat(2, 1)
    slots[1, count:] = -1
    put((index, oracle), slots, torch.randn(2, 20, 5))
    assert index.searching == index.config.kind
    oracle.assert_agrees(index, torch.randn(2, 3, 5), 5)
    for slot in range(30):
        put((index, oracle), torch.full((2, 1), slot), torch.randn(2, 1, 5))
        oracle.assert_agrees(index, torch.randn(2, 2, 5), 5)
    assert index.stats().rebuilds >= 1


@pytest.mark.parametrize("copied", [lambda i: i.clone(), copy.deepcopy, lambda i: unpickled(i)])
@pytest.mark.parametrize("kind", KINDS)
def test_copies_answer_alike_and_are_independent(kind: str, copied) -> None:
    index, oracle, queries = filled(kind)
    put((index, oracle), torch.tensor([[3], [4]]), torch.ones(2, 1, 5))  # leaves a stale word
    other, other_oracle = copied(index), copy.deepcopy(oracle)
    for found, expected in zip(other.search(queries, 6), index.search(queries, 6), strict=True):
        assert torch.equal(found, expected)
    put((other, other_oracle), torch.tensor([[1, 40], [2, 40]]), -torch.ones(2, 2, 5))
    put((index, oracle), torch.tensor([[5], [6]]), torch.zeros(2, 1, 5))
    for store in (other, other_oracle):
        store.reset(torch.tensor([True, False]))
    check(index, oracle, queries, 6)
    check(other, other_oracle, queries, 6)


def unpickled(index: FaissIndex) -> FaissIndex:
    """The index after a way through bytes."""
    return pickle.loads(pickle.dumps(index))


@pytest.mark.parametrize(
    ("factory", "reason"),
    [
        ("", "got ''"),
        ("bogus", "could not parse index string bogus"),
        ("PQ3", "multiple of the number of subquantizers"),
        ("IVF0,Flat", "too few lists"),
        ("HNSW1", "too few lists or links"),
        ("NSG8", "NSGFlat is of no use"),
        ("IDMap,Flat", "IndexIDMap is of no use"),
        ("IVF4,Flat,RFlat", "IndexRefineFlat is of no use"),
    ],
)
def test_a_wrong_factory_string(factory: str, reason: str) -> None:
    with pytest.raises(ValueError, match=rf"kind: expected after 'faiss:' .*word_size=5.*{reason}"):
        pair(f"faiss:{factory}")


def test_options_without_a_use() -> None:
    sizes = {"batch_size": 1, "capacity": 8, "word_size": 4}
    for kind, option, value in (
        ("faiss", "tables", 2),
        ("faiss:SQ8", "probes", 2),
        ("faiss:LSH", "refresh_after", 1.0),
    ):
        config = IndexConfig(kind=kind, **{option: value})
        with pytest.raises(ValueError, match=f"{option}: not an option of index '{kind}'"):
            FaissIndex(config, **sizes)
    with pytest.raises(ValueError, match="metric 'dot', got 'LSH'"):
        pair("faiss:LSH", "dot")


@pytest.mark.parametrize("kind", KINDS)
def test_a_type_that_cannot_replace_words_says_so(kind: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        FaissIndex(IndexConfig(kind=kind), batch_size=1, capacity=9, word_size=5)
    expected = [f"index '{kind}': FAISS can neither replace nor remove"] if kind in APPENDED else []
    assert [str(w.message).partition(" a word")[0] for w in caught] == expected


def test_without_faiss_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(BackendMissingError, match=r"sparse-access-memory\[faiss\]'$"):
        pair("faiss")


def test_without_faiss_the_module_can_be_imported() -> None:
    code = "import sys, index.faiss_backend; sys.exit('faiss' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
