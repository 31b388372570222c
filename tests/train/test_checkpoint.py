"""A damaged checkpoint is one clear error, however it is damaged."""

import contextlib
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sam.errors import CheckpointError
from sam.train.checkpoint import FORMAT, load_checkpoint
from sam.train.config import RunConfig
from sam.train.folder import load_run
from sam.train.run import train_run

Build = Callable[..., RunConfig]


@pytest.fixture
def run(tiny: Build, tmp_path: Path) -> Path:
    """A finished run."""
    folder = tmp_path / "run"
    train_run(tiny(curriculum={"enabled": True}), folder)
    return folder


def test_a_checkpoint_holds_the_whole_progress(run: Path, tiny: Build) -> None:
    checkpoint = load_checkpoint(run / "checkpoint.pt")
    assert checkpoint.progress.update == 12
    assert len(checkpoint.progress.errors) == 4
    assert checkpoint.progress.curriculum is not None
    assert len(checkpoint.progress.curriculum.window) == 12
    assert checkpoint.log_bytes["metrics.jsonl"] == (run / "metrics.jsonl").stat().st_size
    assert "[curriculum]\nenabled = true" in checkpoint.config


@pytest.mark.parametrize("fraction", [0.0, 0.001, 0.1, 0.5, 0.9, 0.999])
def test_a_file_cut_short_is_an_error(run: Path, fraction: float) -> None:
    path = run / "checkpoint.pt"
    content = path.read_bytes()
    path.write_bytes(content[: int(fraction * len(content))])
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt: expected a checkpoint") as caught:
        load_run(run)
    assert "\n" not in str(caught.value)


def test_flipped_bits_never_pass_unseen(run: Path) -> None:
    path = run / "checkpoint.pt"
    content = path.read_bytes()
    whole = load_checkpoint(path)
    found = 0
    draw = random.Random(0)
    for _ in range(150):
        damaged = bytearray(content)
        damaged[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        try:
            loaded = load_checkpoint(path)
        except CheckpointError:
            found += 1
            continue
        # The flip hit padding or a date in the archive: what was loaded must be right.
        assert loaded.progress == whole.progress
        assert loaded.config == whole.config
        for name, value in whole.model.items():
            assert loaded.model[name].equal(value), name
    assert found > 50


def test_every_bit_of_the_end_record_may_be_wrong(run: Path) -> None:
    """There the archive says where its content begins, before the start of the file if flipped."""
    path = run / "checkpoint.pt"
    content = path.read_bytes()
    for place in range(len(content) - 22, len(content)):
        for bit in range(8):
            damaged = bytearray(content)
            damaged[place] ^= 1 << bit
            path.write_bytes(damaged)
            with contextlib.suppress(CheckpointError):
                load_checkpoint(path)


@pytest.mark.parametrize("length", [1, 100, 5000])
def test_random_bytes_are_an_error(tmp_path: Path, length: int) -> None:
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(random.Random(length).randbytes(length))
    with pytest.raises(CheckpointError, match="cut short or damaged"):
        load_checkpoint(path)


class Payload:
    """An object that runs code when it is unpickled."""

    def __reduce__(self) -> tuple:
        return print, ("unpickled",)


@pytest.mark.parametrize(
    "content",
    [
        {"weight": torch.zeros(2)},
        [1, 2],
        {"format": "another program's"},
        {"format": FORMAT},
        {"format": FORMAT, "progress": {"update": 1}},
        {"format": FORMAT, "progress": [1]},
        Payload(),
    ],
)
def test_a_foreign_file_is_an_error_and_runs_no_code(
    tmp_path: Path, content: object, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "checkpoint.pt"
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt: expected"):
        load_checkpoint(path)
    assert capsys.readouterr().out == ""


def test_parameters_of_another_model_are_an_error(run: Path) -> None:
    path = run / "checkpoint.pt"
    content = torch.load(path, weights_only=True)
    content["model"]["output.bias"] = torch.zeros(99)
    torch.save(content, path)
    with pytest.raises(CheckpointError, match="expected the parameters of this run's model"):
        load_run(run)


def test_a_checkpoint_of_other_settings_is_an_error(run: Path, tiny: Build, tmp_path: Path) -> None:
    other = tmp_path / "other"
    train_run(tiny(optimizer={"lr": 0.5}), other)
    (run / "checkpoint.pt").write_bytes((other / "checkpoint.pt").read_bytes())
    with pytest.raises(CheckpointError, match=r"got others in \[(optimizer|curriculum)\]"):
        load_run(run)


def test_a_missing_checkpoint_is_an_os_error(run: Path) -> None:
    (run / "checkpoint.pt").unlink()
    with pytest.raises(FileNotFoundError):
        load_run(run)
