"""Reads the logs of a run: one JSON object per line, each checked."""

import json
import math
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from sam.errors import ConfigError
from sam.train.coerce import coerce
from sam.train.run_files import read_file

_MOST = 2**63  # whole numbers beyond it fit no array


class UpdateLine(TypedDict):
    """A line of metrics.jsonl about an update; see `sam.train.loop.Update`."""

    update: int
    loss: float
    error: float
    gradient_norm: float
    window_error: float
    level: NotRequired[int]
    index_recall: NotRequired[float]
    write_gate: NotRequired[float]
    memory_in_use: NotRequired[float]
    learning_rate: NotRequired[float]


class EvaluationLine(TypedDict):
    """A line of metrics.jsonl about an evaluation between two updates."""

    update: int
    evaluation: tuple[dict[str, Any], ...]


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Reads metrics.jsonl; see `read_json_lines`."""
    return read_json_lines(path, UpdateLine | EvaluationLine)


def read_json_lines(path: Path, hint: Any = dict[str, Any]) -> list[dict[str, Any]]:
    """Reads the whole lines of a log; a last line torn in a crash is left out.

    Args:
        path: the file.
        hint: what each line must be: a `TypedDict`, or another hint that `coerce` knows.

    Raises:
        ConfigError: a whole line is not JSON, or not what `hint` says; file and line are named.
        OSError: the file cannot be read.
    """
    lines = read_file(path).split(b"\n")[:-1]
    return [parse_json(line, f"{path}: line {i}", hint) for i, line in enumerate(lines, 1)]


def parse_json(content: bytes, source: str, hint: Any) -> Any:
    """Reads one JSON value in which all numbers are finite, and checks it against a type hint."""
    try:
        value = json.loads(
            content.decode(), parse_int=_int, parse_float=_float, parse_constant=_constant
        )
    except RecursionError:
        raise ConfigError(f"{source}: expected a JSON object, got one nested too deep") from None
    except ValueError as error:
        raise ConfigError(f"{source}: expected a JSON object, got {error}") from error
    return coerce(value, hint, source)


def _int(digits: str) -> int:
    # The length is checked first: Python refuses to read numbers of thousands of digits.
    if len(digits) > 20 or abs(int(digits)) >= _MOST:
        raise ValueError("a whole number beyond 64 bits")
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits)
    return value if math.isfinite(value) else _constant(digits)


def _constant(name: str) -> float:
    raise ValueError(f"the number {name[:20]}, which is not finite")
