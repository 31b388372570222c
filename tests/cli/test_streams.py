"""Streams that are closed, full or broken; terminals of a few columns; folders nobody may write."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sam.cli import BROKEN_PIPE, USER_ERROR, main
from tests.cli.tiny import train

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def in_a_fork(act: Callable[[], int]) -> int:
    """What a forked process that does this exits with; negative for the signal that ended it."""
    child = os.fork()
    if not child:
        code = 99
        try:
            code = act()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_without_standard_streams_a_run_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", None)
        patch.setattr(sys, "stderr", None)
        assert train("--run", "a") == 0
        assert main(["eval", "none"]) == USER_ERROR
    assert (tmp_path / "a" / "summary.json").exists()


class Broken:
    """A stream whose reader has gone, or whose disk is full."""

    def __init__(self, error: OSError) -> None:
        self.error = error

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        raise self.error

    def fileno(self) -> int:
        raise OSError("no descriptor")


def test_a_broken_pipe_is_silent(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", Broken(BrokenPipeError(32, "Broken pipe")))
    assert main(["info"]) == BROKEN_PIPE == 128 + signal.SIGPIPE
    assert capsys.readouterr().err == ""


def test_a_full_disk_behind_the_output_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", Broken(OSError(28, "No space left on device")))
    assert main(["info"]) == USER_ERROR
    assert capsys.readouterr().err == ("sparse-sam: error: [Errno 28] No space left on device\n")


@pytest.mark.slow
@forks
def test_streams_of_a_real_process(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    info = f"{sys.executable} -m sam info"
    for command, code in (
        (f"{info} | true; exit ${{PIPESTATUS[0]}}", BROKEN_PIPE),
        (f"{info} >&-", 0),
        (f"{info} >&- 2>&-", 0),
        (f"{info} none.toml 2>&-", USER_ERROR),
        (f"{info} > /dev/full", USER_ERROR),
    ):
        done = subprocess.run(
            ["bash", "-c", command], env=environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == code, command
        assert done.stderr.count("\n") == (1 if "full" in command else 0), done.stderr


@forks
@pytest.mark.parametrize("columns", ["1", "2", "5", "0", "-3", "junk", "39", "10000"])
def test_help_ends_whatever_the_width(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    signals = []

    def act() -> int:
        signal.alarm(30)  # ends the child, and the test fails
        return main(["train", "copy", "--help"]) + 10 * (os.environ["COLUMNS"] != columns)

    assert in_a_fork(act) == 0
    assert not signals


def test_a_run_in_a_folder_that_takes_no_file_is_evaluated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("--run", "a") == 0
    capsys.readouterr()

    def fail(path: Path, content: str) -> None:
        raise OSError(30, "Read-only file system", str(path))

    monkeypatch.setattr("sam.train.eval_command.write_atomic", fail)
    assert main(["eval", "a"]) == 0
    told = capsys.readouterr()
    assert "wrong bits/sequence" in told.out
    assert told.err == "sparse-sam: eval.json is not written: a/eval.json: Read-only file system\n"
    assert not (tmp_path / "a" / "eval.json").exists()


@forks
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root")
def test_another_user_may_look_at_a_run(tmp_path: Path) -> None:
    assert train("--run", "a") == 0
    for path in (tmp_path / "a", *tmp_path.parents, tmp_path):
        if path != Path("/") and path.owner() == "root" and path.is_relative_to("/tmp"):
            path.chmod(0o755 if path != Path("/tmp") else path.stat().st_mode)
    before = {file: file.read_bytes() for file in (tmp_path / "a").rglob("*") if file.is_file()}
    out, err = tmp_path / "out", tmp_path / "err"

    def act() -> int:
        sys.stdout, sys.stderr = out.open("w"), err.open("w")
        os.setuid(65534)
        code = main(["eval", "a"])
        return code + 10 * main(["train", "--resume", "a"])

    assert in_a_fork(act) == 10 * USER_ERROR
    assert "wrong bits/sequence" in out.read_text()
    told = err.read_text().splitlines()
    assert len(told) == 2
    assert told[0].startswith("sparse-sam: eval.json is not written: a/.eval.json.")
    assert told[1] == "sparse-sam: error: a/.lock: Permission denied"
    after = {file: file.read_bytes() for file in (tmp_path / "a").rglob("*") if file.is_file()}
    assert after == before
    assert json.loads((tmp_path / "a" / "summary.json").read_text())["updates"] == 12
