"""A first run as in a container: no home, packages that cannot be written to, an unprivileged user.

Nothing can be kept, so all is compiled at every start, and that is said once.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOBODY = 65534
# Becomes that user, who may read what root may, wherever Python is installed; but write nowhere.
START = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
KEEP_CAPABILITIES, VERSION, READ = 8, 0x20080522, 1 << 2
libc.prctl(KEEP_CAPABILITIES, 1, 0, 0, 0)
os.setgroups([])
os.setgid(int(sys.argv[1]))
os.setuid(int(sys.argv[1]))
if libc.capset((ctypes.c_uint32 * 2)(VERSION, 0), (ctypes.c_uint32 * 6)(READ, READ)):
    raise OSError(ctypes.get_errno(), "capset")
import sam
from sam.cli import main
assert sam.__file__.startswith(sys.argv[2]), sam.__file__
assert not os.access(sam.__file__, os.W_OK)
assert main(["info", "--model", "sam"]) == 0
sizes = ["--train.max-updates", "3", "--train.log-every", "1", "--train.batch-size", "2"]
few = ["--task.max-length", "2", "--eval.levels", "2", "--eval.count", "2"]
sys.exit(main(["train", "copy", *sizes, *few, "--run", "first"]))
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),  # compiling is part of it
    pytest.mark.skipif(
        not sys.platform.startswith("linux") or os.geteuid() != 0,
        reason="needs root on Linux, to become somebody else",
    ),
]


def test_a_first_run_trains(tmp_path: Path) -> None:
    installed, work = tmp_path / "installed", tmp_path / "work"
    for name in ("sam", "index"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, installed / name, ignore=ignored)
    for path in (installed, *installed.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    work.mkdir()
    os.chown(work, NOBODY, NOBODY)
    before = sorted(installed.rglob("*"))
    done = subprocess.run(
        [sys.executable, "-c", START, str(NOBODY), str(installed)],
        cwd=work,
        env={"PATH": os.defpath, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=880,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    if "compiling for this machine" in done.stderr:  # numba is installed
        assert done.stderr.count("compiled code cannot be kept") == 1
    lines = (work / "first" / "metrics.jsonl").read_text().splitlines()
    updates = [record for line in lines if "loss" in (record := json.loads(line))]
    assert len(updates) >= 3
    assert sorted(installed.rglob("*")) == before
