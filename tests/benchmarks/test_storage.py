"""The benchmark of rounded words: every form is filled with the same, and timed beside float32."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks.index import storage
from benchmarks.index.datasets import WordSet
from benchmarks.report import fill


@pytest.fixture(autouse=True)
def threads():
    """The script sets the threads of the process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def words() -> WordSet:
    both = torch.randn(400, 8)
    return WordSet(
        name="drawn", size=300, words=both, queries=torch.randn(40, 8), metrics=("cosine",)
    )


def test_fewer_bytes_and_nearly_the_same_neighbors() -> None:
    records = storage.measure(words(), "cosine", "exact", rounds=2)
    assert [record["storage"] for record in records] == list(storage.STORAGES)
    sizes = [record["bytes_per_word"] for record in records]
    assert sizes[0] > sizes[1] == sizes[2] > sizes[3]
    assert records[0]["recall"] == records[0]["recall_of_kept"] == 1
    assert all(record["recall"] > 0.9 for record in records)
    assert all(record["to_float32"].median > 0 for record in records)


def test_the_script_writes_what_the_page_shows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(storage, "load_set", lambda name, most, folder: words())
    monkeypatch.setattr(storage, "METRICS", {"glove": "cosine"})
    given = ["--sets", "glove", "--kinds", "ivf", "--rounds", "1", "--out", str(tmp_path)]
    assert storage.main(given) == 0
    records = json.loads((tmp_path / storage.FILE).read_text())["records"]
    assert [record["copies"] for record in records] == [None] * 4 + [False] * 4
    page = fill("<!-- table: index_storage -->\n<!-- end -->\n", tmp_path)
    assert page.count("| drawn 300 x 8 |") == 8
    assert "Not measured yet" in fill(page, tmp_path / "none")
