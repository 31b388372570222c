"""The site of `make docs` shows every page of docs and every public name; built where Sphinx is."""

import ast
import importlib
import importlib.util
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import index
import sam

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
INDEX = (DOCS / "index.md").read_text(encoding="utf-8")
CONF = (DOCS / "conf.py").read_text(encoding="utf-8")
REFERENCE = [path.stem for path in sorted((DOCS / "api").glob("*.md"))]
# Parts of the library that a user does not import: how it is fast, and what makes the tests.
INTERNAL = ("sam.fast", "sam.store", "index.kernels", "index.bench", "sam.train.sweep")


def contents() -> list[str]:
    """The pages in the tables of contents of the front page."""
    tables = re.findall(r"^```\{toctree\}\n(.*?)^```$", INDEX, re.DOTALL | re.MULTILINE)
    return [line for table in tables for line in table.split("\n") if line and line[0] != ":"]


def public_packages(package: ModuleType) -> list[str]:
    """The package and those below it that say what they export."""
    found = [package.__name__] if hasattr(package, "__all__") else []
    for part in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        if part.ispkg and part.name not in INTERNAL:
            found += public_packages(importlib.import_module(part.name))
    return found


def test_the_contents_name_every_page_once() -> None:
    pages = {path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.md")}
    assert sorted(contents()) == sorted(pages - {"index"})


def test_what_is_shown_from_elsewhere_exists() -> None:
    included = re.findall(r'^    "([\w.]+)": "(\w+)",$', CONF, re.MULTILINE)
    assert {page for _, page in included} == {"index", "contributing", "changelog", "examples"}
    for name, page in included:
        text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
        shown = set(re.findall(r"^```\{(?:literal)?include\} \.\./(\S+)$", text, re.MULTILINE))
        source = ROOT / name
        files = source.glob("*.py") if source.is_dir() else [source]
        assert shown == {file.relative_to(ROOT).as_posix() for file in files}, page


def test_every_public_package_has_a_page() -> None:
    assert {*public_packages(sam), *public_packages(index)} <= set(REFERENCE)


@pytest.mark.parametrize("name", REFERENCE)
def test_a_page_of_the_reference_is_of_its_module(name: str) -> None:
    text = (DOCS / "api" / f"{name}.md").read_text(encoding="utf-8")
    assert re.findall(r"automodule:: (\S+)", text) == [name]
    spec = importlib.util.find_spec(name)  # an import may need an extra
    assert spec is not None and spec.origin is not None
    assert ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8")))


@pytest.mark.skipif(importlib.util.find_spec("sphinx") is None, reason="needs the extra docs")
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "html", str(DOCS), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("index.html", "contributing.html", "api/sam.html"):
        assert (tmp_path / name).exists()
    # Of several modules that export a name, one page has it.
    pages = [page.read_text(encoding="utf-8") for page in (tmp_path / "api").glob("*.html")]
    shown = [
        name for text in pages for name in re.findall(r'<dt class="sig[^>]* id="([^"]+)"', text)
    ]
    assert len(shown) == len(set(shown))
    assert {"sam.SAM", "index.IndexConfig", "sam.CellState.rows", "sam.ops.erase_add"} <= set(shown)
