"""kill -9 on a real process, five times at random moments, then compared with an unbroken run."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sam.train.run import train_run
from sam.train.settings import to_tables
from sam.train.toml import to_toml
from sam.train.train_config import RunConfig

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
ROOT = Path(__file__).parents[2]
# One interpreter imports torch once and forks a process per line it is sent, because importing
# takes longer than all the training. It tells the process's number, then what ended it.
TRAINER = """
import os, sys
from pathlib import Path
import torch
from sam.train import read_recipe, resolve, train_run
torch.set_num_threads(1)
config = resolve(*read_recipe(sys.argv[1]))
for line in sys.stdin:
    child = os.fork()
    if not child:
        train_run(config, Path(sys.argv[2]), resume=line == "resume\\n")
        os._exit(0)
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
"""


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_five_kills(
    tiny: Callable[..., RunConfig],
    tmp_path: Path,
    assert_equal_runs: Callable[[Path, Path], None],
) -> None:
    config = tiny(task={"max_length": 1}, train={"max_updates": 300, "checkpoint_every": 10})
    recipe, broken = tmp_path / "recipe.toml", tmp_path / "broken"
    recipe.write_text(to_toml(to_tables(config)))
    metrics = broken / "metrics.jsonl"
    draw = random.Random(0)
    ends = []
    with subprocess.Popen(
        [sys.executable, "-c", TRAINER, str(recipe), str(broken)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as trainer:
        assert trainer.stdin is not None and trainer.stdout is not None
        for order in ("start", *["resume"] * 4):
            # Counted in updates, so that no machine is fast enough to finish before the last kill.
            until = lines(metrics) + draw.randrange(1, 40)
            print(order, file=trainer.stdin, flush=True)
            child = int(trainer.stdout.readline())
            while lines(metrics) < until:
                time.sleep(draw.uniform(0.001, 0.01))
            os.kill(child, signal.SIGKILL)
            ends.append(int(trainer.stdout.readline()))
        trainer.stdin.close()
    assert ends == [signal.SIGKILL] * 5
    train_run(config, broken, resume=True)
    train_run(config, tmp_path / "whole")
    assert_equal_runs(tmp_path / "whole", broken)
