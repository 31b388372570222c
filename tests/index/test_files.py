"""Files of tensors and indexes on disk: whole, found again, and refused if anything is wrong."""

import json
import os
import struct
import threading

import pytest
import torch

import index.tensor_files
from index import (
    BackendMissingError,
    FileFormatError,
    IndexConfig,
    VectorIndex,
    available_indexes,
    load_index,
    make_index,
)
from index.tensor_files import atomic_file, read_parts, write_atomic, write_parts

safetensors = pytest.importorskip("safetensors.torch")

PARTS = {
    "a.words": torch.arange(6.0).view(2, 3),
    "a.slots": torch.tensor([[1, -1]]),
    "flags": torch.tensor([True, False]),
    "none": torch.zeros(2, 0),
    "one": torch.tensor(3.0, dtype=torch.float64),
    "n": 3,
    "settings": {"kind": "x", "rate": 0.1, "no": None},
}


@pytest.fixture
def path(tmp_path):
    write_parts(tmp_path / "parts", "test", PARTS)
    return tmp_path / "parts"


def header(metadata, rest=b"", tensors=None):
    """A safetensors file by hand."""
    text = json.dumps({"__metadata__": metadata, **(tensors or {})}).encode()
    return struct.pack("<Q", len(text)) + text + rest


def test_parts_are_found_again(path):
    given = read_parts(path, "test")
    below = given.under("a")
    assert torch.equal(below.finite("words", (2, None), torch.float32), PARTS["a.words"])
    assert torch.equal(below.integers("slots", (1, 2), -1, 2), PARTS["a.slots"])
    with pytest.raises(FileFormatError, match=r"parts: expected no part 'flags', got it"):
        given.finish()
    assert given.tensor("flags", (2,), torch.bool).tolist() == [True, False]
    assert given.tensor("none", (2, 0), torch.float32).numel() == 0
    assert given.tensor("one", (), torch.float64) == 3
    assert given.number("n", 0, 3) == 3
    given.same("settings", PARTS["settings"])
    given.finish()


def test_what_does_not_fit_is_named(path):
    below = read_parts(path, "test").under("a")
    for wrong, message in (
        (lambda: below.tensor("words", (3, 3), torch.float32), r"float32 \[3, 3\], got .*\[2, 3\]"),
        (lambda: below.tensor("words", (2, 3, 1), torch.float32), r"got torch.float32 \[2, 3\]"),
        (lambda: below.tensor("words", (2, 3), torch.float64), r"expected torch.float64"),
        (lambda: below.tensor("more", (2,), torch.float64), r"a.more: expected .*, got none"),
        (lambda: below.integers("slots", (1, 2), 0, 9), r"a.slots: expected 0 to 8, got -1 to 1"),
        (lambda: below.integers("slots", (1, 2), -1, 1), r"a.slots: expected -1 to 0"),
        (lambda: below.setting("n", int), r"a.n: expected int, got none"),
    ):
        with pytest.raises(FileFormatError, match=message):
            wrong()
    given = read_parts(path, "test")
    for wrong, message in (
        (lambda: given.setting("n", float), r"n: expected float, got 3"),
        (lambda: given.number("n", 4, 9), r"n: expected 4 to 9, got 3"),
        (lambda: given.same("n", 4), r"n: expected 4, got 3"),
    ):
        with pytest.raises(FileFormatError, match=message):
            wrong()


def test_a_flipped_bit_anywhere_is_refused(path):
    whole = path.read_bytes()
    for place in range(len(whole)):
        for bit in (place % 8, 5):  # the sixth makes other letters of letters
            flipped = bytearray(whole)
            flipped[place] ^= 1 << bit
            path.write_bytes(flipped)
            with pytest.raises(FileFormatError, match="expected a file of"):
                read_parts(path, "test")


def test_a_file_that_is_cut_short_or_longer_is_refused(path):
    whole = path.read_bytes()
    for content in (*(whole[:size] for size in range(len(whole))), whole + b"\0", whole * 2):
        path.write_bytes(content)
        with pytest.raises(FileFormatError, match="expected a file of"):
            read_parts(path, "test")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cut short or damaged"),
        (b"PK\x03\x04" + bytes(100), "cut short or damaged"),
        (struct.pack("<Q", 2**64 - 1) + bytes(100), "a header of 18446744073709551615 bytes"),
        (struct.pack("<Q", 2**40) + bytes(100), "a header of"),
        (struct.pack("<Q", 10**5) + b"[" * 10**5, "cut short or damaged"),
        (struct.pack("<Q", 2) + b"{}", "got another file"),
        (struct.pack("<Q", 2) + b"[]", "got another file"),
        (struct.pack("<Q", 4) + b'"\xff"}', "cut short or damaged"),
        (header({"format": "pt"}), "got one of 'pt'"),
        (header({"format": 3}), "got one of 3"),
        (header({"format": "sparse-access-memory state"}), "got one of 'sparse-access-memory s"),
        (header({"format": "sparse-access-memory test"}), "damaged"),
        (header({"format": "sparse-access-memory test", "version": "2"}), "version '2', where"),
        (header({"format": "sparse-access-memory test", "version": "1"}), "damaged"),
    ],
)
def test_another_file_is_refused_in_one_line(path, content, message):
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=message) as caught:
        read_parts(path, "test")
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("settings", ["[" * 10**5, "[]", "3", "{", "nothing", '{"a": 1e999}x'])
def test_settings_that_are_none_are_refused(path, settings):
    metadata = {"format": "sparse-access-memory test", "version": "1", "settings": settings}
    metadata["sha256"] = index.tensor_files._checksum(metadata, {})
    path.write_bytes(safetensors.save({}, metadata))
    with pytest.raises(FileFormatError, match="cut short or damaged"):
        read_parts(path, "test")


def test_tensors_that_claim_to_be_larger_than_the_file_are_refused(path):
    metadata = {"format": "sparse-access-memory test", "version": "1", "settings": "{}"}
    metadata["sha256"] = "0" * 64
    for shape, end in (([2**62], 8), ([2**33], 2**36), ([-1], 8), ([1.5], 8), ([2], 2**70)):
        tensors = {"a": {"dtype": "I64", "shape": shape, "data_offsets": [0, end]}}
        path.write_bytes(header(metadata, bytes(8), tensors))
        with pytest.raises(FileFormatError, match="cut short or damaged"):
            read_parts(path, "test")


def test_what_is_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_parts(tmp_path / "nothing", "test")
    with pytest.raises(IsADirectoryError):
        read_parts(tmp_path, "test")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileFormatError, match="got a pipe, socket or device"):
        read_parts(tmp_path / "pipe", "test")
    with pytest.raises(FileFormatError, match="got a pipe, socket or device"):
        read_parts("/dev/zero", "test")


def test_tensors_that_share_memory_and_views_are_saved_apart(path):
    base = torch.arange(12.0).view(3, 4)
    write_parts(path, "test", {"a": base, "b": base.t(), "c": base[1:, ::2], "d": base})
    given = read_parts(path, "test")
    for name, tensor in {"a": base, "b": base.t(), "c": base[1:, ::2], "d": base}.items():
        assert torch.equal(given.tensor(name, tensor.shape, torch.float32), tensor)


def test_a_missing_package_is_named(path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "safetensors.torch", None)
    with pytest.raises(BackendMissingError, match=r"pip install 'sparse-access-memory\[train\]'"):
        read_parts(path, "test")


def test_writers_of_one_file_do_not_disturb_each_other(tmp_path):
    target, barrier = tmp_path / "file", threading.Barrier(2)

    def write(letter):
        with atomic_file(target) as file:
            file.write(letter)
            barrier.wait(10)
            file.write(letter)
            file.flush()
            barrier.wait(10)

    others = [threading.Thread(target=write, args=(letter,)) for letter in (b"a", b"b")]
    for other in others:
        other.start()
    for other in others:
        other.join()
    assert target.read_bytes() in (b"aa", b"bb")
    assert list(tmp_path.iterdir()) == [target]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomic(path, "old")
    with pytest.raises(TypeError):
        write_parts(path, "test", {"a": object()})
    monkeypatch.setattr(os, "fsync", lambda number: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(OSError, match="full"):
        write_parts(path, "test", PARTS)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def filled(config, **options):
    torch.manual_seed(0)
    made = make_index(config, batch_size=2, capacity=600, word_size=4, **options)
    for _ in range(12):
        made.update(torch.randint(-1, 400, (2, 40)), torch.randn(2, 40, 4, dtype=made.dtype))
    made.remove(torch.randint(0, 400, (2, 20)))
    return made


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", available_indexes())
def test_a_loaded_index_has_the_same_words(kind, dtype, metric, tmp_path):
    if kind == "faiss":
        pytest.importorskip("faiss")
    made = filled(IndexConfig(kind=kind, metric=metric, compiled=None), dtype=dtype)
    made.save(tmp_path / "index")
    loaded = load_index(tmp_path / "index")
    assert type(loaded) is type(made)
    assert (loaded.config, loaded.capacity, loaded.dtype) == (made.config, made.capacity, dtype)
    assert torch.equal(loaded.occupancy, made.occupancy)
    queries = torch.randn(2, 3, 4, dtype=dtype)
    expected, found = made.search_exact(queries, 5), loaded.search_exact(queries, 5)
    assert torch.equal(found.slots, expected.slots)
    assert torch.equal(found.scores, expected.scores)
    everything = loaded.search(queries, 5)
    assert bool((everything.slots >= 0).all())
    loaded.update(torch.tensor([[599], [3]]), torch.full((2, 1, 4), 9.0, dtype=dtype))
    nearest = loaded.search_exact(torch.full((2, 1, 4), 9.0, dtype=dtype), 1)
    assert nearest.slots.flatten().tolist() == [599, 3]


def test_an_empty_index(tmp_path):
    make_index("exact", batch_size=3, capacity=2**40, word_size=2).save(tmp_path / "index")
    assert (tmp_path / "index").stat().st_size < 2000
    loaded = load_index(tmp_path / "index")
    assert loaded.capacity == 2**40
    assert loaded.occupancy.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("config", {"kind": "nothing"}),
        ("config", {"kind": "exact", "metric": "far"}),
        ("config", {"kind": "exact", "probes": 3}),
        ("config", {"kind": "exact", "more": 3}),
        ("config", []),
        ("batch_size", 3),
        ("batch_size", 2**60),
        ("batch_size", 0),
        ("capacity", 3),
        ("capacity", 2**63),
        ("word_size", 5),
        ("dtype", "float64"),
        ("dtype", "float16"),
        ("words", torch.zeros(2, 3, 4)),
        ("words", torch.full((2, 400, 4), torch.nan)),
        ("occupied", torch.zeros(2, 400, dtype=torch.bool)),
        ("occupancy", torch.zeros(2)),
        ("more", 1),
    ],
)
def test_an_index_that_cannot_be_is_refused(part, value, tmp_path):
    path = tmp_path / "index"
    made = filled("exact")
    made.update(torch.tensor([[399], [399]]), torch.ones(2, 1, 4))
    write_parts(path, "index", made.content())
    load_index(path)
    write_parts(path, "index", made.content() | {part: value})
    with pytest.raises(FileFormatError, match="expected"):
        load_index(path)


def test_an_index_of_our_own_says_what_it_lacks(tmp_path):
    class Ours(VectorIndex):
        def _nothing(self, *_):
            pass

        _build = _occupancy = _update = _remove = _search = _reset = _grow = _nothing

    ours = Ours(IndexConfig(kind="ours"), batch_size=1, capacity=1, word_size=1)
    with pytest.raises(NotImplementedError, match=r"'ours': expected the methods _content"):
        ours.save(tmp_path / "index")
