"""The wheel holds all that is needed and nothing else, and works away from the checkout."""

import json
import os
import subprocess
import sys
import sysconfig
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


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Builds the wheel without network access."""
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out)]
    done = subprocess.run([*command, str(ROOT)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = out.glob("*.whl")
    return built


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
