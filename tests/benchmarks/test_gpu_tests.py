"""The runner of the GPU tests, tried where there is no GPU."""

import json
from pathlib import Path

import pytest

from benchmarks.cuda import gpu_tests
from benchmarks.cuda.gpu_tests import ROOT, is_good, main, marked_files, run_file

TESTS = """
import pytest
pytestmark = pytest.mark.gpu
def test_right(): pass
def test_wrong(): assert 1 + 1 == 3
def test_left_out(): pytest.skip("why")
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "tests" / "gpu"
    folder.mkdir(parents=True)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = gpu: needs one\n")
    (folder / "test_some.py").write_text(TESTS)
    (folder.parent / "test_other.py").write_text("def test_nothing(): pass\n")
    return tmp_path


def test_without_a_gpu_it_says_so_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert main(["--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1 and not [*tmp_path.iterdir()]


def test_files_are_those_with_the_mark(checkout: Path) -> None:
    assert marked_files(checkout) == [checkout / "tests/gpu/test_some.py"]
    names = {str(path.relative_to(ROOT)) for path in marked_files(ROOT)}
    assert {"tests/gpu/test_models.py", "tests/benchmarks/test_cuda.py"} < names


def test_what_failed_is_written_after_each_file(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "a GPU")
    monkeypatch.setattr(gpu_tests, "ROOT", checkout)
    assert main(["--out", str(checkout)]) == 1
    written = json.loads((checkout / "gpu_tests.json").read_text())
    (found,) = written["files"]
    assert (found["file"], found["passed"], found["skipped"]) == ("tests/gpu/test_some.py", 1, 1)
    (failure,) = found["failures"]
    assert failure["test"] == "test_wrong" and "assert (1 + 1) == 3" in "\n".join(failure["end"])
    assert written["gpu"] == "a GPU" and "1 passed, test_wrong" in capsys.readouterr().out


def test_a_file_that_hangs_is_stopped(checkout: Path) -> None:
    slow = checkout / "tests/gpu/test_slow.py"
    slow.write_text("import time\ntime.sleep(60)\n")
    found = run_file(slow, checkout, 2)
    assert found["exit"] is None and not is_good(found)
