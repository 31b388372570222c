"""Logs: whole lines, cut to length, TensorBoard beside them."""

import json
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from sam.errors import BackendMissingError, CheckpointError, ConfigError, UnknownNameError
from sam.train import loggers
from sam.train.lines import read_json_lines
from sam.train.loggers import JsonLines, Written, available_loggers, make_logger
from sam.train.run import train_run
from sam.train.train_config import RunConfig


def test_lines_are_on_disk_at_once_and_read_back(tmp_path: Path) -> None:
    log = JsonLines(tmp_path / "a.jsonl")
    log.log({"update": 1, "loss": 0.1})
    assert read_json_lines(tmp_path / "a.jsonl") == [{"update": 1, "loss": 0.1}]
    log.log({"update": 2})
    assert log.sync().length == (tmp_path / "a.jsonl").stat().st_size
    log.close()


def test_going_on_cuts_what_comes_after(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": 2}\n{"a"')
    log = JsonLines(path, Written(9, zlib.crc32(b'{"a": 1}\n')))
    log.log({"a": 3})
    log.close()
    assert path.read_bytes() == b'{"a": 1}\n{"a": 3}\n'


def test_a_log_that_lost_lines_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"expected at least the 5 bytes.*got 0"):
        JsonLines(tmp_path / "a.jsonl", Written(5, 0))


def test_a_torn_last_line_is_left_out_and_a_bad_line_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": ')
    assert read_json_lines(path) == [{"a": 1}]
    path.write_bytes(b'{"a": 1}\nnot json\n{"a": 2}\n')
    with pytest.raises(ConfigError, match=r"a\.jsonl: line 2: expected a JSON object"):
        read_json_lines(path)


def test_a_run_logs_what_it_is_told_to(tiny: Callable[..., RunConfig], tmp_path: Path) -> None:
    train_run(tiny(train={"log_every": 5, "evaluate_every": 6}), tmp_path / "run")
    records = read_json_lines(tmp_path / "run" / "metrics.jsonl")
    assert [(r["update"], "evaluation" in r) for r in records] == [
        (5, False),
        (6, True),
        (10, False),
        (12, True),
    ]
    assert [entry["value"] for entry in records[1]["evaluation"]] == [1, 2]
    timing = read_json_lines(tmp_path / "run" / "timing.jsonl")
    assert [r["update"] for r in timing] == [5, 10]
    assert 0 < timing[0]["seconds"] <= timing[1]["seconds"]


def test_tensorboard_gets_every_number(tiny: Callable[..., RunConfig], tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    train_run(tiny(train={"loggers": ["tensorboard"]}), tmp_path / "run")
    (events,) = (tmp_path / "run" / "tensorboard").iterdir()
    assert b"window_error" in events.read_bytes()


def test_a_logger_of_ones_own(
    tiny: Callable[..., RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Counting:
        def __init__(self, folder: Path, update: int) -> None:
            self.path, self.count = folder / "count.json", 0

        def log(self, record: dict) -> None:
            self.count += 1

        def close(self) -> None:
            self.path.write_text(json.dumps(self.count))

    monkeypatch.setattr(loggers, "_LOGGERS", dict(loggers._LOGGERS))
    loggers.register_logger("counting", Counting)
    assert available_loggers() == ("counting", "tensorboard", "wandb")
    with pytest.raises(ConfigError, match="registered already"):
        loggers.register_logger("counting", Counting)
    train_run(tiny(train={"loggers": ["counting"]}), tmp_path / "run")
    assert (tmp_path / "run" / "count.json").read_text() == "12"


def test_an_unknown_logger_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"tensorbord.*did you mean 'tensorboard'"):
        make_logger("tensorbord", tmp_path, 0)


def test_tensorboard_gets_settings_evaluations_and_costs(
    tiny: Callable[..., RunConfig], tmp_path: Path
) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train_run(tiny(train={"loggers": ["tensorboard"], "evaluate_every": 6}), tmp_path / "run")
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    tags = {*events.Tags()["scalars"]}
    assert {"loss", "learning_rate", "updates_per_second", "evaluation/loss"} <= tags
    assert "evaluation/length=1/accuracy" in tags
    assert [event.step for event in events.Scalars("evaluation/length=2/loss")] == [6, 12]
    (file,) = (tmp_path / "run" / "tensorboard").iterdir()
    assert b"model.memory_size" in file.read_bytes()


class FakeWandB:
    """Stands in for the package: it remembers what it is told."""

    def __init__(self) -> None:
        self.opened: list[dict] = []
        self.settings: dict = {}
        self.logged: list[tuple[int, dict]] = []
        self.finished, self.config = 0, self

    def init(self, **settings: object) -> "FakeWandB":
        self.opened.append(settings)
        return self

    def update(self, settings: dict, allow_val_change: bool) -> None:
        self.settings = settings

    def log(self, numbers: dict, step: int) -> None:
        self.logged.append((step, numbers))

    def finish(self) -> None:
        self.finished += 1


def test_wandb_gets_what_the_others_get_and_keeps_its_run(
    tiny: Callable[..., RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake, run = FakeWandB(), tmp_path / "run"
    monkeypatch.setitem(sys.modules, "wandb", fake)
    settings = {"loggers": ["wandb"], "evaluate_every": 5}
    train_run(tiny(train=settings | {"max_updates": 7}), run)
    train_run(tiny(train=settings), run, resume=True)
    first, second = fake.opened
    assert first["id"] == second["id"] and first["name"] == "run" and first["dir"] == str(run)
    assert fake.finished == 2
    assert fake.settings["model.memory_size"] == 32 and fake.settings["train.max_updates"] == 12
    assert [step for step, numbers in fake.logged if "loss" in numbers] == [*range(1, 13)]
    assert [step for step, numbers in fake.logged if "evaluation/loss" in numbers] == [5, 10]
    assert fake.logged[0][1]["updates_per_second"] > 0


def test_without_wandb_nothing_is_left(
    tiny: Callable[..., RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(
        BackendMissingError, match=r"wandb: expected .*sparse-access-memory\[wandb\]"
    ):
        train_run(tiny(train={"loggers": ["wandb"]}), tmp_path / "run")
    assert not (tmp_path / "run" / "config.toml").exists()


def test_costs_stand_beside_the_seconds(tiny: Callable[..., RunConfig], tmp_path: Path) -> None:
    train_run(tiny(train={"log_every": 4}), tmp_path / "run")
    for line in read_json_lines(tmp_path / "run" / "timing.jsonl"):
        assert line["updates_per_second"] > 0 and line["peak_mib"] > 1
