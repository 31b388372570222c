"""Everything works without the folder of the compiled forms, and without numba."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import index

CODE = """\
import sys
if {blocked}:
    sys.modules["numba"] = None
import torch
torch.set_num_threads(1)
import index, index.compiled, index.testing
assert index.__file__.startswith({folder!r})
from index import BackendMissingError, IndexConfig, make_index
for kind in {kinds!r}:
    index.testing.check_index(kind)
    try:
        make_index(IndexConfig(kind=kind, compiled=True), batch_size=1, capacity=1, word_size=1)
    except BackendMissingError:
        continue
    raise AssertionError("compiled forms that are not there")
assert not any(name.startswith("index.kernels.") for name in sys.modules)
assert {blocked} or "numba" not in sys.modules
"""


@pytest.mark.parametrize(
    ("blocked", "kinds"), [(False, ("exact", "ivf", "product")), (True, ("lsh",))]
)
def test_without_kernels(tmp_path: Path, blocked: bool, kinds: tuple[str, ...]) -> None:
    source = Path(index.__file__).parent
    ignore = shutil.ignore_patterns("__pycache__", "kernels")
    shutil.copytree(source, tmp_path / "index", ignore=ignore)
    code = CODE.format(folder=str(tmp_path), kinds=kinds, blocked=blocked)
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, text=True)
    assert done.returncode == 0


def test_with_kernels_but_without_numba() -> None:
    folder = str(Path(index.__file__).parents[1])
    code = CODE.format(folder=folder, kinds=("ivf",), blocked=True)
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=folder, env={"PYTHONPATH": folder}, text=True)
    assert done.returncode == 0
