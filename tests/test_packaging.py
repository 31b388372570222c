"""The wheel holds all that is needed and nothing else, and works away from the checkout."""

import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
IMPORT_FROM_WHEEL = """
import json, sys
sys.path[:0] = [sys.argv[1]]
sys.path += json.loads(sys.argv[2])
import index, sam, sam.cli
print(json.dumps([index.__file__, sam.__file__, sam.cli.__file__]))
"""


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def built(kind: str, out: Path) -> Path:
    """Builds a distribution without network access."""
    command = [sys.executable, "-m", "build", f"--{kind}", "--no-isolation", "--outdir", str(out)]
    done = subprocess.run([*command, str(ROOT)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = out.iterdir()
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("wheel", tmp_path_factory.mktemp("wheel"))


def package_files() -> set[str]:
    """Files of the two packages in the checkout, without what Python leaves behind."""
    files = (path for name in ("sam", "index") for path in (ROOT / name).rglob("*"))
    return {
        path.relative_to(ROOT).as_posix()
        for path in files
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_wheel_holds_exactly_the_packages(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    content = {name for name in names if ".dist-info/" not in name}
    assert content == package_files()
    assert {"sam/__init__.py", "index/__init__.py", "sam/py.typed", "index/py.typed"} <= content
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_wheel_holds_the_recipes(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    recipes = {path.name for path in (ROOT / "sam/train/recipes").glob("*.toml")}
    assert recipes
    assert recipes == {Path(n).name for n in names if n.startswith("sam/train/recipes/")}


def test_wheel_names_the_command(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (entry,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
    assert "sparse-sam = sam.cli:main" in archive.read(entry).decode()


def test_wheel_imports_from_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    unpacked, empty = tmp_path / "unpacked", tmp_path / "empty"
    empty.mkdir()
    zipfile.ZipFile(wheel).extractall(unpacked)
    # -S skips .pth files, so an editable install cannot lend the checkout; the folders that hold
    # torch and numpy are handed over by name.
    libraries = json.dumps(sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}))
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", IMPORT_FROM_WHEEL, str(unpacked), libraries],
        cwd=empty,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for file in json.loads(done.stdout):
        assert Path(file).is_relative_to(unpacked), file


def test_the_source_holds_what_contributors_need(tmp_path: Path) -> None:
    with tarfile.open(built("sdist", tmp_path)) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"CONTRIBUTING.md", "CHANGELOG.md", "CITATION.cff", "LICENSE", "Makefile"} <= names
    for folder in ("examples", "docs", "tests", "benchmarks"):
        files = [path for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".md")]
        assert {path.relative_to(ROOT).as_posix() for path in files} <= names, folder


def test_the_citation_agrees_with_the_project() -> None:
    """Line by line: the file is plain enough to be read without a YAML parser."""
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    top = dict(re.findall(r"^([\w-]+): (.+)$", text, re.MULTILINE))
    assert top["cff-version"] == "1.2.0" and top["type"] == "software"
    assert top["title"] == PROJECT["name"]
    assert top["version"] == PROJECT["version"]
    assert top["license"] == PROJECT["license"]
    assert "  - name: The sparse-access-memory contributors" in text
    assert re.search(r"^references:\n  - type: conference-paper$", text, re.MULTILINE)
    assert "Scaling Memory-Augmented Neural Networks" in text and "year: 2016" in text


def test_the_changelog_begins_with_what_is_not_released() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    assert PROJECT["version"] in text
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.+)$", text, re.MULTILINE)) <= kinds
