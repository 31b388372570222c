"""A few tries of the subject `damaged_folders`."""

import os

import pytest

for extra in ("tyro", "matplotlib", "safetensors"):
    pytest.importorskip(extra)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes, links and alarms")
def test_a_few_damaged_folders() -> None:
    from tests.attack import damaged_folders

    ended = damaged_folders.attack(6, seed=0)
    assert sum(ended.values()) == 6
