"""Files of indexes with lists: the tables come back, and what does not fit is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch

from index import FileFormatError, HashedIndex, IndexConfig, load_index, make_index
from index.config import Metric
from index.hashed_files import _LAYOUT
from index.tensor_files import write_parts
from index.vector_index import settings_of
from tests.index.hashed_cases import KINDS

pytest.importorskip("safetensors")
METRICS: tuple[Metric, ...] = ("cosine", "dot", "l2")


def used(kind: str, metric: Metric = "cosine") -> tuple[HashedIndex, torch.Tensor]:
    """An index that has looked at its recall, and queries."""
    config = IndexConfig(kind=kind, metric=metric, exact_below=0)
    index = make_index(config, batch_size=2, capacity=3000, word_size=7)
    assert isinstance(index, HashedIndex)
    index.update(torch.arange(0, 2000, 2).expand(2, -1), torch.randn(2, 1000, 7))
    queries = torch.randn(2, 40, 7)
    for _ in range(4):
        index.search(queries, 5)
    return index, queries


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_tables_come_back(kind: str, metric: Metric, mmap: bool, tmp_path: Path) -> None:
    index, queries = used(kind, metric)
    index.save(tmp_path / "index")
    other: Any = load_index(tmp_path / "index", mmap=mmap)
    found, expected = other.search(queries, 5), index.clone().search(queries, 5)
    torch.testing.assert_close(found.scores, expected.scores)
    assert other.stats().rebuilds == 0, "the tables are those of the file"
    slots, words = torch.arange(1, 200, 2).expand(2, -1), torch.randn(2, 100, 7)
    other.update(slots, words)
    if metric != "dot":  # where a word need not be the nearest of itself
        assert torch.equal(other.search(words[:, :9], 1).slots[:, :, 0], slots[:, :9])


@pytest.mark.parametrize("kind", KINDS)
def test_tables_that_do_not_fit_are_made_anew(kind: str, tmp_path: Path) -> None:
    """Those of another layout, or, unless they grow, of another size."""
    index, queries = used(kind)
    parts = settings_of(index) | index._file_content()
    layout = parts["tables.layout"]
    for place, value in ((0, 9), (1, 2**30), (3, 2**30)):
        if kind == "ivf" and place:
            continue
        changed = layout.clone()
        changed[place] = value
        write_parts(tmp_path / "index", "index", parts | {"tables.layout": changed})
        other: Any = load_index(tmp_path / "index")
        other.search(queries, 5)
        assert other.stats().rebuilds == 1


DAMAGE = [
    ("layout", torch.zeros(2, dtype=torch.int64)),
    ("lists", torch.full((2, 1999, 1), 2**20, dtype=torch.int32)),
    ("lists", torch.full((2, 1999, 1), -1, dtype=torch.int32)),
    ("looks_5", torch.zeros(3, 5, dtype=torch.float64)),
    ("looks_5", torch.ones(3, 4, dtype=torch.float64)),
    ("looks_many", torch.ones(3, 5, dtype=torch.float64)),
    ("hash_center", torch.full((2, 1, 7), torch.nan)),
    ("hash_centroids", torch.zeros(2, 3, 7)),
    ("hash_alive", torch.zeros(2, 4, dtype=torch.bool)),
    ("more", torch.zeros(1)),
]


@pytest.mark.parametrize(("name", "value"), DAMAGE, ids=[name for name, _ in DAMAGE])
def test_what_does_not_fit_is_refused(name: str, value: torch.Tensor, tmp_path: Path) -> None:
    index, _ = used("ivf")
    parts = settings_of(index) | index._file_content()
    if name == "layout":
        value[0] = _LAYOUT
    write_parts(tmp_path / "index", "index", parts | {f"tables.{name}": value})
    with pytest.raises(FileFormatError, match=rf"tables\.{name}|{name}") as caught:
        load_index(tmp_path / "index")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_part_that_is_missing_is_named(kind: str, tmp_path: Path) -> None:
    index, _ = used(kind)
    parts = settings_of(index) | index._file_content()
    for name in [name for name in parts if name.startswith("tables.hash_")]:
        rest = {other: part for other, part in parts.items() if other != name}
        write_parts(tmp_path / "index", "index", rest)
        with pytest.raises(FileFormatError, match=name):
            load_index(tmp_path / "index")
