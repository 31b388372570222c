"""Imports point one way, file by file, and importing the library loads nothing optional."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# A file may import files of its own floor and of lower ones, as long as there is no circle.
# `sam.tasks` obeys its own rule.
FLOORS = (
    ("index",),
    (
        *("sam.errors", "sam.shape_checks", "sam.setting_checks", "sam.once_differentiable"),
        *("sam.state", "sam.row_numbers", "sam.state_rows", "sam.inputs", "sam.available"),
        *("sam.customized", "sam.private_torch", "sam.recurrent_module", "sam.uncompiled"),
        *("sam.transforms", "sam.state_checks"),
        "sam.plugins",
    ),
    ("sam.store",),
    ("sam.ops",),
    ("sam.memory",),
    (
        *("sam.interface", "sam.controller", "sam.cell", "sam.journal", "sam.past_states"),
        *("sam.trace", "sam.state_text", "sam.state_files", "sam.monitor"),
    ),
    ("sam.fast",),
    ("sam.embedding", "sam.network"),
    ("sam.models",),
    ("sam.optim",),
    ("sam",),  # the public names: `import sam` must not reach the training code
    ("sam.integrations",),
    ("sam.testing",),
    ("sam.tasks",),
    ("sam.train",),
    ("sam.cli",),
    ("sam.__main__",),
)
RANKS = {name: rank for rank, names in enumerate(FLOORS) for name in names}
# And `index.base`: words on disk are data.
TASKS_MAY_IMPORT = (
    *("sam.tasks", "sam.shape_checks", "sam.setting_checks", "sam.errors", "sam.available"),
    "sam.plugins",
)
OPTIONAL = (
    *("faiss", "numba", "matplotlib", "tyro", "rich", "safetensors", "tensorboard", "tomli_w"),
    *("torchrl", "qdrant_client"),
)


def room(module: str) -> str:
    """The entry of FLOORS that a module belongs to."""
    parts = module.split(".")
    name = parts[0] if parts[0] == "index" else ".".join(parts[:2])
    if name not in RANKS:
        raise AssertionError(f"{module} is on no floor of this test: place it in FLOORS")
    return name


def files_below(root: Path) -> dict[str, Path]:
    """Our files by the name of their module."""
    files = [*root.glob("sam/**/*.py"), *root.glob("index/**/*.py")]
    names = (".".join(file.relative_to(root).with_suffix("").parts) for file in files)
    return dict(sorted(zip((n.removesuffix(".__init__") for n in names), files, strict=True)))


def imported(module: str, file: Path, known: set[str]) -> Iterator[str]:
    """Modules of ours that a file imports: at the top, inside a function, or for types alone."""
    package = module.split(".") if file.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            # `from sam import ops` means sam.ops, `from sam import SAM` means sam.
            inner = (f"{base}.{alias.name}" for alias in node.names)
            names = [name if name in known or name in RANKS else base for name in inner]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] in ("sam", "index"))


def arrows(root: Path) -> dict[str, set[str]]:
    """For every module below `root` those that it imports."""
    files = files_below(root)
    known = {*files}
    return {module: {*imported(module, file, known)} for module, file in files.items()}


def wrong_arrows(root: Path) -> list[str]:
    """Every import below `root` that points up, as text."""
    wrong = []
    for module, targets in arrows(root).items():
        source = room(module)
        for target in sorted(targets):
            if source == "sam.tasks":
                allowed = room(target) in TASKS_MAY_IMPORT or target.startswith("index.base")
            else:
                allowed = RANKS[room(target)] <= RANKS[source]
            if not allowed:
                wrong.append(f"{module} imports {target}")
    return wrong


def circles(root: Path) -> list[list[str]]:
    """Groups of modules below `root` that import one another, directly or by way of others."""
    graph = arrows(root)
    reached = {module: _reached_from(module, graph) for module in graph}
    groups = {
        tuple(sorted(other for other in reached[module] if module in reached.get(other, ())))
        for module in graph
        if module in reached[module]
    }
    return [[*group] for group in sorted(groups)]


def _reached_from(module: str, graph: dict[str, set[str]]) -> set[str]:
    """All modules that importing one brings in."""
    found: set[str] = set()
    ahead = [*graph[module]]
    while ahead:
        target = ahead.pop()
        if target not in found:
            found.add(target)
            ahead += graph.get(target, ())
    return found


def test_imports_point_one_way() -> None:
    assert len(list(ROOT.glob("index/*.py"))) > 3
    assert wrong_arrows(ROOT) == []


def test_no_files_import_one_another_in_a_circle() -> None:
    assert circles(ROOT) == []


def test_plain_rooms_know_nothing_of_fast_ones() -> None:
    """Nothing below `sam.fast` imports it, nor the switch between forms."""
    for module, targets in arrows(ROOT).items():
        if module.startswith("sam") and RANKS[room(module)] < RANKS["sam.fast"]:
            assert "index.compiled" not in targets, module
    for module, targets in arrows(ROOT).items():
        if module.startswith("sam.fast.loops."):
            inside = ("index.compiled", "index.inner_code", "index.llvm", "sam.fast.loops")
            assert all(target.startswith(inside) for target in targets), module


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.mark.parametrize(
    ("file", "line", "expected"),
    [
        ("index/exact.py", "from sam.ops import x", "index.exact imports sam.ops"),
        ("sam/ops/a.py", "import sam.memory.sam", "sam.ops.a imports sam.memory.sam"),
        ("sam/ops/a.py", "from ..memory import sam", "sam.ops.a imports sam.memory"),
        ("sam/ops/a.py", "from sam.fast import x", "sam.ops.a imports sam.fast"),
        ("sam/memory/a.py", "from sam import cell", "sam.memory.a imports sam.cell"),
        ("sam/cell.py", "def f():\n    import sam.fast.a", "sam.cell imports sam.fast.a"),
        ("sam/fast/a.py", "from sam.network import x", "sam.fast.a imports sam.network"),
        ("sam/models.py", "from sam import SAM", "sam.models imports sam"),
        ("sam/__init__.py", "from sam.train import loop", "sam imports sam.train"),
        ("sam/train/a.py", "def f():\n    import sam.cli", "sam.train.a imports sam.cli"),
        ("sam/tasks/a.py", "from sam.state import x", "sam.tasks.a imports sam.state"),
        ("sam/tasks/a.py", "import index", "sam.tasks.a imports index"),
    ],
)
def test_a_wrong_arrow_is_found(tmp_path: Path, file: str, line: str, expected: str) -> None:
    write(tmp_path, {file: line})
    assert wrong_arrows(tmp_path) == [expected]


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("sam/ops/a.py", "from index import make_index\nfrom sam.store.buffer import Buffer"),
        (
            "sam/tasks/a.py",
            "from sam.shape_checks import check_shape\nfrom sam.tasks.task import Batch",
        ),
        ("sam/train/a.py", "import sam\nfrom sam.tasks import copy\nfrom sam.models import SAM"),
    ],
)
def test_a_right_arrow_passes(tmp_path: Path, file: str, line: str) -> None:
    write(tmp_path, {file: line})
    assert wrong_arrows(tmp_path) == [] and circles(tmp_path) == []


TYPES = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    "


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (
            {"index/a.py": "import index.b", "index/b.py": "from index.a import x"},
            ["index.a", "index.b"],
        ),
        (
            {
                "sam/ops/a.py": "from sam.ops import b",
                "sam/ops/b.py": "def f():\n    import sam.ops.a",
            },
            ["sam.ops.a", "sam.ops.b"],
        ),
        (
            {"sam/cell.py": TYPES + "import sam.trace", "sam/trace.py": "from sam.cell import x"},
            ["sam.cell", "sam.trace"],
        ),
        (
            {f"index/{a}.py": f"from .{b} import x" for a, b in ("ab", "bc", "ca", "da")},
            ["index.a", "index.b", "index.c"],
        ),
        (
            {"index/__init__.py": "from index.a import x", "index/a.py": "from index import y"},
            ["index", "index.a"],
        ),
    ],
    ids=["two", "inside a function", "for types", "three", "a package"],
)
def test_a_circle_is_found(tmp_path: Path, files: dict[str, str], expected: list[str]) -> None:
    write(tmp_path, files)
    assert circles(tmp_path) == [expected]


def loaded_after(statement: str, candidates: tuple[str, ...]) -> list[str]:
    """Which of the candidates a fresh interpreter has loaded after the statement."""
    code = f"{statement}\nimport sys\nprint(*[m for m in {candidates!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_importing_sam_loads_nothing_optional() -> None:
    assert loaded_after("import sam", (*OPTIONAL, "sam.train", "sam.cli")) == []


def test_importing_index_loads_nothing_of_sam() -> None:
    assert loaded_after("import index", ("index", "sam", *OPTIONAL)) == ["index"]
