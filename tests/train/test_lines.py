"""A log is read line by line, and what is wrong is told with its line."""

import os
from pathlib import Path

import pytest

from sam.errors import ConfigError
from sam.train.lines import read_json_lines, read_metrics
from sam.train.toml import read_toml

GOOD = (
    b'{"update": 1, "loss": 1.5, "error": 1, "gradient_norm": 2.0, "window_error": 0.5, "new": {}}'
)


def test_right_lines_pass_whatever_else_is_in_them(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(GOOD + b'\n{"update": 1, "evaluation": [{"value": 1}]}\n{"torn')
    first, second = read_metrics(path)
    assert (first["update"], first["error"], first["new"]) == (1, 1.0, {})
    assert second["update"] == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"", "expected a JSON object"),
        (b"3", "expected an object with error, .* or an object with evaluation, update, got 3"),
        (b"null", "got None"),
        (b"[" * 10_000, "expected a JSON object"),
        (b"[" * 10_000 + b"]" * 10_000, "nested too deep|expected an object"),
        (b'{"a": ' * 10_000 + b"1" + b"}" * 10_000, "nested too deep|expected an object"),
        (b'{"update": 1}', "got {'update': 1}"),
        (GOOD.replace(b"1.5", b'"a"'), "expected an object"),
        (GOOD.replace(b"1.5", b"NaN"), "the number NaN, which is not finite"),
        (GOOD.replace(b"1.5", b"-Infinity"), "-Infinity, which is not finite"),
        (GOOD.replace(b"1.5", b"1e999"), "1e999, which is not finite"),
        (GOOD.replace(b"1.5", b"1" * 5000), "beyond 64 bits"),
        (GOOD.replace(b": 1,", b": true,"), "expected an object"),
        (GOOD.replace(b": 1,", b": 9223372036854775808,"), "beyond 64 bits"),
        (b"\xff\xfe", "expected a JSON object"),
        (GOOD.decode().encode("utf-16"), "expected a JSON object"),
        (b'{"update": 1, "evaluation": {}}', "expected an object"),
    ],
)
def test_a_wrong_line_is_named_in_one_line(tmp_path: Path, line: bytes, message: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(GOOD + b"\n" + line + b"\n" + GOOD + b"\n")
    with pytest.raises(ConfigError, match=rf"metrics\.jsonl: line 2: .*({message})") as caught:
        read_metrics(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400 + len(str(path))


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        read_json_lines(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(ConfigError, match="expected a file, got a pipe"):
            read_json_lines(tmp_path / "pipe")


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 2000,
        "a = " + "{b = " * 2000 + "1" + "}" * 2000,
        "[t]\na = " + "9" * 5000,
        "[" + "a." * 3000 + "a]\n" + "b = 1",
    ],
)
def test_toml_of_any_depth_is_read_or_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "deep.toml"
    path.write_text(text)
    try:
        tables = read_toml(path)
    except ConfigError as error:
        assert str(error).startswith(f"{path}: expected a TOML file")
    else:
        assert tables.keys() == {"a"}
