"""A trained model with another memory or index; figures of several runs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from sam.cli import USER_ERROR, main
from sam.errors import ConfigError
from sam.models import model_registry, register_model
from sam.models.lstm_model import LSTM
from sam.train import curves as curves_module
from sam.train import train_run
from sam.train.curves import Curve, grouped, plot_curves
from sam.train.settings import resolve
from sam.train.train_config import RunConfig
from sam.train.variants import load_variant
from tests.tasks.own_files import write_series, write_text

Tiny = Callable[..., RunConfig]


@pytest.fixture
def run(tiny: Tiny, tmp_path: Path) -> Path:
    train_run(tiny(), tmp_path / "a")
    return tmp_path / "a"


def test_no_parameter_depends_on_the_memory(run: Path) -> None:
    config, model, progress = load_variant(run, memory_size=2**20, index="ivf[probes=2]")
    assert (config.model.memory_size, config.index.kind, progress.update) == (2**20, "ivf", 12)
    _, own, _ = load_variant(run)
    inputs = torch.randn(3, 2, 4)
    expected, _ = own(inputs)
    found, state = model(inputs)
    torch.testing.assert_close(found, expected)  # so few words are found by any index
    assert state.memory.order.memory_size == 2**20


def test_eval_says_which_memory(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(run.parent)
    assert main(["eval", "a", "--memory-size", "64", "--index", "lsh"]) == 0
    assert "sam, N = 64, lsh index, on copy, seed 0" in capsys.readouterr().out
    content = json.loads((run / "eval.json").read_text())
    assert (content["memory_size"], content["index"]) == (64, "lsh")
    assert main(["eval", "a", "--memory-size", "1"]) == USER_ERROR
    assert "top_k: expected at most memory_size=1" in capsys.readouterr().err
    assert main(["eval", "a", "--index", "hnsw"]) == USER_ERROR


def test_a_model_without_a_memory_is_told(tiny: Tiny, tmp_path: Path) -> None:
    tables = {"task": {"name": "copy", "max_length": 2}, "model": {"kind": "lstm"}}
    train_run(resolve({**tables, "train": {"max_updates": 1}}), tmp_path / "a")
    for settings in ({"memory_size": 3}, {"index": "exact"}):
        with pytest.raises(ConfigError, match="expected a model with"):
            load_variant(tmp_path / "a", **settings)  # type: ignore[arg-type]


class Learned(LSTM):
    """A model with a parameter as large as its memory."""

    def __init__(self, input_size: int, output_size: int, *, memory_size: int = 4) -> None:
        super().__init__(input_size, output_size, hidden_size=4)
        self.words = nn.Parameter(torch.zeros(memory_size, 2))

    def forward(self, inputs, state=None, **given):
        outputs, state = super().forward(inputs, state, **given)
        return outputs + self.words.sum(), state


def test_a_parameter_that_depends_on_the_size_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_registry, "_MODELS", {**model_registry._MODELS})
    register_model("learned", Learned)
    tables = {"task": {"name": "copy", "max_length": 2}, "model": {"kind": "learned"}}
    train_run(resolve({**tables, "train": {"max_updates": 1}}), tmp_path / "a")
    with pytest.raises(ConfigError, match=r"since words of learned depends on it: \[4, 2\]"):
        load_variant(tmp_path / "a", memory_size=5)


def records(*errors: float) -> list[dict[str, float]]:
    return [{"update": 10 * n, "window_error": error} for n, error in enumerate(errors, 1)]


def test_seeds_are_grouped_and_the_shorter_one_keeps_its_last_error(tiny: Tiny) -> None:
    curves = [
        Curve(tiny(train={"seed": 0}), records(3, 2, 1)),
        Curve(tiny(train={"seed": 1}), records(4, 0)),
        Curve(tiny(model={"memory_size": 64}), records(5)),
    ]
    first, second = grouped(curves)
    assert first.settings == {"model.memory_size": "32"}
    assert first.updates.tolist() == [10, 20, 30]
    assert first.errors.tolist() == [[3, 2, 1], [4, 0, 0]]
    assert second.settings == {"model.memory_size": "64"}


def test_what_one_model_has_not_sets_no_group_apart() -> None:
    task = {"name": "copy"}
    curves = [
        Curve(resolve({"task": task, "model": {"kind": kind}}), records(1, 0))
        for kind in ("sam", "lstm")
    ]
    assert [group.settings for group in grouped(curves)] == [
        {"model.kind": "sam"},
        {"model.kind": "lstm"},
    ]


def test_many_lines_get_a_panel_for_each_size(tiny: Tiny, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    curves = [
        Curve(tiny(model={"memory_size": size, "top_k": k}), records(2, 1, 0))
        for size in (16, 32, 64, 128)
        for k in (1, 2)
    ]
    plot_curves(curves, tmp_path / "curves.png")
    assert len(json.loads((tmp_path / "curves.json").read_text())["groups"]) == 8
    with pytest.raises(ConfigError, match="at least one run"):
        plot_curves([], tmp_path / "none.png")


def test_labels_have_what_tells_the_curves_apart(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    drawn: list[Any] = []
    monkeypatch.setattr(curves_module, "save_figure", lambda figure, *given: drawn.append(figure))
    adam = {"name": "adamw", "lr": 0.1, "weight_decay": 0.1}
    runs = [
        (tiny(), records(3, 2)),
        (tiny(optimizer=adam), records(3)),  # one point, which a line alone would not show
        (tiny(optimizer={"lr": 0.1}), records(2, 2)),
        (resolve({"task": {"name": "copy"}, "model": {"kind": "lstm"}}), records(3, 1)),
    ]
    plot_curves([Curve(*run) for run in runs], tmp_path / "curves.png")
    (legend,) = drawn[0].legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == [
        "sam, adam, lr 0.001",
        "sam, adamw, lr 0.1",
        "sam, adam, lr 0.1",
        "lstm, adam, lr 0.001",
    ]
    (point,) = [line for line in drawn[0].axes[0].get_lines() if len(line.get_xdata()) == 1]
    assert point.get_marker() == "o"


@pytest.mark.parametrize("kind", ["values", "tokens"])
def test_data_have_curves_too(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = write_series(tmp_path / "data") if kind == "values" else write_text(tmp_path / "data")
    task = {"name": {"values": "series", "tokens": "text"}[kind], "path": str(path)}
    curves = [
        Curve(
            resolve({"task": task, "model": {"kind": one}, "train": {"seed": seed}}), records(2, 1)
        )
        for one in ("sam", "sdnc", "lstm", "ntm")
        for seed in (0, 1)
    ]
    plot_curves(curves, tmp_path / "curves.png")
    groups = json.loads((tmp_path / "curves.json").read_text())["groups"]
    assert [len(group["errors"]) for group in groups] == [2] * 4
