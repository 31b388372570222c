"""A process that is killed while it writes a base leaves the old base or the new one."""

import os
import random
from pathlib import Path

import pytest
import torch

from index import BaseMemory
from index.base.folder import atomic_folder
from tests.index.base.killed import killed

KILLS = 20


def words_of(number: int) -> torch.Tensor:
    return torch.full((20_000, 4), float(number))


def write_on_and_on(path: str, begun) -> None:
    torch.set_num_threads(1)
    for number in range(1_000_000):
        begun.value = number
        BaseMemory.create(path, words_of(number))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_kills_during_create(tmp_path: Path) -> None:
    """Killed at random moments: the base is whole, of the last call or the one before."""
    path, moments = tmp_path / "base", random.Random(0)
    BaseMemory.create(path, words_of(0))
    for _ in range(KILLS):
        last = killed(write_on_and_on, path, moments, least=1)
        base = BaseMemory.open(path, check=True)
        words = base.words_at(torch.arange(len(base)))
        assert words.shape == (20_000, 4) and (words == words[0, 0]).all()
        assert words[0, 0] in (last, last - 1)
    BaseMemory.create(path, words_of(7))  # and takes away what they have left
    assert [p.name for p in tmp_path.iterdir()] == ["base"]


def test_what_another_process_is_writing_stays(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "base") as folder:
        (folder / "file").write_text("half")
        BaseMemory.create(tmp_path / "base", words_of(1))
        assert (folder / "file").read_text() == "half"
    assert sorted(p.name for p in (tmp_path / "base").iterdir()) == ["file"]
