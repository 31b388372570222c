"""Every mistake a user makes on the command line is one line and code 2, and leaves no file."""

from pathlib import Path

import pytest

from sam.cli import USER_ERROR, main
from sam.train.run_files import write_atomic
from tests.cli.tiny import train
from tests.index.oracle import NEEDS_FAISS

BAD_RECIPE = '[task]\nname = "copy"\nlenght = 3\n[model]\nkind = "sam"\n'


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "COMMAND"),
        (["trian"], "trian"),
        (["train"], "expected one of RECIPE"),
        (["train", "copi"], "did you mean 'copy'?"),
        (["train", "copy", "--config", "c.toml"], "expected one of RECIPE"),
        (["train", "none.toml"], "none.toml: No such file or directory"),
        (["train", "bad.toml"], "bad.toml: task.lenght: unknown key"),
        (["train", "copy", "--model.memroy-size", "3"], "mean '--model.memory-size'?"),
        (["train", "copy", "--model.memory-size", "big"], "invalid literal for int"),
        (["train", "copy", "--model.top-k", "9", "--model.memory-size", "8"], "top_k"),
        (["train", "copy", "--index", "exakt"], "did you mean 'exact'?"),
        (["train", "copy", "--index.probes", "3"], "probes: not an option of index 'exact'"),
        (["train", "copy", "--index.probes", "0", "--index", "ivf"], "probes: expected at least 1"),
        pytest.param(["train", "copy", "--index", "faiss:Bogus"], "got 'Bogus'", marks=NEEDS_FAISS),
        (["info", "--index", "hnsw"], "one of auto, exact, faiss, ivf, lsh, product"),
        (["train", "copy", "--model.kind", "samm"], "did you mean 'sam'?"),
        (["train", "copy", "--eval.levels", "0"], "level: expected at least 1"),
        (["train", "copy", "--run", "full"], "expected a new or empty one"),
        (
            ["train", "--resume", "none"],
            "none: expected the folder of a run, got one that does not",
        ),
        (["train", "--resume", "full", "--run", "b"], "together with --resume"),
        (["train", "babi", "--task.path", "none"], "bAbI data: expected"),
        (["eval", "none"], "none: expected the folder of a run, got one that does not exist"),
        (["eval", "full"], "full: expected the folder of a run, got one without config.toml"),
        (["eval", "bad.toml"], "bad.toml: expected the folder of a run, got a file"),
        (["eval", "full", "none"], "full: expected the folder of a run"),
        (["plot", "none"], "none: expected the folder of a run, got one that does not exist"),
        (["plot", "none", "full"], "none: expected the folder of a run"),
        (["sample", "none", "--prompt", "a"], "none: expected the folder of a run"),
        (["sweep", "--resume", "none"], "none: expected the folder of a sweep, got one that does"),
        (["eval", "none", "--levels", "many"], "invalid int value: 'many'"),
        (["eval", "none", "--wrong"], "unknown argument '--wrong'"),
        (["plot"], "RUN"),
        (["info", "--model", "samm"], "did you mean 'sam'?"),
        (["info", "copy", "--model", "sam"], "got several"),
        (
            ["train", "copy", "--train.batch-size", str(10**12)],
            "train.batch_size: expected at",
        ),
        (["train", "copy", "--train.batch-size", str(2**31)], "train.batch_size: expected at"),
        (["train", "copy", "--train.seed", str(2**64)], "train.seed: expected at most"),
        (["train", "copy", "--train.threads", str(2**40)], "train.threads: expected at most"),
        (["train", "copy", "--task.max-length", str(2**62)], "max_length: expected at most"),
        (["train", "copy", "--optimizer.lr", "inf"], "optimizer.lr: expected a finite"),
        (["train", "copy", "--model.forget-bias", "nan"], "forget_bias: expected a finite"),
        (["train", "copy", "--model.forget-bias", "1e300"], "forget_bias: expected a finite"),
        (["train", "copy", "--optimizer.lr", "1e300"], "optimizer.lr: expected a finite"),
        (["train", "copy", "--model.memory-size", str(2**61)], "memory_size: expected at most"),
        (
            ["train", "copy", "--model.hidden-size", str(2**31 - 1)],
            "model: expected sizes",
        ),
        (
            ["train", "copy", "--index", "lsh", "--index.tables", str(2**40)],
            "tables: expected",
        ),
        (["train", "copy", "--index", "ivf", "--index.seed", str(2**64)], "seed: expected"),
        (
            ["train", "copy", "--index", "ivf", "--index.buckets", str(2**62)],
            "buckets: expected",
        ),
        (
            ["train", "copy", "--index", "ivf", "--index.bucket-size", str(2**62)],
            "bucket_size: ",
        ),
        (["bench-index", "--memory-size", str(2**63 - 1)], "memory_size: expected at most"),
        (
            ["bench-index", "--memory-size", str(2**50)],
            "words: expected sizes that fit",
        ),
        (["bench-index", "--word-size", str(2**63 - 1)], "word_size: expected at most"),
        (["bench-index", "--threads", str(2**40)], "--threads: expected at most"),
    ],
)
def test_a_users_mistake_is_one_line_and_code_2(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.toml").write_text(BAD_RECIPE)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    assert main(arguments) == USER_ERROR
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("sparse-sam: error: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("command", [["eval", "a"], ["plot", "a"], ["train", "--resume", "a"]])
def test_a_damaged_checkpoint_is_one_line_and_touches_nothing(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("--run", "a") == 0
    path = tmp_path / "a" / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:1000])
    before = {file: file.read_bytes() for file in (tmp_path / "a").rglob("*") if file.is_file()}
    capsys.readouterr()
    assert main(command) == USER_ERROR
    error = capsys.readouterr().err
    assert "checkpoint.pt: expected a checkpoint, got a file cut short or damaged" in error
    assert error.count("\n") == 1
    after = {file: file.read_bytes() for file in (tmp_path / "a").rglob("*") if file.is_file()}
    assert after == before


def test_a_full_disk_at_the_end_leaves_no_half_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(path: Path, content: str | bytes) -> None:
        if path.name == "summary.json":
            raise OSError(28, "No space left on device", str(path))
        write_atomic(path, content)

    monkeypatch.setattr("sam.train.summary.write_atomic", fail)
    assert train("--run", "a") == USER_ERROR
    assert "summary.json: No space left on device" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.tmp"))
    monkeypatch.undo()
    assert main(["train", "--resume", str(tmp_path / "a")]) == 0
    assert (tmp_path / "a" / "summary.json").exists()


@pytest.mark.parametrize("levels", [str(10**12), str(2**31 - 1), str(2**63)])
def test_levels_that_do_not_fit(levels: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert train("--run", "a") == 0
    capsys.readouterr()
    assert main(["eval", "a", "--levels", levels]) == USER_ERROR
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"level: expected at most {2**31 - 1}" in error or f"at level {levels}: exp" in error


@pytest.mark.parametrize("made", [True, False])
def test_what_fails_in_the_first_update_leaves_nothing(
    made: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only then is a batch of this size drawn."""
    if made:
        (tmp_path / "a").mkdir()
    size = str(2**31 - 1)
    arguments = ["--train.batch-size", size, "--train.loggers", "tensorboard", "--run", "a"]
    assert train(*arguments) == USER_ERROR
    error = capsys.readouterr().err
    assert f"a batch of {size} sequences" in error and error.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "a"] * made
