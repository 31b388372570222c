"""Of two processes one hangs, fails, or was started otherwise: both end, each in one line."""

import errno
import math
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from sam import cli
from sam.tasks.task import Batch
from sam.train.folder import load_run
from sam.train.loggers import JsonLines
from sam.train.processes import Processes
from sam.train.run import train_run
from sam.train.settings import resolve, to_tables
from sam.train.toml import to_toml
from tests.forks import ended, forked, load_data_parallel, meet
from tests.train.conftest import tiny_tables
from tests.train.together import Act

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and signals"),
    pytest.mark.skipif(not torch.distributed.is_available(), reason="needs torch.distributed"),
    pytest.mark.timeout(400),  # it compiles where nothing is kept from an earlier run
]
UPDATE = 7  # where something happens
LOST = "processes: expected an answer of every other process"


class Ended(NamedTuple):
    codes: list[int]
    told: list[str]


def train_two(
    folder: Path, act: Callable[[int], None], *, options: tuple[str, ...] = (), continued: int = -1
) -> Ended:
    """`sam train` in two processes.

    Args:
        folder: for the recipe and the run.
        act: called with the rank before the start.
        options: further ones of the second process.
        continued: rank of one that stops and goes on when the other has ended.
    """
    for name in ("tyro", "safetensors.torch", "matplotlib.figure"):
        pytest.importorskip(name)
    recipe = folder / "tiny.toml"
    config = resolve(tiny_tables(), "tiny")
    recipe.write_text(to_toml(to_tables(config)))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a forked process has no threads of this one
    try:
        train_run(config, folder / "first")  # what must be compiled is compiled here
        load_data_parallel()

        def in_rank(rank: int) -> int:
            meet(folder / "meeting", rank, 2, seconds=3)
            sys.stdout, sys.stderr = (
                (folder / f"{name}-{rank}").open("w") for name in ("out", "err")
            )
            act(rank)
            given = ["train", str(recipe), "--run", str(folder / "run"), *(options if rank else ())]
            return cli.main(given)

        children = [forked(lambda rank=rank: in_rank(rank)) for rank in (0, 1)]
        codes = {rank: ended(children[rank]) for rank in (0, 1) if rank != continued}
        if continued in (0, 1):
            os.kill(children[continued], signal.SIGCONT)
            codes[continued] = ended(children[continued])
    finally:
        torch.set_num_threads(threads)
    return Ended([codes[0], codes[1]], [(folder / f"err-{rank}").read_text() for rank in (0, 1)])


def assert_told(found: Ended, *expected: str) -> None:
    """Each process ended with code 2 and one line, which holds what was expected of it."""
    assert found.codes == [2, 2], found
    for rank, (line, text) in enumerate(zip(found.told, expected, strict=True)):
        assert line.startswith(f"sparse-sam: process {rank} of 2: error: ") and text in line
        assert line.count("\n") == 1 and line.endswith("\n")


def test_one_that_hangs(tmp_path: Path) -> None:
    def stop(rank: int) -> None:
        if rank == 1:
            there = Act(UPDATE, lambda: os.kill(os.getpid(), signal.SIGSTOP))
            cli.Reporter = lambda: there

    assert_told(train_two(tmp_path, stop, continued=1), LOST, LOST)
    assert load_run(tmp_path / "run")[2].update == UPDATE


def test_one_that_is_lost_within_an_update(tmp_path: Path) -> None:
    """What the first process saves is the update before, and no half of the next one."""

    def lose(rank: int) -> None:
        numbers = []

        def begin_update(processes: Processes, seed: int, number: int) -> None:
            numbers.append(number)

        def mean(processes: Processes, value: float | None, batch_size: int) -> float | None:
            if rank == 1 and numbers[-1] == UPDATE:
                os.kill(os.getpid(), signal.SIGKILL)
            return whole(processes, value, batch_size)

        whole, Processes.mean, Processes.begin_update = Processes.mean, mean, begin_update

    found = train_two(tmp_path, lose)
    assert found.codes == [2, -signal.SIGKILL] and LOST in found.told[0]
    assert load_run(tmp_path / "run")[2].update == UPDATE - 1
    train_run(resolve(tiny_tables(), "tiny"), tmp_path / "run", resume=True)


def test_one_that_meets_numbers_that_are_not_finite(tmp_path: Path) -> None:
    def spoil(rank: int) -> None:
        whole, number = Processes.share, 0

        def share(processes: Processes, batch: Batch) -> Batch:
            nonlocal number
            number += 1
            batch = whole(processes, batch)
            if rank == 1 and number == UPDATE:
                return batch._replace(inputs=batch.inputs * math.nan)
            return batch

        Processes.share = share

    assert_told(train_two(tmp_path, spoil), "", "inputs: expected")
    assert load_run(tmp_path / "run")[2].update in (5, UPDATE - 1)


def test_a_full_disk(tmp_path: Path) -> None:
    def fill(rank: int) -> None:
        whole = JsonLines.log

        def log(lines: JsonLines, record: dict) -> None:
            if record["update"] == UPDATE:
                raise OSError(errno.ENOSPC, "No space left on device", "metrics.jsonl")
            whole(lines, record)

        JsonLines.log = log

    assert_told(train_two(tmp_path, fill), "metrics.jsonl: No space left on device", LOST)
    assert load_run(tmp_path / "run")[2].update == 5


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--optimizer.lr", "0.5"), ("settings and checkpoint: expected the same",) * 2),
        (("--model.memry-size", "8"), (LOST, "memry-size")),
    ],
)
def test_unlike_settings(
    tmp_path: Path, options: tuple[str, ...], expected: tuple[str, str]
) -> None:
    assert_told(train_two(tmp_path, lambda rank: None, options=options), *expected)
    assert not (tmp_path / "run").exists()
