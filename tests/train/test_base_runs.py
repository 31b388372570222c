"""Runs over a base: in the recipe, on the command line, and another one in evaluation."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from index.base import BaseMemory, reshard
from sam.cli import USER_ERROR, main
from sam.errors import ConfigError
from sam.models import load_model, make_model, save_model
from sam.tasks import Lookup
from sam.train.overrides import override
from sam.train.run import train_run
from sam.train.settings import resolve, to_tables
from sam.train.variants import load_variant

TASK: dict[str, Any] = {"name": "lookup", "key_size": 6, "bits": 2, "questions": 2, "max_words": 20}
MODEL: dict[str, Any] = {"kind": "sam", "hidden_size": 8, "memory_size": 600, "word_size": 8}


def make_base(path: Path, count: int) -> str:
    BaseMemory.create(path, Lookup(key_size=6, bits=2).pieces(count))
    return str(path)


def tables(base: str | None = None) -> dict[str, Any]:
    model = MODEL if base is None else MODEL | {"base": base}
    train = {"max_updates": 2, "batch_size": 2}
    return {"task": TASK, "model": model, "train": train, "eval": {"levels": [16], "count": 2}}


def test_a_base_of_the_model_is_the_one_that_is_asked_about(tmp_path: Path) -> None:
    base = make_base(tmp_path / "base", 300)
    config = resolve(tables(base))
    assert config.task.base == config.model.base == base
    assert resolve(to_tables(config)) == config
    given = override(resolve(tables()), ["--base", base], prog="")
    assert given == config
    with pytest.raises(ConfigError, match="--base: expected the folder of a base"):
        override(config, ["--base"], prog="")
    copied = resolve({"task": {"name": "copy"}, "model": MODEL})
    assert override(copied, ["--base", base], prog="").model.base == base
    with pytest.raises(ConfigError, match="--base: expected a model that has one, got lstm"):
        override(
            resolve({"task": {"name": "copy"}, "model": {"kind": "lstm"}}), ["--base", "b"], prog=""
        )


def test_a_run_over_a_base_is_resumed_and_evaluated_over_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    base, other = make_base(tmp_path / "base", 300), make_base(tmp_path / "other", 500)
    outcome = train_run(resolve(tables(base)), tmp_path / "run")
    model: Any = outcome.model
    assert len(model.base) == 300
    config = resolve(tables(base) | {"train": {"max_updates": 3, "batch_size": 2}})
    assert train_run(config, tmp_path / "run", resume=True).progress.update == 3
    assert main(["eval", "run", "--base", other, "--count", "3"]) == 0
    content = json.loads((tmp_path / "run" / "eval.json").read_text())
    assert content["base"] == other
    assert [result["value"] for result in content["results"]] == [500]
    results = content["results"]
    reshard(other, 2, to=tmp_path / "shards")  # this process opens all of them
    assert main(["eval", "run", "--base", "shards", "--count", "3"]) == 0
    content = json.loads((tmp_path / "run" / "eval.json").read_text())
    assert content["base"] == "shards" and content["results"] == results
    changed, model, _ = load_variant(tmp_path / "run", base=other)
    assert len(model.base) == 500 and changed.task.base == other  # type: ignore[arg-type]
    assert main(["eval", "run", "--base", str(tmp_path / "nothing")]) == USER_ERROR
    assert "nothing" in capsys.readouterr().err


def test_a_model_with_a_base_begins_over_it_and_is_saved_with_its_path(tmp_path: Path) -> None:
    base = make_base(tmp_path / "base", 30)
    model: Any = make_model(
        "sam", 4, 3, base=base, **{k: v for k, v in MODEL.items() if k != "kind"}
    )
    state = model.initial_state(2)
    assert state.memory.order.base is model.base and len(model.base) == 30
    assert model.initial_state(2, words=torch.zeros(3, 8)).memory.order.base is None
    outputs, state = model(torch.zeros(3, 2, 4))
    again = model.load_state(state.detach().state_dict())
    assert again.memory.order.base is model.base
    save_model(model, tmp_path / "model")
    loaded: Any = load_model(tmp_path / "model")
    assert loaded.base.identity == model.base.identity
    assert torch.equal(loaded(torch.zeros(3, 2, 4))[0], outputs)
