"""From recipe to run and back; every mistake in a recipe is one clear error."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from index import IndexConfig
from sam.errors import ConfigError, UnknownNameError
from sam.models import SAM
from sam.train.folder import build_model
from sam.train.settings import (
    available_recipes,
    has_index,
    model_arguments,
    model_settings,
    read_recipe,
    resolve,
    to_tables,
)
from sam.train.toml import to_toml

Tables = dict[str, dict[str, Any]]


@pytest.mark.parametrize(
    "name", ["copy", "recall", "key_value_recall", "lookup", "needle", "sort", "babi"]
)
def test_recipes_resolve_and_round_trip(name: str) -> None:
    assert name in available_recipes()
    config = resolve(*read_recipe(name))
    assert config.task_name == name
    assert config.model.kind == "sam"
    again = resolve(tomllib.loads(to_toml(to_tables(config))))
    assert again == config


def test_recipes_say_what_they_reproduce() -> None:
    for name in available_recipes():
        path = Path(__file__).parents[2] / "sam/train/recipes" / f"{name}.toml"
        assert path.read_text().startswith("# "), name


def test_a_recipe_overrides_defaults_and_leaves_the_rest(tables: Tables) -> None:
    config = resolve(tables)
    assert config.model.hidden_size == 8
    assert config.task.max_length == 3
    assert config.optimizer.lr == 1e-3
    assert config.index == IndexConfig()


def test_model_settings_are_the_constructors_arguments(tables: Tables) -> None:
    config = resolve(tables)
    arguments = model_arguments(config)
    assert arguments["memory_size"] == 32
    assert arguments["index"] == IndexConfig()
    assert "batch_first" not in arguments
    assert "kind" not in arguments
    model = build_model(config)
    assert isinstance(model, SAM)
    assert (model.input_size, model.output_size) == (4, 3)


def test_the_seed_alone_decides_the_first_parameters(tables: Tables) -> None:
    first, again = build_model(resolve(tables)), build_model(resolve(tables))
    tables["train"]["seed"] = 1
    other = build_model(resolve(tables))
    assert first.output.weight.equal(again.output.weight)
    assert not first.output.weight.equal(other.output.weight)


def test_another_model_keeps_what_it_shares_with_the_recipes(tables: Tables) -> None:
    config = resolve(tables, kind="lstm")
    assert config.model.kind == "lstm"
    assert config.model.hidden_size == 8
    assert config.index is None
    assert "index" not in to_tables(config)
    assert not has_index("lstm")


def test_settings_of_a_model_are_derived_once() -> None:
    assert model_settings("sam") is model_settings("sam")
    assert model_settings("sam")() == model_settings("sam")()


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("task", "max_lenght", 3, "mine: task.max_lenght: unknown key.*'task.max_length'"),
        ("model", "memory_sise", 3, "mine: model.memory_sise: unknown key.*'model.memory_size'"),
        ("train", "batchsize", 3, "mine: train.batchsize: unknown key.*'train.batch_size'"),
        ("model", "top_k", "4", "mine: model.top_k: expected a whole number, got '4'"),
        ("model", "top_k", 4.0, "mine: model.top_k: expected a whole number, got 4.0"),
        ("model", "top_k", True, "mine: model.top_k: expected a whole number, got True"),
        ("train", "seed", [1], r"mine: train.seed: expected a whole number, got \[1\]"),
        ("curriculum", "enabled", 1, "mine: curriculum.enabled: expected true or false, got 1"),
        ("optimizer", "name", "sgd", "optimizer.name: expected one of 'adam', 'adamw', 'rm"),
        ("optimizer", "betas", [0.9], "optimizer.betas: expected a list of 2: a number, a number"),
        ("eval", "levels", [1, "2"], "eval.levels: expected a whole number, got '2'"),
        ("eval", "levels", 3, "eval.levels: expected a list, each a whole number, got 3"),
        ("train", "stop_below", "never", "train.stop_below: expected a number, got 'never'"),
        ("optimizer", "lr", -1.0, "optimizer.lr: expected above 0, got -1.0"),
        ("train", "batch_size", 0, "train.batch_size: expected at least 1, got 0"),
        ("curriculum", "min_hard", 200, "curriculum.min_hard: expected 1 to window=100, got 200"),
    ],
)
def test_a_wrong_key_or_value_is_named(
    tables: Tables, section: str, key: str, value: object, message: str
) -> None:
    tables.setdefault(section, {})[key] = value
    with pytest.raises(ConfigError, match=message):
        resolve(tables, "mine")


def test_whole_numbers_stand_for_floats(tables: Tables) -> None:
    tables["optimizer"] = {"lr": 1, "clip_norm": 5}
    config = resolve(tables)
    assert type(config.optimizer.lr) is float
    assert config.optimizer.clip_norm == 5.0


def test_an_unknown_section_is_named(tables: Tables) -> None:
    tables["optimiser"] = {}
    with pytest.raises(ConfigError, match=r"mine: \[optimiser\].*'optimizer'"):
        resolve(tables, "mine")


@pytest.mark.parametrize(
    ("section", "key", "message"),
    [("task", "name", "task.*copyy.*'copy'"), ("model", "kind", "model.*'copyy'")],
)
def test_unknown_names_are_errors(tables: Tables, section: str, key: str, message: str) -> None:
    tables[section][key] = "copyy"
    with pytest.raises(UnknownNameError, match=message):
        resolve(tables)


@pytest.mark.parametrize(("section", "key"), [("task", "name"), ("model", "kind")])
def test_a_recipe_without_a_name_is_an_error(tables: Tables, section: str, key: str) -> None:
    del tables[section][key]
    with pytest.raises(ConfigError, match=f"{section}.{key}: expected a name, got None"):
        resolve(tables)


def test_without_a_model_it_is_a_sam(tables: Tables) -> None:
    del tables["model"]
    assert resolve(tables).model.kind == "sam"
    assert resolve(tables, kind="lstm").model.kind == "lstm"


def test_an_index_for_a_model_without_one_is_an_error(tables: Tables) -> None:
    tables["model"] = {"kind": "lstm"}
    tables["index"] = {"kind": "exact"}
    with pytest.raises(ConfigError, match="expected no such section for model 'lstm'"):
        resolve(tables)


def test_an_unknown_recipe_gets_a_suggestion() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'recall'"):
        read_recipe("recal")


def test_a_model_too_large_to_build_is_a_settings_error(tables: Tables) -> None:
    tables["model"]["hidden_size"] = 10**9
    with pytest.raises(ConfigError, match=r"model: expected sizes .* of .* GiB failed"):
        build_model(resolve(tables))
