"""Imports point one way, and importing the library loads nothing optional."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# A module may import modules of its own layer and of lower ones. `sam.tasks` obeys its own rule.
LAYERS = (
    ("index",),
    (
        "sam.errors",
        "sam.shape_checks",
        "sam.setting_checks",
        "sam.once_differentiable",
        "sam.state",
        "sam.inputs",
        "sam.available",
        "sam.customized",
        "sam.private_torch",
        "sam.transforms",
    ),
    ("sam.store",),
    ("sam.ops", "sam.fast"),
    ("sam.memory",),
    (
        *("sam.interface", "sam.controller", "sam.cell", "sam.network"),
        *("sam.trace", "sam.state_checks", "sam.state_files", "sam.monitor"),
    ),
    ("sam.models",),
    ("sam",),  # the public names: `import sam` must not reach the training code
    ("sam.tasks",),
    ("sam.train", "sam.sweep"),
    ("sam.cli",),
    ("sam.__main__",),
)
RANKS = {name: rank for rank, names in enumerate(LAYERS) for name in names}
TASKS_MAY_IMPORT = ("sam.tasks", "sam.shape_checks", "sam.errors", "sam.available")
OPTIONAL = ("faiss", "numba", "matplotlib", "tyro", "rich", "safetensors", "tensorboard")


def room(module: str) -> str:
    """The entry of LAYERS that a module belongs to."""
    parts = module.split(".")
    name = parts[0] if parts[0] == "index" else ".".join(parts[:2])
    if name not in RANKS:
        raise AssertionError(f"{module} is in no layer of this test: place it in LAYERS")
    return name


def imported(file: Path, root: Path) -> Iterator[str]:
    """Modules of ours that a file imports, at the top or inside a function."""
    package = [*file.relative_to(root).parts[:-1]]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names = [base]
            if base == "sam":  # `from sam import ops` means sam.ops, `from sam import SAM` sam
                names = [n if n in RANKS else base for n in (f"sam.{a.name}" for a in node.names)]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] in ("sam", "index"))


def wrong_arrows(root: Path) -> list[str]:
    """Every import below `root` that points the wrong way, as text."""
    wrong = []
    for file in sorted([*root.glob("sam/**/*.py"), *root.glob("index/**/*.py")]):
        module = ".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        source = room(module)
        for target in imported(file, root):
            if source == "sam.tasks":
                allowed = room(target) in TASKS_MAY_IMPORT
            else:
                allowed = RANKS[room(target)] <= RANKS[source]
            if not allowed:
                wrong.append(f"{module} imports {target}")
    return wrong


def test_imports_point_one_way() -> None:
    assert len(list(ROOT.glob("index/*.py"))) > 3
    assert wrong_arrows(ROOT) == []


@pytest.mark.parametrize(
    ("file", "line", "expected"),
    [
        ("index/exact.py", "from sam.ops import x", "index.exact imports sam.ops"),
        ("sam/ops/a.py", "import sam.memory.sam", "sam.ops.a imports sam.memory.sam"),
        ("sam/ops/a.py", "from ..memory import sam", "sam.ops.a imports sam.memory"),
        ("sam/memory/a.py", "from sam import cell", "sam.memory.a imports sam.cell"),
        ("sam/models.py", "from sam import SAM", "sam.models imports sam"),
        ("sam/__init__.py", "from sam.train import loop", "sam imports sam.train"),
        ("sam/train/a.py", "def f():\n    import sam.cli", "sam.train.a imports sam.cli"),
        ("sam/tasks/a.py", "from sam.state import x", "sam.tasks.a imports sam.state"),
        ("sam/tasks/a.py", "import index", "sam.tasks.a imports index"),
    ],
)
def test_a_wrong_arrow_is_found(tmp_path: Path, file: str, line: str, expected: str) -> None:
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text(line)
    assert wrong_arrows(tmp_path) == [expected]


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("sam/ops/a.py", "from index import make_index\nfrom .store import WordStore"),
        (
            "sam/tasks/a.py",
            "from sam.shape_checks import check_shape\nfrom sam.tasks.task import Batch",
        ),
        ("sam/train/a.py", "import sam\nfrom sam.tasks import copy\nfrom sam.models import SAM"),
    ],
)
def test_a_right_arrow_passes(tmp_path: Path, file: str, line: str) -> None:
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text(line)
    assert wrong_arrows(tmp_path) == []


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
