"""A damaged checkpoint is one clear error, however it is damaged."""

import contextlib
import math
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sam.errors import CheckpointError
from sam.train.checkpoint import FORMAT, load_checkpoint
from sam.train.folder import load_run
from sam.train.run import train_run
from sam.train.settings import resolve
from sam.train.train_config import RunConfig
from tests.train.conftest import tiny_tables

Build = Callable[..., RunConfig]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, of which every test gets a copy."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    tables = tiny_tables() | {"curriculum": {"enabled": True}}
    train_run(resolve(tables, "tiny"), folder)
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def test_a_checkpoint_holds_the_whole_progress(run: Path, tiny: Build) -> None:
    checkpoint = load_checkpoint(run / "checkpoint.pt")
    assert checkpoint.progress.update == 12
    assert len(checkpoint.progress.errors) == 4
    assert checkpoint.progress.curriculum is not None
    assert len(checkpoint.progress.curriculum.window) == 12
    assert checkpoint.logs["metrics.jsonl"].length == (run / "metrics.jsonl").stat().st_size
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


def test_a_refusal_gives_no_advice_to_trust_the_file(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    torch.save(Payload(), path)
    with pytest.raises(CheckpointError, match="could run code") as caught:
        load_checkpoint(path)
    assert "weights_only" not in str(caught.value)


def test_an_older_format_is_named(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    torch.save({"format": "sparse-access-memory checkpoint 1"}, path)
    with pytest.raises(CheckpointError, match="checkpoint 1' of another version of this library"):
        load_checkpoint(path)


def put(content: Any, place: str, value: Any) -> None:
    """Sets ``content[a][b]`` for "a.b", where numbers are numbers."""
    *outer, last = (int(key) if key.isdigit() else key for key in place.split("."))
    for key in outer:
        content = content[key]
    content[last] = value


WRONG = [
    ("config", None),
    ("config", "a = 1"),
    ("config", "[" * 5000),
    ("config", '[task]\nname = "copi"\n[model]\nkind = "sam"'),
    ("progress", None),
    ("progress.update", -1),
    ("progress.update", 1.5),
    ("progress.update", True),
    ("progress.update", 10**30),
    ("progress.errors", None),
    ("progress.errors", [0.0] * 99),
    ("progress.errors", ["a"]),
    ("progress.errors", [math.nan]),
    ("progress.curriculum", None),
    ("progress.curriculum", [0, []]),
    ("progress.curriculum", [99, []]),
    ("progress.curriculum", [1, [[1, "a"]]]),
    ("progress.curriculum", [1, [[7, 0.5]]]),
    ("progress.curriculum", [1, 2, 3]),
    ("model", [1]),
    ("model", {}),
    ("model", {3: torch.zeros(1)}),
    ("model.output.bias", 3),
    ("model.output.bias", torch.zeros(3, dtype=torch.float64)),
    ("model.output.bias", torch.full((3,), math.nan)),
    ("model.output.bias", torch.zeros(3).to_sparse()),
    ("optimizer", None),
    ("optimizer.state", []),
    ("optimizer.state", {}),
    ("optimizer.state.0", None),
    ("optimizer.state.0", {}),
    ("optimizer.state.99", {"step": torch.tensor(1.0)}),
    ("optimizer.state.0.step", 3),
    ("optimizer.state.0.step", torch.tensor(99.0)),
    ("optimizer.state.0.step", torch.tensor(math.nan)),
    ("optimizer.state.0.exp_avg", torch.zeros(1)),
    ("optimizer.param_groups", []),
    ("optimizer.param_groups.0.lr", "fast"),
    ("optimizer.param_groups.0.lr", 0.5),
    ("optimizer.param_groups.0.params", [0]),
    ("optimizer.param_groups.0.params.1", torch.zeros(3)),
    ("optimizer.param_groups.0.betas", (0.9, torch.zeros(3))),
    ("rng", None),
    ("rng", torch.zeros(5)),
    ("rng", torch.zeros(7, dtype=torch.uint8)),
    ("rng", torch.zeros_like(torch.get_rng_state())),
    ("logs", {}),
    ("logs", {"metrics.jsonl": 5}),
    ("logs.metrics.jsonl", None),
    ("logs.metrics.jsonl", [-1, 0]),
    ("logs.metrics.jsonl", [1, "a"]),
    ("seconds", None),
    ("seconds", -1.0),
    ("seconds", math.inf),
]


@pytest.mark.parametrize(("place", "value"), WRONG)
def test_wrong_content_in_a_whole_file_is_an_error(
    run: Path, tiny: Build, place: str, value: object
) -> None:
    path = run / "checkpoint.pt"
    content = torch.load(path, weights_only=True)
    # Names of parameters and logs have dots in them.
    first, _, rest = place.partition(".")
    if first in ("model", "logs") and rest:
        content[first][rest] = value
    else:
        put(content, place, value)
    torch.save(content, path)
    before = {file: file.read_bytes() for file in run.iterdir()}
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt: ") as caught:
        train_run(tiny(curriculum={"enabled": True}), run, resume=True)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400 + len(str(path))
    assert {file: file.read_bytes() for file in run.iterdir()} == before


def test_parameters_of_another_model_are_an_error(run: Path) -> None:
    path = run / "checkpoint.pt"
    content = torch.load(path, weights_only=True)
    content["model"]["output.bias"] = torch.zeros(99)
    torch.save(content, path)
    with pytest.raises(
        CheckpointError,
        match=r"model\.output\.bias: expected torch.float32 \[3\] as of this run's model",
    ):
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
