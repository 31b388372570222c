"""The tests with other versions of Python, torch and NumPy: ``python -m tests.matrix``.

Each combination gets an environment of its own in a temporary folder, which takes some gigabytes
while it is there. What came out is written to ``benchmarks/results/matrix.json`` after each one.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

from benchmarks.harness import RESULTS, circumstances, write_json
from benchmarks.tables.matrix_table import FILE, read_rows

ROOT = Path(__file__).parents[1]
EXTRAS = ("train", "fast", "faiss", "dev")
NOT_NEEDED = ("ruff", "pyright")  # they look at the code, whatever it runs with
QUICK = (
    "tests/index/test_contract.py",
    "tests/index/test_files.py",
    "tests/memory/test_sam_reference.py",
    "tests/memory/test_sdnc_reference.py",
    "tests/memory/test_dnc_reference.py",
    "tests/models/test_contract.py",
    "tests/models/test_contract_state.py",
    "tests/models/test_saved_models.py",
    "tests/models/test_saved_states.py",
    "tests/fast/test_gradients.py",
    "tests/ops/test_dense.py",
    "tests/store/test_word_store.py",
    "tests/test_private_torch.py",
    "tests/train/test_checkpoint.py",
    "tests/train/test_resume.py",
)


class Combination(NamedTuple):
    """Versions to install; what is "" is left to pip, which takes the newest that fits."""

    python: str
    torch: str
    numpy: str


COMBINATIONS = (
    Combination("3.11", "2.6.0", "2.0.2"),
    Combination("3.11", "2.13.0", "2.4.6"),
    Combination("3.12", "2.13.0", "2.0.2"),
    Combination("3.13", "", ""),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Tries all combinations, or those that are named; 1 if a test failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a part of the tests, some minutes")
    parser.add_argument(
        "--only",
        metavar="PYTHON,TORCH,NUMPY",
        nargs="+",
        help="these combinations, such as 3.11,2.6.0,2.0.2; others keep their earlier results",
    )
    parser.add_argument(
        "--keep",
        metavar="FOLDER",
        type=Path,
        help="where environments stay for another time; each takes some gigabytes",
    )
    given = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(given)
    chosen = COMBINATIONS
    if options.only:
        chosen = tuple(Combination(*text.split(",")) for text in options.only)
    typed = ["--quick"] if options.quick else []
    origin, rows = circumstances("tests.matrix", typed), read_rows(RESULTS)
    failed = False
    for combination in chosen:
        print(f"{combination}: ...", flush=True)
        found = tried(combination, options.quick, options.keep)
        row = {"asked": [*combination], "quick": options.quick, **found}
        print(row, flush=True)
        failed |= bool(row.get("failed", 1))
        rows = [other for other in rows if other["asked"] != row["asked"]] + [row]
        write_json(RESULTS / FILE, origin | {"rows": rows})
    return int(failed)


def tried(combination: Combination, quick: bool, keep: Path | None = None) -> dict[str, Any]:
    """Versions, counts and seconds; or in "trouble" why there are none.

    Args:
        combination: what to install.
        quick: whether to run a part of the tests.
        keep: where the environment stays; by default it goes afterwards.
    """
    python = shutil.which(f"python{combination.python}")
    if python is None or subprocess.run([python, "-c", ""], capture_output=True).returncode:
        return {"trouble": f"no Python {combination.python} here"}
    with ExitStack() as leaving:
        if keep is None:
            folder = leaving.enter_context(tempfile.TemporaryDirectory(prefix="matrix-"))
        else:
            folder = keep / "-".join(version or "newest" for version in combination)
        own = Path(folder) / "bin" / "python"
        if not own.exists():
            subprocess.run([python, "-m", "venv", folder], check=True)
        command = [own, "-m", "pip", "install", "-q", *requirements(combination)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            return {"trouble": f"pip: {done.stderr.strip().splitlines()[-1]}"}
        start = time.monotonic()
        counts = tested(own, Path(folder) / "report.xml", quick)
        seconds = round(time.monotonic() - start)
        return {"versions": versions(own), **counts, "seconds": seconds}


def requirements(combination: Combination) -> list[str]:
    """What pip is asked for: the extras' packages as pyproject.toml has them, without our own."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [line for name in EXTRAS for line in project["optional-dependencies"][name]]
    named = {"torch": combination.torch, "numpy": combination.numpy}
    pins = [f"{name}=={version}" if version else name for name, version in named.items()]
    return pins + [line for line in extras if not line.startswith(NOT_NEEDED)]


def tested(python: Path, report: Path, quick: bool) -> dict[str, Any]:
    """How many tests passed, failed and were skipped, and the names of those that failed."""
    paths = QUICK if quick else ("tests",)
    subprocess.run(
        [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *paths],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=sys.stderr,
    )
    if not report.exists():
        return {"trouble": "pytest did not end"}
    return counted(report)


def counted(report: Path) -> dict[str, Any]:
    """What a report of pytest comes to."""
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    names = []
    for case in ElementTree.parse(report).iter("testcase"):
        kinds = {part.tag for part in case}
        if kinds & {"failure", "error"}:
            counts["failed"] += 1
            names.append(f"{case.get('classname')}::{case.get('name')}")
        else:
            counts["skipped" if "skipped" in kinds else "passed"] += 1
    return {**counts, "failures": names[:50]}


def versions(python: Path) -> dict[str, str]:
    """What is installed there."""
    code = (
        "import platform, torch, numpy; "
        "print(platform.python_version(), torch.__version__, numpy.__version__)"
    )
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return dict(zip(("python", "torch", "numpy"), done.stdout.split(), strict=True))


if __name__ == "__main__":
    sys.exit(main())
