"""A process that is killed while it commits leaves the base as it was, or the new one."""

import os
import random
from pathlib import Path

import pytest
import torch

from index import BaseDiff, BaseMemory
from tests.index.base.killed import killed

KILLS, COUNT = 10, 20_000


def commit_on_and_on(path: str, begun) -> None:
    """Writes 1, 2, ... to words 3 and 19,000, and one word more each time."""
    torch.set_num_threads(1)
    for number in range(1, 1_000_000):
        base = BaseMemory.open(path)
        begun.value = number
        slots = torch.tensor([[3, 19_000, len(base)]])
        base.commit(BaseDiff(slots, torch.full((1, 3, 4), float(number)), len(base)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_kills_during_commit(tmp_path: Path) -> None:
    path, moments = tmp_path / "base", random.Random(0)
    for _ in range(KILLS):
        BaseMemory.create(path, torch.zeros(COUNT, 4))
        last = killed(commit_on_and_on, path, moments, least=2)
        base = BaseMemory.open(path, check=True)
        done = len(base) - COUNT
        assert done in (last, last - 1)
        words = base.words_at(torch.arange(len(base)))
        assert (words[[3, 19_000]] == done).all()
        assert torch.equal(words[COUNT:, 0], torch.arange(1.0, done + 1))
        assert (words[:COUNT].ne(0).any(1).sum() == 2).all()
