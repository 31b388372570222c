"""Files of an index: with tables, of older versions, and mapped into memory."""

import base64
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from index import FileFormatError, IndexConfig, load_index, make_index, register_index, registry
from index import tensor_files as files
from index.tensor_files import read_parts, write_parts
from index.vector_index import settings_of
from tests.index.oracle import CASES, config_of
from tests.index.table_index import TableIndex

pytest.importorskip("safetensors")

# A file that the first version wrote: lsh, 3 probes, slots 0, 2, 5 and 1, 3, 4 of 2 x 64.
VERSION_1 = zlib.decompress(
    base64.b64decode(
        "eNp1UjFv1DAUzkH3/gJE5IEpJyVxLrmeqp7EAEJC6sDYnCLHfr6LmsRR7GsbTpHKBlIldgYWfgFiJvdHurMwM2Mn"
        "ahWgvMh5fl/e995nv7x/ZPW2Q0lSgCKMKJIkaLFDEpTKyrVEC7SLERUlz9YxWtg6OM9KZrYxyuUmRo7eaG6d0QGk"
        "QmYlDLgiaQ7S4OU2zw2Sbuk5qAegRGZvYQxXtUgHLjYhXBGqkhRycTnOqoHXIDcJ4Qrq8QcJ0Kt0nV5TUWX5AJiE"
        "tu9LFN3ct/X7PFIRmqnGAGFgkEtRs/ucXghTTQXDUXkuiMJ+jFrkILkh/izU93XkBe4s8gMX8zmDcB5BkM6Y581d"
        "4ro+S7kbYg+zKIpcGgFjRxRjwHNuUI+Eoa51AbXMRKmLeTrioi6I0oGsSC1hSigFKacFFKJubD0NuEKtgwSl24qU"
        "tDHz61VqyqswGLSZ6MxfOaifseBcT1hP98x1vHCl2eagcsx8gf0x0wkd/C/bCzXdXd11z4CNSzw/PX39Z42HKmgF"
        "kb9qW9u2Hw+/o3XnyTHem/WOHnbWyG5vfn2/vbnY63Vi/ceSJ8+6Q6dZav93zvXBz6fLgx8vl2Pwa/Lp5MPH9VL7"
        "bnr8pkPF5+7bl2I/zpnop39NJtZv0MjqTQ=="
    )
)


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> TableIndex:
    """An index with a table, its name registered for one test."""
    monkeypatch.setattr(registry, "_INDEXES", dict(registry._INDEXES))
    register_index("table", TableIndex)
    sizes = {"batch_size": 2, "capacity": 300, "word_size": 5}
    index = make_index(IndexConfig(kind="table", metric="dot"), **sizes)
    index.load(torch.randn(2, 200, 5))
    index.remove(torch.arange(0, 150, 3).expand(2, -1))
    assert isinstance(index, TableIndex)
    return index


def test_a_file_of_version_1_is_read(tmp_path: Path) -> None:
    path = tmp_path / "index"
    path.write_bytes(VERSION_1)
    for mmap in (False, True):
        index: Any = load_index(path, mmap=mmap)
        assert index.config == IndexConfig(kind="lsh", probes=3, norm_eps=1e-6)
        assert (index.batch_size, index.batched, index.capacity) == (2, True, 64)
        assert index.occupancy.tolist() == [3, 3]
        found = index.search_exact(torch.tensor([[[1.0, 2.0, 3.0]]] * 2), 4)
        assert found.slots.tolist() == [[[5, 2, 0, -1]], [[1, 3, 4, -1]]]
        index.update(torch.tensor([[5], [9]]), torch.ones(2, 1, 3))
        assert path.read_bytes() == VERSION_1
    index.save(path)  # as the version of today
    assert read_parts(path, "index").peek("rows") is not None
    assert load_index(path).occupancy.tolist() == [3, 4]


@pytest.mark.parametrize("mmap", [False, True])
def test_tables_are_not_made_again(table: TableIndex, tmp_path: Path, mmap: bool) -> None:
    queries, path = torch.randn(2, 7, 5), tmp_path / "index"
    expected = table.search(queries, 9)
    table.save(path)
    given = read_parts(path, "index")
    assert given.under("tables").names() == ["free", "narrow"]
    other = load_index(path, mmap=mmap)
    assert isinstance(other, TableIndex)
    assert other.made == 1, "made for the empty index alone"
    found = other.search(queries, 9)
    assert torch.equal(found.slots, expected.slots)
    assert torch.equal(found.scores, expected.scores)


def test_a_file_without_tables_has_them_made(table: TableIndex, tmp_path: Path) -> None:
    path = tmp_path / "index"
    parts = table.content()
    write_parts(path, "index", parts)
    other = load_index(path)
    assert isinstance(other, TableIndex)
    assert other.made == 2
    queries = torch.randn(2, 7, 5)
    assert torch.equal(other.search(queries, 9).slots, table.search(queries, 9).slots)


def test_tables_that_nobody_takes_are_made_again(
    table: TableIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a backend whose tables had another layout when the file was written."""
    table.save(tmp_path / "index")
    monkeypatch.delattr(TableIndex, "_restore_table")
    other = load_index(tmp_path / "index")
    assert isinstance(other, TableIndex)
    assert other.made == 2
    queries = torch.randn(2, 7, 5)
    assert torch.equal(other.search(queries, 9).slots, table.search(queries, 9).slots)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("tables.narrow", torch.zeros(2, 200, 4)),
        ("tables.narrow", torch.full((2, 200, 3), torch.inf)),
        ("tables.free", torch.zeros(2, 199)),
        ("tables.more", torch.zeros(2)),
        ("tables.free", 3),
        ("tables", 3),
        ("rows", torch.zeros(2, 200, 5)),
        ("rows", torch.ones(2, 209, 5)),
        ("rows", torch.full((2, 209, 5), torch.nan)),
        ("rows", torch.zeros(2, 209, 5).double()),
        ("rows", torch.zeros(1, 209, 5)),
        ("words", torch.zeros(2, 200, 5)),
        ("batched", False),
        ("batched", True),
        ("batched", 0),
    ],
)
@pytest.mark.parametrize("mmap", [False, True])
def test_what_does_not_fit_is_refused(
    table: TableIndex, tmp_path: Path, part: str, value: Any, mmap: bool
) -> None:
    path = tmp_path / "index"
    parts = settings_of(table) | table._file_content()
    write_parts(path, "index", parts)
    load_index(path, mmap=mmap)
    write_parts(path, "index", parts | {part: value})
    if (part, value) == ("batched", True):  # what files of batches need not say
        load_index(path, mmap=mmap)
        return
    with pytest.raises(FileFormatError, match=r"index: .*expected [^\n]*, got [^\n]*$"):
        load_index(path, mmap=mmap)


def test_a_flipped_bit_is_refused_in_a_mapped_file(tmp_path: Path) -> None:
    path = tmp_path / "index"
    index = make_index("exact", capacity=8, word_size=3)
    index.update([1, 2], np.eye(3)[:2])
    index.save(path)
    whole = path.read_bytes()
    for place in range(len(whole)):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        with pytest.raises(FileFormatError, match="expected"):
            load_index(path, mmap=True)
    for size in range(0, len(whole), 5):
        path.write_bytes(whole[:size])
        with pytest.raises(FileFormatError, match="expected"):
            load_index(path, mmap=True)


def test_large_parts_of_a_mapped_file_are_verified_on_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "index"
    index = make_index("exact", capacity=600, word_size=3)
    index.load(torch.randn(600, 3))
    index.save(path)
    monkeypatch.setattr(files, "_SMALL", 4000)  # as if the words were more than 1 MiB
    whole = path.read_bytes()
    words = index.search(torch.zeros(3), 1)  # whatever: the index can be searched
    assert words.slots.shape == (1,)
    place = len(whole) - 600 - 4 * 3 * 100  # in the words, which come before the flags
    flipped = bytearray(whole)
    flipped[place] ^= 1
    path.write_bytes(flipped)
    load_index(path, mmap=True)
    load_index(path, mmap=True, verify=False)
    for kwargs in ({}, {"mmap": True, "verify": True}, {"verify": True}):
        with pytest.raises(FileFormatError, match="another checksum than that of 'rows'"):
            load_index(path, **kwargs)
    flipped = bytearray(whole)
    flipped[-1] ^= 1  # a flag: small, and so verified always
    path.write_bytes(flipped)
    with pytest.raises(FileFormatError, match="another checksum than that of 'occupied'"):
        load_index(path, mmap=True)


def test_a_mapped_file_is_written_to_in_private(tmp_path: Path) -> None:
    """Not by changes, growth, or a file that takes its name; and two indexes do not meet."""
    path = tmp_path / "index"
    index = make_index("exact", batch_size=2, capacity=100, word_size=4)
    words = torch.randn(2, 40, 4)
    index.load(words)
    index.save(path)
    data = path.read_bytes()
    first, second = (load_index(path, mmap=True) for _ in range(2))
    assert first._words.data_ptr() != second._words.data_ptr()  # pyright: ignore
    first.update(torch.tensor([[3, 70], [4, 99]]), -words[:, :2])
    first.remove(torch.tensor([[5], [6]]))
    assert path.read_bytes() == data
    expected = index.search(words[:, :5], 3)
    for other in (second, second.clone(), load_index(path)):
        assert torch.equal(other.search(words[:, :5], 3).slots, expected.slots)
    second.reset()
    index.load(-words)
    index.save(path)  # takes the name of the file that is mapped
    assert first.search(-words[:, :1], 1).slots.flatten().tolist() == [3, 4]
    assert torch.equal(load_index(path, mmap=True).search(-words[:, :5], 3).slots, expected.slots)


def test_a_mapped_file_loaded_in_inference_mode_can_be_changed_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "index"
    index = make_index("exact", capacity=100, word_size=4)
    index.load(torch.randn(40, 4))
    index.save(path)
    with torch.inference_mode():
        other = load_index(path, mmap=True)
    other.update([3], torch.ones(1, 4))
    assert other.search(torch.ones(4), 1).slots.tolist() == [3]


@pytest.mark.parametrize("case", CASES)
def test_a_single_memory_comes_back_without_a_batch_dimension(case: str, tmp_path: Path) -> None:
    index = make_index(config_of(case), capacity=2**40, word_size=4)
    index.load(np.random.default_rng(0).standard_normal((60, 4)))
    index.save(tmp_path / "index")
    for mmap in (False, True):
        other = load_index(tmp_path / "index", mmap=mmap)
        assert not other.batched
        assert other.occupancy == 60
        assert other.search(np.ones(4), 3).slots.shape == (3,)
    empty = make_index(config_of(case), capacity=5, word_size=4)
    empty.save(tmp_path / "empty")
    assert load_index(tmp_path / "empty", mmap=True).occupancy == 0
