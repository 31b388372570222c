"""Words that are kept rounded: what is kept, in how many bytes, and in files."""

import io
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from index import (
    FileFormatError,
    HashedIndex,
    IndexConfig,
    NonFiniteError,
    StoredIndex,
    load_index,
    make_index,
    recall_at_k,
)
from index.scan import scan
from index.storage import storage_of
from index.tensor_files import read_parts
from index.testing import CHECKS
from tests.index.test_scan import Operations

STORAGES = ("float16", "bfloat16", "int8")
KINDS = ("exact", "ivf", "product", "lsh")
# Bytes of a word of 50 numbers.
KEPT = {None: 200, "float32": 200, "float16": 100, "bfloat16": 100, "int8": 54}
# The contract takes seconds, so not every kind has every storage.
CONTRACTS = [
    IndexConfig(storage="float16"),
    IndexConfig(kind="ivf", storage="int8", exact_below=0),
    IndexConfig(kind="product", storage="bfloat16", copies=False, exact_below=0),
]


def made(kind: str = "exact", count: int = 0, width: int = 50, **options: Any) -> StoredIndex:
    """An index of one memory, with so many words in clusters."""
    lists = {} if kind == "exact" else {"exact_below": 0}
    config = IndexConfig(kind=kind, **lists, **options)
    index = make_index(config, capacity=2**14, word_size=width)
    assert isinstance(index, StoredIndex)
    if count:
        index.load(clustered(count, width))
    return index


def clustered(count: int, width: int = 50) -> Tensor:
    """Words [n, W], in clusters of 64."""
    centers = torch.randn(-(-count // 64), 1, width)
    return (centers + 0.5 * torch.randn(len(centers), 64, width)).flatten(0, 1)[:count]


@pytest.mark.parametrize("config", CONTRACTS, ids=lambda one: f"{one.kind} {one.storage}")
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(config: IndexConfig, check) -> None:
    check(config)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", STORAGES)
def test_words_come_back_rounded(name: Any, dtype: torch.dtype) -> None:
    storage = storage_of(name, dtype, 40)
    words = torch.randn(2, 60, 40, dtype=dtype) * 10.0 ** torch.linspace(-4, 3, 60).unsqueeze(1)
    kept = storage.encode(words)
    assert (kept.dtype, kept.shape) == (storage.kept, (2, 60, storage.width))
    back = storage.decode(kept)
    assert back.dtype is dtype
    step = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "int8": 0.501 / 127}[name]
    size = words.abs().amax(2, keepdim=True) if name == "int8" else words.abs()
    assert ((back - words).abs() <= step * size + 2.0**-25).all()
    assert torch.equal(storage.decode(storage.encode(torch.zeros(3, 40))), torch.zeros(3, 40))


def test_bytes_keep_words_of_any_length() -> None:
    """Also one whose scale would be no normal number, and the largest there is."""
    storage = storage_of("int8", torch.float32, 3)
    words = torch.tensor([[1e-44, -1e-40, 3e-37], [3e38, -3e38, 1e30], [0.0, -0.0, 0.0]])
    back = storage.decode(storage.encode(words))
    assert back.isfinite().all()
    assert ((back - words).abs() <= 0.5 * words.abs().amax(1, keepdim=True) / 127 + 6e-39).all()


@pytest.mark.parametrize("kind", KINDS)
def test_float32_is_what_there_was(kind: str) -> None:
    torch.manual_seed(0)
    words, queries = clustered(3000), torch.randn(20, 50)
    indexes = [made(kind), made(kind, storage="float32")]
    for index in indexes:
        index.load(words)
        index.update(range(30), -words[:30])
    found, expected = (index.search(queries, 9) for index in indexes)
    assert torch.equal(found.slots, expected.slots) and torch.equal(found.scores, expected.scores)
    assert indexes[0].nbytes == indexes[1].nbytes


@pytest.mark.parametrize(
    ("kind", "copies"),
    [*((kind, None) for kind in KINDS), ("ivf", False), ("product", False)],
)
@pytest.mark.parametrize("name", KEPT)
def test_bytes_of_a_word(name: Any, kind: str, copies: bool | None) -> None:
    """What docs/indexes.md says: each copy takes what is kept, and 4 bytes say that it is there.

    Of float32 words the copies are codes, as int8 words are kept.
    """
    index, count = made(kind, 4096, storage=name, copies=copies), 4096
    index.search(torch.randn(4, 50), 5)
    assert index._words.nbytes == KEPT[name] * (1 + index._room)
    rest = index.nbytes - index._words.nbytes - index._penalty.nbytes
    assert index._penalty.nbytes == 4 * (1 + index._room)
    if kind == "exact":
        assert rest < 100
        assert index.nbytes <= (KEPT[name] + 4) * 1.01 * count
        return
    assert isinstance(index, HashedIndex) and index._lists is not None
    lists = index._lists
    held = min(KEPT[name], KEPT["int8"] if name in (None, "float32") else 200)
    held = held if kind != "lsh" and copies is None else 0
    assert lists._held_words.nbytes == pytest.approx(held * lists.places, abs=16 * held)
    places = int(lists._pieces.end)  # that lists had; memory beyond them is not in use yet
    assert places <= 2.2 * count * lists.tables
    beside = {"ivf": 50, "product": 40, "lsh": 170}[kind]
    assert rest - held * places < beside * count
    assert index.stats().nbytes == index.nbytes


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize("name", STORAGES)
def test_a_scan_decodes_some_words_at_a_time(name: Any, metric: Any) -> None:
    """In pieces and in stages it finds what it finds among the words as they come back."""
    words, penalty = torch.randn(1, 2**14, 64), torch.zeros(1, 2**14)
    penalty[0, ::5] = -torch.inf
    storage = storage_of(name, torch.float32, 64)
    kept = storage.encode(words)
    for count, k in ((2, 8), (2, 300), (40, 3)):
        queries = torch.randn(1, count, 64)
        expected = scan(storage.decode(kept), penalty, queries, k, metric)
        with Operations() as operations:
            scores, slots = scan(kept, penalty, queries, k, metric, storage)
        torch.testing.assert_close(scores, expected[0])
        assert (slots == expected[1]).float().mean() > 0.99
        assert 4 * operations.largest <= 4 * 2**20, "as large as all words"


@pytest.mark.parametrize("copies", [None, False])
@pytest.mark.parametrize("name", [None, *STORAGES])
def test_recall_is_kept_whatever_is_kept(name: Any, copies: bool | None) -> None:
    torch.manual_seed(1)
    words, index = clustered(4096), made("ivf", storage=name, copies=copies)
    exact = made()
    for each in (index, exact):
        each.load(words)
    queries = words[::16] + 0.1 * torch.randn(256, 50)
    for part in queries.split(64):
        index.search(part, 8)
    found = index.search(queries, 8)
    assert recall_at_k(found, index.search_exact(queries, 8)).mean() > 0.85
    true = exact.search(queries, 8).slots
    assert (found.slots.unsqueeze(2) == true.unsqueeze(1)).any(2).float().mean() > 0.83


@pytest.mark.parametrize("kind", ["exact", "ivf"])
@pytest.mark.parametrize("name", [None, *STORAGES])
def test_files_keep_what_is_kept(name: Any, kind: str, tmp_path: Path) -> None:
    given = {} if kind == "exact" else {"probes": 4}  # so that no look at recall changes an answer
    index, queries = made(kind, 500, storage=name, **given), torch.randn(9, 50)
    index.remove([3, 77])
    expected = index.search(queries, 7)
    path = tmp_path / "index"
    index.save(path)
    assert path.stat().st_size < (KEPT[name] + 40) * 600 + 2**16
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        assert file.metadata()["version"] == ("3" if name else "2"), "older releases read the rest"
    for mmap in (False, True):
        other = load_index(path, mmap=mmap)
        assert isinstance(other, StoredIndex) and other.config == index.config
        assert other._words.dtype is index._words.dtype
        found = other.search(queries, 7)
        assert torch.equal(found.slots, expected.slots)
        assert torch.equal(found.scores, expected.scores)
        other.update([3], queries[:1])
        assert other.search(queries[:1], 1).slots[0] == 3
    buffer = io.BytesIO()
    torch.save(index, buffer)
    buffer.seek(0)
    for other in (pickle.loads(pickle.dumps(index)), torch.load(buffer)):
        found = other.search_exact(queries, 7)
        assert torch.equal(found.scores, index.search_exact(queries, 7).scores)


def test_other_rows_than_the_settings_say_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "index"
    made("exact", 40, storage="int8").save(path)
    for name, change in (
        ("float16", lambda rows: rows),
        ("int8", lambda rows: rows[..., :-1].contiguous()),
        ("int8", lambda rows: torch.where(torch.arange(54) < 50, rows, -1)),  # scales that are NaN
    ):
        given = read_parts(path, "index")
        given._tensors["rows"] = change(given._tensors["rows"])
        with pytest.raises(FileFormatError, match="rows: expected"):
            made("exact", storage=name)._restore(given)


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ValueError, match=r"storage: expected one of float32, .*, got 'int4'"):
        IndexConfig(storage="int4")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="copies: expected true, false or None, got 'no'"):
        IndexConfig(copies="no")  # type: ignore[arg-type]
    for kind in ("exact", "lsh"):
        with pytest.raises(ValueError, match="copies: not an option of index"):
            made(kind, copies=False)
    index, word = made("exact", 9, storage="float16", metric="dot"), torch.ones(1, 50)
    word[0, 7] = 7e4
    expected = index.search(word, 9)
    text = r"at most 65504 to be kept as float16, got 70000 at \[0, 7\]; take storage bfloat16"
    for call in (lambda: index.update([40], word), lambda: index.load(word)):
        with pytest.raises(NonFiniteError, match=text):
            call()
    batched = make_index(index.config, batch_size=1, capacity=20, word_size=50)
    batched.reserve(20)
    with pytest.raises(NonFiniteError, match="at most 65504"):
        batched.exchange(torch.tensor([[2]]), word[None], word[None], 1)
    assert batched.occupancy.tolist() == [0] and index._in_use == 9
    assert torch.equal(index.search(word, 9).scores, expected.scores)
    made("exact", storage="float16").update([1], word)  # divided by its length
    made("exact", storage="bfloat16", metric="l2").update([1], 1e38 * (word / 7e4))


class Plain(StoredIndex):
    """A backend that knows nothing of storage."""


def test_a_backend_has_to_say_that_it_knows_storage() -> None:
    with pytest.raises(ValueError, match="storage: not an option of index 'plain'"):
        Plain(IndexConfig(kind="plain", storage="int8"), capacity=4, word_size=2)


def test_faiss_names_its_own_codes() -> None:
    pytest.importorskip("faiss")
    with pytest.raises(ValueError, match=r"storage: not an option of index 'faiss'; .*SQ8"):
        made("faiss", storage="int8")
