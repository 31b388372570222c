"""What is wrong with a base or its source is said in one line, and nothing is left behind."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from index import (
    BaseMemory,
    FileFormatError,
    NonFiniteError,
    ShapeError,
    UnknownNameError,
    make_index,
)
from index.base import checked_json, header


def vectors(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(3))


def spoiled(value: float, dtype: torch.dtype = torch.float32) -> Tensor:
    words = vectors(50, 3).to(dtype)
    words[41, 2] = value
    return words


@pytest.mark.parametrize(
    ("words", "options", "error", "text"),
    [
        (spoiled(torch.nan), {}, NonFiniteError, "got nan in row 41, column 2"),
        (spoiled(-torch.inf), {}, NonFiniteError, "got -inf .* in row 41, column 2"),
        (spoiled(1e300, torch.float64), {}, NonFiniteError, r"\(or beyond float32\) in row 41"),
        (spoiled(1e5), {"dtype": "float16"}, NonFiniteError, "at most 65504 .* row 41, column 2"),
        (spoiled(torch.nan).numpy(), {"dtype": "int8"}, NonFiniteError, "nan in row 41, column 2"),
        (iter([vectors(20, 3), spoiled(torch.nan)]), {}, NonFiniteError, "row 61, column 2"),
        (vectors(0, 3), {}, ShapeError, "expected at least one word"),
        (vectors(3, 0), {}, ShapeError, r"shape \[n, W\], got \[3, 0\]"),
        (vectors(3), {}, ShapeError, r"shape \[n, W\], got \[3\]"),
        (vectors(2, 3, 4), {}, ShapeError, r"shape \[n, W\], got \[2, 3, 4\]"),
        (iter([]), {}, ShapeError, "expected at least one word"),
        (iter([vectors(0, 3)]), {}, ShapeError, "expected at least one word"),
        (iter([vectors(2, 3), vectors(2, 4)]), {}, ShapeError, r"\[n, W=3\], got \[2, 4\]"),
        (iter([vectors(2, 3), "more"]), {}, TypeError, "a piece of type str"),
        (vectors(2, 3) > 0, {}, ShapeError, "floating point or integers, got torch.bool"),
        (vectors(2, 3).cfloat(), {}, ShapeError, "floating point or integers, got torch.complex"),
        (np.array([["a"]]), {}, ShapeError, "floating point or integers, got <U1"),
        ("words", {}, TypeError, "words: expected a tensor or array"),
        (3, {}, TypeError, "words: expected a tensor or array"),
        (vectors(2, 3), {"dtype": "float64"}, ValueError, "dtype: expected one of float32"),
        (vectors(2, 3), {"metric": "cos"}, ValueError, "metric: expected one of cosine"),
        (vectors(2, 3), {"index": "exakt"}, UnknownNameError, "did you mean 'exact'"),
        (vectors(2, 3), {"recall": 2.0}, ValueError, "recall: expected at most 1"),
    ],
)
def test_wrong_words(tmp_path: Path, words, options, error, text: str) -> None:
    """An old base at the place stays."""
    old = BaseMemory.create(tmp_path / "base", vectors(4, 3))
    for place in ("base", "new"):
        with pytest.raises(error, match=text) as caught:
            BaseMemory.create(tmp_path / place, words, **options)
        assert "\n" not in str(caught.value)
        if not isinstance(words, Tensor | np.ndarray):
            break  # an iterator is used up
    assert [p.name for p in tmp_path.iterdir()] == ["base"]
    assert BaseMemory.open(tmp_path / "base", check=True).identity == old.identity


def test_a_full_disk_is_noticed_before(tmp_path: Path, monkeypatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    small = usage._replace(free=2**24 + 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: small)
    for words in (vectors(100, 3), iter([vectors(100, 3)])):
        with pytest.raises(OSError, match="bytes free on the disk") as caught:
            BaseMemory.create(tmp_path / "base", words)
        assert "\n" not in str(caught.value)
        assert not [*tmp_path.iterdir()]
    BaseMemory.create(tmp_path / "base", vectors(80, 3))


def test_whatever_stops_it_leaves_nothing_behind(tmp_path: Path) -> None:
    class Full(OSError):
        pass

    def stop(phase: str, done: int, total: int | None) -> None:
        raise error

    old = BaseMemory.create(tmp_path / "base", vectors(4, 3))
    for error in (KeyboardInterrupt(), Full(28, "No space left on device")):
        for index in ("exact", "ivf"):
            for place in ("base", "new"):
                with pytest.raises(type(error)):
                    BaseMemory.create(tmp_path / place, vectors(50, 3), index=index, progress=stop)
    assert [p.name for p in tmp_path.iterdir()] == ["base"]
    assert BaseMemory.open(tmp_path / "base", check=True).identity == old.identity


def test_a_link_to_a_base(tmp_path: Path) -> None:
    """What it points to is replaced, not the link."""
    BaseMemory.create(tmp_path / "base", vectors(4, 3))
    (tmp_path / "link").symlink_to("base")
    new = BaseMemory.create(tmp_path / "link", vectors(5, 3))
    assert (tmp_path / "link").is_symlink() and len(BaseMemory.open(tmp_path / "base")) == 5
    assert new.path == (tmp_path / "base").resolve()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["base", "link"]


def test_something_else_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.tex").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("folder", "file"):
        with pytest.raises(FileExistsError, match="got something else"):
            BaseMemory.create(tmp_path / name, vectors(4, 3))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]
    (tmp_path / "empty").mkdir()
    assert len(BaseMemory.create(tmp_path / "empty", vectors(4, 3))) == 4
    with pytest.raises(FileNotFoundError):
        BaseMemory.create(tmp_path / "no folder" / "base", vectors(4, 3))


def change(folder: Path, **values: object) -> None:
    """Has the header say something else, with a checksum that fits."""
    path = folder / header.NAME
    content = json.loads(path.read_text())
    del content["sha256"]
    for name, value in values.items():
        if name == "file":
            content["files"]["words.npy"].update(value)
        else:
            content[name] = value
    content["sha256"] = checked_json.checksum(content)
    path.write_text(json.dumps(content))


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a word less": (lambda f: cut(f / "words.npy", 128 + 49 * 12), "expected 728 bytes, got 716"),
    "a byte more": (
        lambda f: (f / "words.npy").write_bytes((f / "words.npy").read_bytes() + b"x"),
        "expected 728 bytes, got 729",
    ),
    "no words": (lambda f: cut(f / "words.npy", 0), "expected 728 bytes, got 0"),
    "no file": (lambda f: (f / "words.npy").unlink(), "expected a file of a base, got nothing"),
    "no header": (lambda f: (f / "base.json").unlink(), "folder without base.json: half built"),
    "empty header": (lambda f: cut(f / "base.json", 0), "expected the header of a base"),
    "half a header": (lambda f: cut(f / "base.json", 300), "expected the header of a base"),
    "a changed header": (
        lambda f: (f / "base.json").write_text((f / "base.json").read_text().replace("50", "51")),
        "another checksum than its own",
    ),
    "more words": (lambda f: change(f, num_words=51), r"expected <f4 \[51, 3\], got <f4 \[50, 3\]"),
    "wider words": (lambda f: change(f, word_size=4), r"expected <f4 \[50, 4\], got"),
    "another dtype": (lambda f: change(f, dtype="float16"), r"expected <f2 \[50, 3\], got <f4"),
    "no dtype": (lambda f: change(f, dtype="float8"), "got dtype 'float8'"),
    "huge": (lambda f: change(f, num_words=2**70), "got num_words"),
    "no number": (lambda f: change(f, num_words=True), "got num_words True"),
    "another shape": (
        lambda f: change(f, num_words=150, word_size=1, file={"shape": [150, 1]}),
        r"expected <f4 \[150, 1\], got <f4 \[50, 3\]",
    ),
    "no files": (lambda f: change(f, files={}), "words.npy: expected a file of a base"),
    "a file elsewhere": (lambda f: change(f, files={"../x.npy": {}}), "a file named"),
    "another format": (lambda f: change(f, format="zip"), "got one of something else"),
    "a newer version": (lambda f: change(f, version=9), "version 9, where this release knows 1"),
    "another index": (lambda f: change(f, index="tree"), "expected a known index, got 'tree'"),
    "a list": (lambda f: (f / "base.json").write_text("[1]"), "got one of something else"),
    "no shape": (
        lambda f: (f / "words.npy").write_bytes(
            (f / "words.npy").read_bytes()[:60] + b"\xff" * 40 + bytes(628)
        ),
        "expected an .npy file",
    ),
    "no npy": (
        lambda f: (f / "words.npy").write_bytes(b"x" * 728),
        "expected an .npy file",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_bases_are_refused(tmp_path: Path, name: str) -> None:
    damage, text = DAMAGES[name]
    BaseMemory.create(tmp_path / "base", vectors(50, 3))
    damage(tmp_path / "base")
    with pytest.raises(FileFormatError, match=text) as caught:
        BaseMemory.open(tmp_path / "base")
    assert "\n" not in str(caught.value) and str(tmp_path / "base") in str(caught.value)


def test_no_base_at_all(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="expected the folder of a base, got nothing"):
        BaseMemory.open(tmp_path / "nothing")
    (tmp_path / "file").write_text("text")
    with pytest.raises(FileFormatError, match="expected the folder of a base, got a file"):
        BaseMemory.open(tmp_path / "file")
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileFormatError, match="half built, or something else"):
        BaseMemory.open(tmp_path / "folder")


def test_a_changed_number_shows_when_it_is_looked_for(tmp_path: Path) -> None:
    path = BaseMemory.create(tmp_path / "base", vectors(50, 3)).path / "words.npy"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    BaseMemory.open(tmp_path / "base")
    with pytest.raises(FileFormatError, match=r"words.npy: expected its own checksum, got another"):
        BaseMemory.open(tmp_path / "base", check=True)


def test_a_base_that_does_not_fit_the_index(tmp_path: Path) -> None:
    base = BaseMemory.create(tmp_path / "base", vectors(50, 3), metric="dot")
    sizes = {"batch_size": 2, "capacity": 60, "word_size": 3}
    with pytest.raises(ValueError, match="base: expected one of metric 'cosine', got 'dot'"):
        make_index("exact", base=base, **sizes)
    base = BaseMemory.create(tmp_path / "base", vectors(50, 3))
    with pytest.raises(ShapeError, match="base: expected words of word_size=4, got 3"):
        make_index("exact", base=base, **{**sizes, "word_size": 4})
    with pytest.raises(ShapeError, match="base: expected at most capacity=49 words, got 50"):
        make_index("exact", base=base, **{**sizes, "capacity": 49})
    with pytest.raises(TypeError, match="base: expected a BaseMemory, got str"):
        make_index("exact", base="base", **sizes)
    index = make_index("exact", base=base, **sizes)
    for slots in ([[60], [0]], [[-2], [0]]):
        with pytest.raises(ValueError, match=r"slots: expected -1 .skipped. or 0 \.\. 59"):
            index.update(slots, torch.zeros(2, 1, 3))
    assert index.occupancy.tolist() == [50, 50]
