"""Settings on the command line go before the recipe's; mistakes there get a suggestion."""

from collections.abc import Callable

import pytest

from sam.errors import BackendMissingError, ConfigError
from sam.train import extras
from sam.train.overrides import _is_settable, _parsed, given_value, override
from sam.train.settings import resolve, to_tables
from sam.train.train_config import RunConfig

pytest.importorskip("tyro")
Build = Callable[..., RunConfig]


def test_an_override_goes_before_the_recipe_and_the_recipe_before_defaults(tiny: Build) -> None:
    config = override(tiny(), ["--model.memory-size", "64", "--optimizer.lr=0.5"], prog="p")
    assert config.model.memory_size == 64
    assert config.optimizer.lr == 0.5
    assert config.model.hidden_size == 8  # the recipe's
    assert config.optimizer.clip_norm == 10.0  # the default
    assert config.task_name == "copy"


def test_no_override_changes_nothing(tiny: Build) -> None:
    assert override(tiny(), [], prog="p") == tiny()


def test_an_overridden_run_round_trips_through_its_config(tiny: Build) -> None:
    config = override(tiny(), ["--eval.levels", "4", "--train.stop-below", "None"], prog="p")
    assert resolve(to_tables(config) | {}) == config


@pytest.mark.parametrize(
    ("arguments", "levels"),
    [(["1"], (1,)), (["1", "2", "3"], (1, 2, 3)), ([], ())],
)
def test_a_list_takes_any_number_of_values(
    tiny: Build, arguments: list[str], levels: tuple[int, ...]
) -> None:
    assert override(tiny(), ["--eval.levels", *arguments], prog="p").eval.levels == levels


@pytest.mark.parametrize(
    ("arguments", "enabled"),
    [
        (["--curriculum.enabled"], True),
        (["--curriculum.no-enabled"], False),
        (["--curriculum.enabled", "true"], True),
        (["--curriculum.enabled=False"], False),
        (["--curriculum.enabled", "--train.seed", "3"], True),
    ],
)
def test_a_bool_may_be_a_flag_or_have_a_value(
    tiny: Build, arguments: list[str], enabled: bool
) -> None:
    config = tiny(curriculum={"enabled": not enabled})
    assert override(config, arguments, prog="p").curriculum.enabled is enabled


@pytest.mark.parametrize(
    "arguments", [["--index", "ivf"], ["--index=ivf"], ["--index.kind", "ivf"]]
)
def test_index_has_a_short_form(tiny: Build, arguments: list[str]) -> None:
    assert override(tiny(), arguments, prog="p").index.kind == "ivf"


def test_underscores_are_dashes(tiny: Build) -> None:
    assert override(tiny(), ["--model.top_k", "3"], prog="p").model.top_k == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model.memory-sise", "3"], "--model.memory-sise: unknown.*mean '--model.memory-size'"),
        (["--trian.seed", "3"], r"--trian.seed: unknown.*--train.\*.*mean '--train.seed'"),
        (["--seed", "3"], "--seed: unknown option"),
        (["--train.no-seed"], "--train.no-seed: unknown option"),
        (["--model.top-k", "many"], "^Error parsing --model.top-k: .*'many'$"),
        (["--model.top-k"], "^Missing value for argument '--model.top-k'"),
        (["--train.max-updates", "1.5"], "--train.max-updates.*'1.5'"),
        (["--optimizer.lr", "-1"], r"^optimizer.lr: expected above 0, got -1.0$"),
        (["--optimizer.name", "sgd"], "'sgd'.*'adam', 'adamw', 'rmsprop'"),
        (["--task.max-length", "0"], "max_length: expected a whole number >= 1, got 0$"),
        (["--curriculum.enabled=maybe"], "--curriculum.enabled: expected true or false"),
        (["stray"], "stray"),
    ],
)
def test_a_wrong_argument_is_one_clear_line(
    tiny: Build, arguments: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        override(tiny(), arguments, prog="p")
    assert "\n" not in str(caught.value)


def test_a_model_without_an_index_has_no_index_option(tiny: Build) -> None:
    config = resolve({"task": {"name": "copy"}, "model": {"kind": "lstm"}})
    with pytest.raises(ConfigError, match="--index: unknown option"):
        override(config, ["--index", "exact"], prog="p")


def test_the_last_value_of_a_flag_counts() -> None:
    assert given_value(["--a", "1", "--a=2", "--b", "3"], "--a") == "2"
    assert given_value(["--b", "3"], "--a") is None
    with pytest.raises(ConfigError, match="--a: expected a value"):
        given_value(["--a"], "--a")


def test_help_is_printed_and_is_no_error(tiny: Build, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        override(tiny(), ["--help"], prog="sparse-sam train copy")
    assert caught.value.code == 0
    assert "--model.memory-size" in capsys.readouterr().out


def test_a_missing_extra_ends_with_the_pip_line() -> None:
    with pytest.raises(BackendMissingError, match=r"pip install 'sparse-access-memory\[train\]'$"):
        extras.import_extra("no_such_package_here")


def test_a_table_takes_pairs_of_words() -> None:
    hint = dict[str, int | float | bool | str]
    assert _is_settable(hint)
    assert _parsed("index.options", hint, ["a", "3", "b", "x"]) == {"a": 3, "b": "x"}
    with pytest.raises(ConfigError, match=r"Error parsing --index\.options"):
        _parsed("index.options", hint, ["a"])
