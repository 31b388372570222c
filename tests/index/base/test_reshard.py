"""A base that is cut into shards, and cut anew, has the same words at the same slots."""

import json
import os
import random
from pathlib import Path

import pytest
import torch
from torch import Tensor

from index import BaseMemory, FileFormatError, ShapeError, ShardedBase, make_index, reshard
from index.base import checked_json
from index.base.cut import shards_of
from index.base.header import SHARDS
from index.base.manifest import read_manifest
from tests.index.base.killed import killed

SIZES = {2: [1000, 1000], 3: [666, 667, 667], 1: [2000]}
NAMED = "expected the shard that shards.json names"


def vectors(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(3))


def words_in(path: Path) -> Tensor:
    """All words, in the order of slots."""
    _, parts = shards_of(path, check=True)
    return torch.cat([part.words_at(torch.arange(len(part))) for part in parts])


def folder_bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


@pytest.mark.parametrize(
    ("index", "dtype"),
    [("exact", "float32"), ("exact", "float16"), ("exact", "bfloat16"), ("ivf", "int8")],
)
def test_one_two_three_one(tmp_path: Path, monkeypatch, index: str, dtype) -> None:
    """Words, identity and kind stay; beside old and new there is at most 1.1 shards on the disk."""
    monkeypatch.setattr("index.base.cut._PIECE_BYTES", 4 * 32 * 300)
    path, count, most = tmp_path / "base", 2000, []
    first = BaseMemory.create(path, vectors(count, 32), index=index, dtype=dtype, metric="dot")
    kept = words_in(path)
    for shards in (2, 3, 1):
        before = folder_bytes(path)
        told = lambda *phase: most.append(folder_bytes(tmp_path))  # noqa: E731
        assert reshard(path, shards, progress=told) == path
        after = folder_bytes(path)
        assert max(most) <= before + after + 1.1 * after / shards
        most.clear()
        manifest, parts = shards_of(path)
        assert [len(part) for part in parts] == {2: [1000] * 2, 3: [666, 667, 667], 1: [2000]}[
            shards
        ]
        assert {(part.index, part.dtype, part.metric) for part in parts} == {(index, dtype, "dot")}
        assert manifest.identity == first.identity
        assert torch.equal(words_in(path), kept)
        assert [p.name for p in tmp_path.iterdir()] == ["base"]
    assert BaseMemory.open(path).identity == first.identity


def test_to_another_folder(tmp_path: Path) -> None:
    BaseMemory.create(tmp_path / "base", vectors(7, 3))
    reshard(tmp_path / "base", 3, to=tmp_path / "cut")
    assert torch.equal(words_in(tmp_path / "cut"), vectors(7, 3))
    assert len(BaseMemory.open(tmp_path / "base")) == 7
    BaseMemory.create(tmp_path / "cut", vectors(5, 3))  # in the place of shards
    assert len(BaseMemory.open(tmp_path / "cut")) == 5


def test_what_cannot_be_cut(tmp_path: Path) -> None:
    base = BaseMemory.create(tmp_path / "base", vectors(7, 3))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    with pytest.raises(FileExistsError, match="expected a new folder or that of a base"):
        reshard(tmp_path / "base", 2, to=tmp_path / "other")
    with pytest.raises(FileNotFoundError, match="expected the folder of a base, got nothing"):
        reshard(tmp_path / "nothing", 2)
    with pytest.raises(ShapeError, match="n_shards: expected at most one a word, 7, got 8"):
        reshard(tmp_path / "base", 8)
    with pytest.raises(ValueError, match="n_shards: expected an integer of at least 1, got 0"):
        reshard(tmp_path / "base", 0)
    assert BaseMemory.open(tmp_path / "base").identity == base.identity
    assert sorted(p.name for p in tmp_path.iterdir()) == ["base", "other"]


def forge(path: Path, change) -> None:
    """Has the manifest say something else, with a checksum that fits."""
    content = json.loads((path / SHARDS).read_text())
    del content["sha256"]
    change(content)
    content["sha256"] = checked_json.checksum(content)
    (path / SHARDS).write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda m: m["shards"][0].update(folder="../base"), "got a shard named '../base'"),
        (lambda m: m["shards"][0].update(num_words=0), "got num_words 0"),
        (lambda m: m["shards"][1].update(folder="shard_0"), "got shards that are none"),
        (lambda m: m["shards"].clear(), "got shards that are none"),
        (lambda m: m["shards"][0].update(size=3), "expected the manifest of shards, got"),
        (lambda m: m.update(metric="cos"), "got metric 'cos'"),
        (lambda m: m.update(version=2), "got version 2"),
        (lambda m: m["shards"][0].update(num_words=3), NAMED),
        (
            lambda m: m["shards"][0].update(identity="a"),
            NAMED,
        ),
        (lambda m: m.update(word_size=9), NAMED),
        (lambda m: m["shards"][0].update(folder="shard_7"), "expected the folder of a base"),
    ],
)
def test_damaged_manifests(tmp_path: Path, change, text: str) -> None:
    BaseMemory.create(tmp_path / "base", vectors(8, 3))
    reshard(tmp_path / "base", 2)
    forge(tmp_path / "base", change)
    with pytest.raises((FileFormatError, FileNotFoundError), match=text) as caught:
        shards_of(tmp_path / "base")
    assert "\n" not in str(caught.value)


def test_a_manifest_that_was_cut_short(tmp_path: Path) -> None:
    BaseMemory.create(tmp_path / "base", vectors(8, 3))
    reshard(tmp_path / "base", 2)
    whole = (tmp_path / "base" / SHARDS).read_bytes()
    for part in (b"", whole[:100], whole.replace(b'"word_size": 3', b'"word_size": 4')):
        (tmp_path / "base" / SHARDS).write_bytes(part)
        with pytest.raises(FileFormatError, match="expected the manifest of shards"):
            ShardedBase.open(tmp_path / "base")


def cut_on_and_on(path: str, begun) -> None:
    torch.set_num_threads(1)
    for number in range(1_000_000):
        begun.value = number
        reshard(path, 1 + number % 3)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_kills_while_a_base_is_cut(tmp_path: Path) -> None:
    path, moments = tmp_path / "base", random.Random(0)
    words = vectors(20_000, 4)
    BaseMemory.create(path, words)
    for _ in range(5):
        last = killed(cut_on_and_on, path, moments, least=2)
        assert torch.equal(words_in(path), words)
        cut = len(read_manifest(path).shards)
        assert cut in (1 + last % 3, 1 + (last - 1) % 3)
    reshard(path, 2)
    assert [p.name for p in tmp_path.iterdir()] == ["base"]


def test_a_state_goes_on_over_another_cut(tmp_path: Path) -> None:
    """An index over one base is that over the other: identity and slots are the same."""
    base = BaseMemory.create(tmp_path / "base", vectors(9, 4))
    reshard(tmp_path / "base", 3, to=tmp_path / "cut")
    reshard(tmp_path / "cut", 1)
    again = BaseMemory.open(tmp_path / "cut")
    one, other = (
        make_index("exact", batch_size=2, capacity=12, word_size=4, base=b) for b in (base, again)
    )
    assert one.row_kind == other.row_kind
    assert one.cat([one, other]).batch_size == 4
