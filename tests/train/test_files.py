"""Atomic writing, and TOML there and back."""

import math
import tomllib
from pathlib import Path

import pytest

from sam.errors import ConfigError
from sam.train.run_files import atomic_file, write_atomic
from sam.train.settings import available_recipes, read_recipe, resolve, to_tables
from sam.train.toml import parse_toml, read_toml, to_toml


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    write_atomic(path, "old")
    with pytest.raises(RuntimeError, match="half-way"), atomic_file(path) as file:
        file.write(b"new and never whole")
        raise RuntimeError("half-way")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_ctrl_c_while_writing_leaves_no_temporary_file(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), atomic_file(tmp_path / "a") as file:
        file.write(b"x")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomic(tmp_path / "none" / "a", "x")


@pytest.mark.parametrize(
    "value",
    [
        True,
        -3,
        2**40,
        1e-5,
        1e22,
        0.1,
        math.inf,
        "",
        'quote " backslash \\ newline \n tab \t',
        "control \x01 \x7f, and not ASCII: \u00e9 \U0001f40d",
        [],
        [1, 2, 3],
        [0.5, 1.0],
        ["a", "b"],
    ],
)
def test_values_round_trip(value: object) -> None:
    assert tomllib.loads(to_toml({"section": {"key": value}})) == {"section": {"key": value}}


def test_none_is_left_out_and_tuples_become_lists() -> None:
    text = to_toml({"a": {"x": None, "y": (1, 2)}, "b": {}})
    assert tomllib.loads(text) == {"a": {"y": [1, 2]}, "b": {}}


def test_tables_may_stand_in_tables_and_empty_ones_are_left_out_there() -> None:
    text = to_toml({"a": {"x": {"y": 1, "z": None}, "w": {}}, "b": {}})
    assert tomllib.loads(text) == {"a": {"x": {"y": 1}}, "b": {}}


def test_a_file_that_is_read_and_written_again_stays_byte_for_byte_the_same() -> None:
    for name in available_recipes():
        config = resolve(*read_recipe(name))
        text = to_toml(to_tables(config))
        again = resolve(parse_toml(text, "again"))
        assert again == config and to_toml(to_tables(again)) == text


def test_nan_round_trips() -> None:
    assert math.isnan(tomllib.loads(to_toml({"a": {"x": math.nan}}))["a"]["x"])


def test_a_value_toml_cannot_hold_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"a\.x: expected a number.*got \{1\}"):
        to_toml({"a": {"x": {1}}})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"a = [", "expected a TOML file"),
        (b"\xff\xfe", "expected a TOML file"),
        (b"seed = 3", "expected tables such as"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, text: bytes, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(text)
    with pytest.raises(ConfigError, match=message) as caught:
        read_toml(path)
    assert "mine.toml" in str(caught.value)
