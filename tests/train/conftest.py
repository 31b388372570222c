"""A run small enough for tests, and what two runs are compared by."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sam.train.folder import load_run
from sam.train.settings import resolve
from sam.train.train_config import RunConfig


def tiny_tables() -> dict[str, dict[str, Any]]:
    """A recipe of a few milliseconds per update, with a checkpoint every 5 updates."""
    return {
        "task": {"name": "copy", "max_length": 3, "bits": 3},
        "model": {
            "kind": "sam",
            "hidden_size": 8,
            "memory_size": 32,
            "word_size": 4,
            "num_heads": 2,
            "top_k": 2,
        },
        "train": {
            "batch_size": 2,
            "max_updates": 12,
            "window": 4,
            "log_every": 1,
            "checkpoint_every": 5,
        },
        "eval": {"levels": [1, 2], "count": 3, "batch_size": 2},
    }


@pytest.fixture
def tables() -> dict[str, dict[str, Any]]:
    return tiny_tables()


@pytest.fixture
def tiny() -> Callable[..., RunConfig]:
    """Builds the tiny run; keyword arguments are tables laid over its own."""

    def build(**changes: dict[str, Any]) -> RunConfig:
        changed = tiny_tables()
        for section, values in changes.items():
            changed[section] = changed.get(section, {}) | values
        return resolve(changed, "tiny")

    return build


@pytest.fixture
def assert_equal_runs() -> Callable[[Path, Path], None]:
    """Metrics are equal byte for byte, and every parameter is equal bit for bit."""

    def check(first: Path, second: Path) -> None:
        metrics = (first / "metrics.jsonl").read_bytes()
        assert metrics.count(b"\n") > 1
        assert metrics == (second / "metrics.jsonl").read_bytes()
        (_, model, progress), (_, other, other_progress) = load_run(first), load_run(second)
        assert progress == other_progress
        theirs = other.state_dict()
        for name, value in model.state_dict().items():
            # Bytes, not ==: a zero and a negative zero would not be the same bits.
            assert value.numpy().tobytes() == theirs[name].numpy().tobytes(), name

    return check
