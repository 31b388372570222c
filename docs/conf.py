"""Settings of the site that `make docs` builds to build/docs; a warning is an error there.

The guides are the pages beside this file. README, CONTRIBUTING and CHANGELOG are included from the
root of the repository, and the API reference is made from the docstrings.
"""

import importlib
import os
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.ext.autodoc.mock import mock
from sphinx.transforms import SphinxTransform
from sphinx.util import inspect

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT))

project = "sparse-access-memory"
release = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = project
html_show_copyright = False
html_copy_source = False

default_role = "py:obj"  # `names` in docstrings are links where they name something public
add_module_names = False
python_maximum_signature_line_length = 88
autodoc_inherit_docstrings = False
autodoc_member_order = "bysource"
autodoc_mock_imports = ["tensordict", "torchrl"]  # for one page they would be much to install
autodoc_default_options = {"members": True, "show-inheritance": True}
myst_heading_anchors = 3

# Pages that show files from elsewhere in the repository; their links start at its root.
INCLUDED = {
    "README.md": "index",
    "CONTRIBUTING.md": "contributing",
    "CHANGELOG.md": "changelog",
    "examples": "examples",
}
# Modules of the API reference, a page each; what several of them export is on the first one's page.
MODULES = [path.stem for path in sorted((DOCS / "api").glob("*.md"))]
MODULES.sort(key=lambda name: name.count("."))


class RepositoryLinks(SphinxTransform):
    """Relative links to files of the repository, as GitHub follows them, made links of the site.

    A file that is a page leads there, one of `examples` to their page, and any other is offered
    for download. What does not exist is left alone, so that MyST warns about it.
    """

    default_priority = 400

    def apply(self, **_: Any) -> None:
        for node in list(self.document.findall(_is_file_link)):
            path, _, fragment = node["reftarget"].partition("#")
            if node["refdomain"] == "doc":
                path, fragment = f"{path}.md", node.get("reftargetid")
            docname = self.env.docname
            base = ROOT if docname in INCLUDED.values() else (DOCS / docname).parent
            target = (base / path).resolve()
            if not path or not target.exists() or not target.is_relative_to(ROOT):
                continue
            page = _page(target)
            if page is not None:
                where = {"refdomain": "doc", "reftarget": page, "reftargetid": fragment or None}
                link = addnodes.pending_xref("", **{**_kept(node), **where})
            elif target.is_file():
                where = {"reftarget": "/" + os.path.relpath(target, DOCS)}  # "/" is the folder docs
                link = addnodes.download_reference("", **{**_kept(node), **where})
            else:
                continue
            link += node.children
            node.replace_self(link)


def _is_file_link(node: nodes.Node) -> bool:
    kinds = (addnodes.pending_xref, addnodes.download_reference)
    return isinstance(node, kinds) and node.get("reftype") == "myst"


def _kept(node: nodes.Element) -> dict[str, Any]:
    return {key: node.get(key) for key in ("refdoc", "reftype", "refexplicit", "refdomain")}


def _page(target: Path) -> str | None:
    """The page that shows a file or folder of the repository, if there is one."""
    name = target.relative_to(ROOT)
    if name.parts[0] == "docs" and name.suffix == ".md":
        return target.relative_to(DOCS).with_suffix("").as_posix()
    return INCLUDED.get(name.as_posix()) or INCLUDED.get(name.parts[0])


def mark_code(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are plain text with `names`: indented code and formulas are shown as they stand,
    and the marks of reStructuredText mean nothing outside of backquotes."""
    # The first line of a property would be searched for a type.
    text = ["\\ "] if what == "property" else []
    last, in_code = "", False  # last: of the lines that are not indented
    for line in lines:
        indented = line.startswith(" ")
        if not line.strip():
            pass
        elif not indented:
            last, in_code = line, False
            line = _escaped(line)
        elif not in_code and text and not text[-1] and not re.fullmatch(r"[A-Z]\w*:", last):
            in_code = True
            if not last.endswith("::"):
                text += ["::", ""]
        elif not in_code:
            line = _escaped(line.lstrip() if last.startswith("Cost: ") else line)
        text.append(line)
    lines[:] = text


def _escaped(line: str) -> str:
    """With backslashes where a character of plain text would be a mark."""
    pieces = re.split(r"(``.+?``|`[^`]+`|(?<!\S)\*\w+\*(?!\w))", line)
    pieces[::2] = [re.sub(r"([*|]|_\b(?!\w))", r"\\\1", piece) for piece in pieces[::2]]
    for place in range(2, len(pieces), 2):
        if pieces[place][:1].isalnum():  # as in `name`s
            pieces[place] = f"\\ {pieces[place]}"
    # "size: N." is no item of a list.
    return re.sub(r"((?:^|: )\s*[A-Za-z])\.(?=\s|$)", r"\1\\.", "".join(pieces))


def true_signature(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str, returned: str
) -> tuple[str, str] | None:
    """That of `__init__`, also where a `__new__` takes anything; a protocol has none."""
    if what != "class" or "__init__" not in vars(obj):
        return None
    if getattr(obj, "_is_protocol", False):
        return "", ""
    found = inspect.signature(obj.__init__, bound_method=True)
    written = inspect.stringify_signature(
        found, show_return_annotation=False, unqualified_typehints=True
    )
    return written, ""


def leave_out(app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Leaves out what an earlier module's page has, and the fields of a NamedTuple, which have no
    docstrings and stand in its signature."""
    if type(obj).__name__ == "_tuplegetter":
        return True
    here = app.env.docname.removeprefix("api/")
    if what != "module" or here not in MODULES:
        return None
    with mock(autodoc_mock_imports):
        earlier = [importlib.import_module(module) for module in MODULES[: MODULES.index(here)]]
    known = any(name in _exported(module) and getattr(module, name) is obj for module in earlier)
    return True if known else None


def _exported(module: Any) -> list[str]:
    own = (name for name, obj in vars(module).items() if _is_own(module, obj))
    return getattr(module, "__all__", None) or [name for name in own if not name.startswith("_")]


def _is_own(module: Any, obj: Any) -> bool:
    return getattr(obj, "__module__", None) == module.__name__


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_transform(RepositoryLinks)
    app.connect("autodoc-process-docstring", mark_code, priority=400)  # before napoleon
    app.connect("autodoc-process-signature", true_signature)
    app.connect("autodoc-skip-member", leave_out)
    return {"parallel_read_safe": True}
