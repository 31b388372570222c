"""The sets of words: what is drawn, what is read from files, and what is said without them."""

import gzip
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.index import datasets
from benchmarks.index.datasets import REAL, SETS, load_set, of_metrics, regions
from benchmarks.index.word_files import mnist_words, omniglot_words
from index import UnknownNameError
from tests.benchmarks.test_index_words import write

DRAWN = [name for name in SETS if name not in REAL]


@pytest.mark.parametrize("name", DRAWN)
def test_a_seed_gives_the_same_words(name: str) -> None:
    one, again = (load_set(name, most=60, seed=3) for _ in range(2))
    assert one.size == 60
    assert one.words.shape == (90, one.queries.shape[1])
    assert torch.equal(one.words, again.words) and torch.equal(one.queries, again.queries)
    assert torch.isfinite(one.words).all()
    other = load_set(name, most=60, seed=4)
    assert not torch.equal(one.queries, other.queries)
    near = one.near(one.words[:8], torch.Generator().manual_seed(0))
    assert near.shape == (8, one.words.shape[1])


def test_a_moved_set_has_the_same_distances() -> None:
    words = load_set("clustered", most=40)
    other = words.moved()
    assert not torch.equal(words.words, other.words)
    for one in (words, other):
        assert one.size == 40
    torch.testing.assert_close(
        torch.cdist(words.words, words.queries), torch.cdist(other.words, other.queries)
    )


def test_repeated_words_are_nine_of_ten() -> None:
    words = load_set("equal", most=2000).words
    _, counts = words.unique(dim=0, return_counts=True)
    assert 0.85 < int(counts.max()) / len(words) < 0.95
    assert 0.85 < float((load_set("zero", most=2000).words == 0).all(1).float().mean()) < 0.95


def test_positions_make_sense_by_distance_alone() -> None:
    words = load_set("positions", most=10)
    assert of_metrics(None, words) == ["l2"]
    assert of_metrics(["cosine", "dot"], words) == []
    assert of_metrics(["l2", "dot"], load_set("dense", most=10)) == ["dot", "l2"]


def test_regions_are_the_clusters_where_those_are_plain() -> None:
    generator = torch.Generator().manual_seed(0)
    which = torch.arange(400) % 4
    words = 100 * torch.eye(4)[which] + torch.randn(400, 4, generator=generator)
    found = regions(words, 4, seed=1)
    assert found.shape == (400,)
    for region in found.unique():  # a region never has words of two clusters unless it is all
        assert len(which[found == region].unique()) in (1, 2)
    assert int(regions(words[:3], 64).max()) <= 2


def test_unknown_names_and_missing_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="glov"):
        load_set("glov")
    for name in REAL:
        with pytest.raises(OSError):
            load_set(name, folder=tmp_path)


def test_files_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.arange(3 * 28 * 28, dtype=np.uint8).reshape(3, 28, 28)
    folder = tmp_path / "mnist"
    folder.mkdir()
    head = np.array([0x803, 3, 28, 28], ">u4").tobytes()
    for name in ("train", "t10k"):
        path = folder / f"{name}-images-idx3-ubyte.gz"
        path.write_bytes(gzip.compress(head + images.tobytes()))
    words, queries = mnist_words(tmp_path)
    assert torch.equal(words, queries)
    expected = torch.from_numpy(images.reshape(3, -1).astype("float32") / 255)
    torch.testing.assert_close(words, expected)
    small, _ = mnist_words(tmp_path, side=14)
    torch.testing.assert_close(small[0, 0], expected[0, [0, 1, 28, 29]].mean())
    path.write_bytes(gzip.compress(head + images.tobytes()[:-1]))
    with pytest.raises(ValueError, match="expected an IDX file of images"):
        mnist_words(tmp_path)
    (tmp_path / "ann").mkdir()
    write(tmp_path / "ann" / "glove-6b-50d-131k.npz")
    monkeypatch.setattr(datasets, "QUERIES", 10)
    for name, width in (("glove", 6), ("wide", 768)):
        found = load_set(name, most=100, folder=tmp_path)
        assert (found.words.shape, found.queries.shape) == ((150, width), (10, width))


def test_drawings_are_turned_and_shrunk(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    (tmp_path / "omniglot").mkdir()
    drawing = image.new("1", (105, 105), 1)
    drawing.paste(0, (0, 0, 105, 10))  # ink at the top
    drawing.save(tmp_path / "one.png")
    for name in ("background", "evaluation"):
        with zipfile.ZipFile(tmp_path / "omniglot" / f"images_{name}.zip", "w") as archive:
            for number in range(20):
                archive.write(tmp_path / "one.png", f"a/character01/{number:04d}.png")
    words, queries = omniglot_words(tmp_path)
    assert (words.shape, queries.shape) == ((37 * 4, 400), (3 * 4, 400))
    few, _ = omniglot_words(tmp_path, most=60750)  # half of the real number
    assert len(few) == (20 - 2) * 4
    first, second = words[0].view(20, 20), words[1].view(20, 20)
    assert float(first[0].min()) == 1.0 and float(first[5:].max()) == 0.0
    assert torch.equal(second, first.rot90())
