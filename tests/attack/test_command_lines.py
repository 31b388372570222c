"""A few of the command lines of `make attack`."""

import pytest

from tests.attack.command_lines import attack


def test_command_lines_and_recipes_end_well() -> None:
    for extra in ("tyro", "rich", "matplotlib", "safetensors", "tensorboard"):
        pytest.importorskip(extra)
    ended = attack(16, seed=1)
    assert sum(ended.values()) == 16
    assert ended["refused"] and ended["taken"]
