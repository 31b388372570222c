"""``base build``, ``base info`` and ``base check``."""

from pathlib import Path

import numpy as np
import pytest
import torch

from index import BaseMemory
from sam.cli import USER_ERROR, main


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    # Without compiled forms: that they are compiled would be told on stderr.
    monkeypatch.setenv("SPARSE_SAM_COMPILED", "0")


def words_file(folder: Path, count: int = 200) -> tuple[Path, np.ndarray]:
    words = np.random.default_rng(0).standard_normal((count, 4))
    np.save(folder / "words.npy", words)
    return folder / "words.npy", words.astype(np.float32)


def test_build_info_check(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    file, words = words_file(tmp_path)
    path = tmp_path / "base"
    monkeypatch.setattr("sam.train.base_command._TRIED", 50)
    options = ["--index", "ivf", "--dtype", "float16", "--metric", "dot", "--recall", "0.8"]
    assert main(["base", "build", str(path), str(file), *options]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    lines = told.out.splitlines()
    assert lines[0].startswith("200 words of 4 numbers: at most 4.8 kB while it is written, some 0")
    assert "words: 200 of 200" in lines and "sorting: 200 of 200" in lines
    assert lines[-1].startswith(f"{path}: ")
    base = BaseMemory.open(path)
    assert (base.index, base.dtype, base.metric) == ("ivf", "float16", "dot")
    torch.testing.assert_close(
        base.words_at(torch.arange(200)), torch.from_numpy(words), rtol=1e-3, atol=1e-3
    )
    assert main(["base", "info", str(path)]) == 0
    told = capsys.readouterr().out
    for part in ("200 of 4 numbers, kept as float16", "ivf", "budget", "recall", base.identity):
        assert part in told
    assert main(["base", "check", str(path)]) == 0
    assert f"{path}: whole, 200 words" in capsys.readouterr().out


def test_a_terminal_gets_a_bar(tmp_path: Path, capsys, monkeypatch) -> None:
    pytest.importorskip("rich")
    file, _ = words_file(tmp_path)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert main(["base", "build", str(tmp_path / "base"), str(file)]) == 0
    assert "words" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["info", "nothing"], "nothing: expected the folder of a base, got nothing"),
        (["check", "."], "half built, or something else"),
        (["build", "base", "nothing.npy"], "nothing.npy: No such file"),
        (["build", "base", "text.npy"], "text.npy: expected an .npy file of words [n, W], got"),
        (["build", "base", "many.npz"], "many.npz: expected an .npy file of words"),
        (["build", "base", "flat.npy"], "words: expected shape [n, W], got [3]"),
        (["build", "base", "nan.npy"], "got nan in row 1, column 0"),
        (["build", "base", "good.npy", "--index", "tree"], "index: expected one of"),
        (["build", "base", "good.npy", "--dtype", "int4"], "dtype: expected one of float32"),
        (["build", "base", "good.npy", "--recall", "0"], "recall: expected at least 0.01"),
        (["build", ".", "good.npy"], "expected a new folder or that of a base"),
        (["build", "base"], "the following arguments are required: WORDS"),
        (["destroy", "base"], "invalid choice: 'destroy'"),
        (["info", "nothing", "--more"], "unknown argument '--more'"),
    ],
)
def test_mistakes(tmp_path: Path, capsys, monkeypatch, arguments: list[str], text: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.npy").write_text("text")
    np.savez("many.npz", a=np.ones(3))
    np.save("flat.npy", np.ones(3))
    np.save("nan.npy", np.array([[1.0], [np.nan]]))
    np.save("good.npy", np.ones((3, 2)))
    before = sorted(p.name for p in tmp_path.iterdir())
    assert main(["base", *arguments]) == USER_ERROR
    told = capsys.readouterr()
    assert text in told.err and told.err.count("\n") == 1, told.err
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_damage_is_found_by_check(tmp_path: Path, capsys) -> None:
    file, _ = words_file(tmp_path)
    assert main(["base", "build", str(tmp_path / "base"), str(file)]) == 0
    path = tmp_path / "base" / "words.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert main(["base", "check", str(tmp_path / "base")]) == USER_ERROR
    assert "words.npy: expected its own checksum, got another" in capsys.readouterr().err


def test_a_base_is_cut(tmp_path: Path, capsys) -> None:
    path = tmp_path / "base"
    base = BaseMemory.create(path, torch.ones(5, 2))
    assert main(["base", "shard", str(path), "--shards", "2"]) == 0
    told = capsys.readouterr().out
    assert "shard 2 of 2: words: 3 of 3" in told and f"{path}: 2 shards in 0:00" in told
    assert main(["base", "info", str(path)]) == main(["base", "check", str(path)]) == 0
    told = capsys.readouterr().out
    for part in ("2, of 2, 3 words", "5 of 2 numbers", base.identity, f"{path}: whole, 5 words"):
        assert part in told
    assert main(["base", "shard", str(path), "--shards", "6"]) == USER_ERROR
    assert "n_shards: expected at most one a word, 5, got 6" in capsys.readouterr().err
    assert main(["base", "shard", str(path), "--shards", "1", "--to", str(tmp_path / "one")]) == 0
    assert BaseMemory.open(tmp_path / "one").identity == base.identity
