"""What CONTRIBUTING.md shows works as it stands: its test files pass, its links lead somewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^```python\n# (test_\w+\.py)\n(.*?)^```$", TEXT, re.M | re.S))


def test_each_kind_of_part_has_a_test_file() -> None:
    parts = ("last_words", "pocket", "projection", "reverse")
    assert [*FILES] == [f"test_{name}.py" for name in parts]
    assert TEXT.count("```python") == len(FILES)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What pytest says of all of them, run at once: to begin takes longer than the tests."""
    folder = tmp_path_factory.mktemp("files")
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "pytest.ini").write_text(f"[pytest]\npythonpath = {ROOT}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-W", "error"]
    threads = os.environ | {"OMP_NUM_THREADS": "1"}  # the tests are small
    done = subprocess.run(command, cwd=folder, env=threads, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("name", FILES)
def test_the_test_files_pass(name: str, told: str) -> None:
    ends = re.findall(rf"^{name}::\S+.* (PASSED|FAILED|ERROR|SKIPPED)", told, re.MULTILINE)
    assert "PASSED" in ends and {*ends} <= {"PASSED", "SKIPPED"}, told
    assert not re.search(rf"^(FAILED|ERROR) {name}", told, re.MULTILINE), told


def test_what_is_named_exists() -> None:
    links = re.findall(r"\]\((?!http)([^)]+)\)", TEXT)
    links += re.findall(r"`((?:sam|index|tests)/[\w/.]+)`", TEXT)
    assert [link for link in links if not (ROOT / link).exists()] == []
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^make (\w+)", TEXT, re.MULTILINE)
    assert targets == ["test", "lint", "demo", "bench", "gpu"]
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
