"""What CONTRIBUTING.md shows works as it stands: its test files pass, its links lead somewhere."""

import importlib.util
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


@pytest.mark.parametrize("name", FILES)
def test_the_test_files_pass(name: str, tmp_path: Path) -> None:
    if "index.testing" in FILES[name] and importlib.util.find_spec("index.testing") is None:
        pytest.skip("there is no index.testing")
    (tmp_path / name).write_text(FILES[name], encoding="utf-8")
    (tmp_path / "pytest.ini").write_text(f"[pytest]\npythonpath = {ROOT}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", name]
    threads = os.environ | {"OMP_NUM_THREADS": "1"}  # the tests are small
    done = subprocess.run(command, cwd=tmp_path, env=threads, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout and "failed" not in done.stdout


def test_what_is_named_exists() -> None:
    links = re.findall(r"\]\((?!http)([^)]+)\)", TEXT)
    links += re.findall(r"`((?:sam|index|tests)/[\w/.]+)`", TEXT)
    assert [link for link in links if not (ROOT / link).exists()] == []
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^make (\w+)", TEXT, re.MULTILINE)
    assert targets == ["test", "lint", "demo", "bench", "gpu"]
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
