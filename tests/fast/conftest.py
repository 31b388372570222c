"""Compiling takes a minute, once."""

from pathlib import Path

import pytest

_SECONDS = 600  # whichever test runs first compiles what it needs


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(_SECONDS))
