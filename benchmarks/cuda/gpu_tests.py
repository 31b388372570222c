"""The tests that need a GPU, file by file: ``python -m benchmarks.cuda.gpu_tests``, minutes.

Each file runs in a process of its own, so that an error of the device in one does not fail the
next. Writes gpu_tests.json after each, with what failed and the last lines about it.
"""

import argparse
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness import RESULTS, circumstances, positive, write_json

FILE = "gpu_tests.json"
ROOT = Path(__file__).parents[2]
_LINES = 12  # kept of what is said about a failure


def marked_files(root: Path) -> list[Path]:
    """The test files with tests on a CUDA device: those of tests/gpu, and others with its mark."""
    tests = sorted((root / "tests").rglob("test_*.py"))
    words = "pytest.mark.gpu", "device: torch.device"
    return [
        path
        for path in tests
        if path.parent.name == "gpu" or any(word in path.read_text() for word in words)
    ]


def outcome(report: Path) -> dict[str, Any]:
    """Counts and failures of a JUnit file that pytest wrote."""
    found: dict[str, Any] = {"passed": 0, "skipped": 0, "failures": []}
    for case in ElementTree.parse(report).iter("testcase"):
        wrong = [*case.findall("failure"), *case.findall("error")]
        if wrong:
            lines = (wrong[0].text or wrong[0].get("message") or "").strip().splitlines()
            found["failures"].append({"test": case.get("name"), "end": lines[-_LINES:]})
        elif case.find("skipped") is not None:
            found["skipped"] += 1
        else:
            found["passed"] += 1
    return found


def run_file(path: Path, root: Path, seconds: int) -> dict[str, Any]:
    """Runs the tests of a file that are marked as needing a GPU.

    Args:
        path: of the file.
        root: of the checkout.
        seconds: after which it is stopped.

    Returns:
        Its name, wall time, and `outcome`; or how the process ended, if it wrote none.
    """
    name, began = str(path.relative_to(root)), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        options = "-q", "-m", "gpu", "-p", "no:cacheprovider", f"--junitxml={report}"
        try:
            done = subprocess.run(
                [sys.executable, "-m", "pytest", *options, name],
                cwd=root,
                capture_output=True,
                text=True,
                timeout=seconds,
                check=False,
            )
            end = (done.stdout + done.stderr).splitlines()[-_LINES:]
            ended: dict[str, Any] = {"exit": done.returncode, "end": end}
        except subprocess.TimeoutExpired:
            ended = {"exit": None, "end": [f"stopped after {seconds} s"]}
        found = outcome(report) if report.exists() else ended
    return {"file": name, "seconds": round(time.perf_counter() - began, 1)} | found


def is_good(found: dict[str, Any]) -> bool:
    """Whether a file's tests ran, and none failed; 5 is pytest's word for none selected."""
    return found.get("exit", 0) in (0, 5) and not found.get("failures")


def main(arguments: Sequence[str]) -> int:
    """Runs, writes, prints; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cuda.gpu_tests")
    parser.add_argument("--seconds", type=positive, default=180, help="limit of each file")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder to write to")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        why = "no CUDA device on this machine, nothing tested"
        print(f"benchmarks.cuda.gpu_tests: {why}", file=sys.stderr)
        return 1
    results = circumstances("benchmarks.cuda.gpu_tests", arguments)
    results |= {"gpu": torch.cuda.get_device_name(), "files": []}
    for path in marked_files(ROOT):
        found = run_file(path, ROOT, options.seconds)
        results["files"].append(found)
        write_json(options.out / FILE, results)
        failed = [failure["test"] for failure in found.get("failures", [])]
        said = found["end"][-1:] if "exit" in found else [f"{found['passed']} passed", *failed]
        print(f"{found['file']}: {', '.join(said)} ({found['seconds']} s)", flush=True)
    print(options.out / FILE)
    return 0 if all(map(is_good, results["files"])) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
