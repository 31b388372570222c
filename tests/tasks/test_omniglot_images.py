"""Reading the zip files: order and pixels, the cache, and what is missing or damaged."""

import os
from pathlib import Path

import numpy as np
import pytest

from sam.errors import DataMissingError
from sam.tasks import Omniglot, omniglot_images
from sam.tasks.omniglot_images import find_source, load
from tests.tasks.omniglot_files import drawing, png, write


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    load.cache_clear()
    return tmp_path / "cache" / "sparse-access-memory"


def test_images_are_shrunk_and_ink_is_bright(tmp_path: Path) -> None:
    drawings = load(write(tmp_path / "data", background=3, evaluation=2))
    assert drawings.images.shape == (5, 4, 20, 20)
    assert drawings.background == 3
    for character in range(5):
        for number in range(4):
            expected = np.where(drawing(character, number), 255, 0)
            assert np.array_equal(drawings.images[character, number], expected)


def test_a_pixel_is_the_mean_of_those_it_covers() -> None:
    ink = np.zeros((30, 30), dtype=bool)
    ink[0, 1] = True  # of a pixel of 1.5 x 1.5 the first two each have a half in its row
    (found,) = omniglot_images._shrunk([png(ink, 30)])
    assert found[0, :3].tolist() == [round(255 * 0.5 / 1.5**2)] * 2 + [0]
    assert not found[1:].any()


def test_the_cache_is_read_and_never_out_of_date(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path / "data", background=3, evaluation=2)
    first = load(source)
    (file,) = cache.iterdir()
    load.cache_clear()
    monkeypatch.setattr(omniglot_images, "_shrunk", None)  # no image may be decoded
    assert np.array_equal(load(source).images, first.images)
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache.parent))
    file.write_bytes(file.read_bytes()[:-9])
    load.cache_clear()
    assert np.array_equal(load(source).images, first.images)  # a damaged one is made again
    load.cache_clear()
    assert load(write(source, background=4, evaluation=2)).images.shape[0] == 6
    assert len([*cache.iterdir()]) == 2


def test_a_cache_that_cannot_be_written_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert load(write(tmp_path / "data", background=2, evaluation=1)).images.shape[0] == 3


def test_the_place_is_a_setting_or_a_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path / "data", background=2, evaluation=1)
    assert find_source(str(source)) == source
    monkeypatch.setenv("SPARSE_SAM_OMNIGLOT", str(source))
    assert find_source(None) == source
    monkeypatch.setenv("SPARSE_SAM_OMNIGLOT", str(tmp_path))
    with pytest.raises(DataMissingError, match=r"images_background.zip.*--task.path FOLDER"):
        find_source(None)
    monkeypatch.delenv("SPARSE_SAM_OMNIGLOT")
    monkeypatch.chdir(tmp_path)
    os.unlink(source / "images_evaluation.zip")
    with pytest.raises(DataMissingError, match=r"Omniglot data: .*, found not all of them"):
        find_source(str(source))
    assert Omniglot(path="nowhere").input_size == 405  # nothing is read before it is needed


def test_damage_is_told(tmp_path: Path) -> None:
    source = write(tmp_path / "data", background=3, evaluation=2)
    file = source / "images_background.zip"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataMissingError, match="expected a whole zip file of PNG images, got Bad"):
        load(source)
    place = whole.index(b"IDAT") + 6
    file.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
    with pytest.raises(DataMissingError, match="expected a whole zip file of PNG images, got"):
        load(source)
    write(source, background=0)
    with pytest.raises(DataMissingError, match=r"expected small images SET/ALPHABET.*, got 0"):
        load(source)


def test_characters_with_unlike_numbers_of_drawings(tmp_path: Path) -> None:
    source = write(tmp_path / "data", background=3, evaluation=2, drawings=3)
    other = write(tmp_path / "other", background=3, evaluation=2, drawings=4)
    (other / "images_evaluation.zip").replace(source / "images_evaluation.zip")
    with pytest.raises(DataMissingError, match=r"as many drawings of each character, got 17 of 5"):
        load(source)
