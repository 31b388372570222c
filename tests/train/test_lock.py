"""A run folder belongs to one process at a time, and to none after a kill."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sam.errors import ConfigError, RunInUseError
from sam.train import lock
from sam.train.lock import run_lock
from sam.train.plan import Plan, held_folder
from sam.train.run import train_run
from sam.train.run_files import STALE, atomic_file, remove_temporaries
from sam.train.train_config import RunConfig

Build = Callable[..., RunConfig]


def test_a_held_folder_is_refused_and_untouched(tiny: Build, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train_run(tiny(train={"max_updates": 3}), run)
    with run_lock(run):
        before = {file: file.read_bytes() for file in run.iterdir()}
        with pytest.raises(RunInUseError, match="another process trains now"):
            train_run(tiny(), run, resume=True)
        assert {file: file.read_bytes() for file in run.iterdir()} == before
    train_run(tiny(), run, resume=True)


def test_nothing_is_left_of_a_refused_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError), run_lock(tmp_path / "a" / "b"):
        raise ConfigError("refused")
    assert not list(tmp_path.iterdir())
    with run_lock(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "file").touch()
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["file"]


def test_a_lock_file_that_was_replaced_is_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the opening and the locking the last holder may go, and another one come."""
    opened = []

    def locking(place: int) -> bool:
        opened.append(place)
        if len(opened) == 1:
            (tmp_path / ".lock").unlink()
        return True

    monkeypatch.setattr(lock, "_lock", locking)
    with run_lock(tmp_path):
        assert len(opened) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_the_system_lets_go_of_a_killed_process(tmp_path: Path) -> None:
    run = tmp_path / "run"
    child = os.fork()
    if not child:
        with run_lock(run):
            time.sleep(60)
    while not (run / ".lock").exists():
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert (run / ".lock").exists()
    with run_lock(run):
        pass
    assert list(run.iterdir()) == []


def test_runs_started_at_once_get_numbers_of_their_own(
    tiny: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    free = iter([Path("runs/copy-1"), Path("runs/copy-1"), Path("runs/copy-2")])
    monkeypatch.setattr("sam.train.plan.new_folder", lambda stem: next(free))
    plan = Plan(tiny(), None, "copy")
    with held_folder(plan) as first, held_folder(plan) as second:
        assert (first.name, second.name) == ("copy-1", "copy-2")


def test_settings_that_another_process_has_changed_are_met(tiny: Build, tmp_path: Path) -> None:
    train_run(tiny(), tmp_path / "run")
    plan = Plan(tiny(), tmp_path / "run", begun_with=tiny(train={"max_updates": 99}))
    with pytest.raises(ConfigError, match="another process has just written"), held_folder(plan):
        pass


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"

    @contextmanager
    def write(text: bytes) -> Iterator[None]:
        with atomic_file(path) as file:
            file.write(text)
            yield

    with write(b"first"):
        with write(b"second"):
            pass
        assert path.read_bytes() == b"second"
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    for name in (".a.json.12345678.tmp", ".b.json.12345678.tmp", "a.json"):
        (tmp_path / name).touch()
    remove_temporaries(tmp_path, ["a.json"])
    assert sorted(path.name for path in tmp_path.iterdir()) == [".b.json.12345678.tmp", "a.json"]


def test_what_may_still_be_written_stays(tmp_path: Path) -> None:
    old, new = (tmp_path / f".eval.json.{name}.tmp" for name in ("0123abcd", "12345678"))
    old.touch()
    new.touch()
    os.utime(old, (0, time.time() - STALE - 60))
    remove_temporaries(tmp_path, ["eval.json"], older_than=STALE)
    assert list(tmp_path.iterdir()) == [new]
    remove_temporaries(tmp_path / "none", ["eval.json"], older_than=STALE)


def test_a_file_system_without_locks_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fcntl = pytest.importorskip("fcntl")

    def fail(place: int, what: int) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.warns(UserWarning, match="file system with locks"), run_lock(tmp_path):
        pass
