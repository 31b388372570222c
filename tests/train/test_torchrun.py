"""`torchrun -m sam train`, with one of its processes killed, and the run resumed."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from sam.train.folder import load_run
from sam.train.settings import resolve, to_tables
from sam.train.toml import to_toml
from tests.train.conftest import tiny_tables

ROOT = Path(__file__).parents[2]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not Path("/proc").is_dir() or not torch.distributed.is_available(),
        reason="needs /proc and torch.distributed",
    ),
]


def children(pid: int) -> dict[str, int]:
    """Processes that torchrun started, by their rank."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                given = (folder / "environ").read_bytes().split(b"\0")
                found |= {
                    entry.removeprefix(b"RANK=").decode(): int(folder.name)
                    for entry in given
                    if entry.startswith(b"RANK=")
                }
    return found


def test_a_killed_process_ends_all_and_the_run_resumes(tmp_path: Path) -> None:
    recipe, run = tmp_path / "tiny.toml", tmp_path / "run"
    metrics = run / "metrics.jsonl"
    recipe.write_text(to_toml(to_tables(resolve(tiny_tables(), "tiny"))))
    updates = ["--train.max-updates", "100000", "--train.checkpoint-every", "1000"]
    command = [*TORCHRUN, "-m", "--", "sam", "train", str(recipe), "--run", str(run), *updates]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as trained:
        try:
            while not metrics.exists() or not metrics.stat().st_size:
                assert trained.poll() is None, trained.stderr.read()
                time.sleep(0.1)
            os.kill(children(trained.pid)["1"], signal.SIGKILL)
            _, errors = trained.communicate(timeout=60)
        finally:
            trained.kill()
    assert trained.returncode != 0
    ours = [line for line in errors.splitlines() if line.startswith("sparse-sam:")]
    assert len(ours) <= 1, errors  # none where torchrun was quicker to end it
    assert all("process 0 of 2: error: processes: expected an answer" in line for line in ours)
    assert "sparse_access_memory" not in errors and "sam/train" not in errors, errors
    done = load_run(run)[2].update
    until = ["--train.max-updates", str(done + 5)]
    again = subprocess.run(
        [*TORCHRUN, "-m", "sam", "train", "--resume", str(run), *until],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("updates in") == 1, "only one process speaks"
    assert load_run(run)[2].update == done + 5
    assert (run / "summary.json").exists()
