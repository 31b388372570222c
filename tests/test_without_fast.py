"""The packages work without their fast rooms and without numba: all that is left is plain torch."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

SCRIPT = """
import sys
from importlib.machinery import PathFinder

import torch


class WithoutNumba(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] == "numba":
            return None
        return PathFinder.find_spec(name, path, target)


sys.meta_path[:] = [WithoutNumba if finder is PathFinder else finder for finder in sys.meta_path]
torch.manual_seed(0)
torch.set_num_threads(1)
T, B, IN, OUT = 7, 3, 5, 4
"""

MODELS = """
import sam

assert sam.__file__.startswith(sys.argv[1]), sam.__file__


def close(found, wanted):
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-10)


def build(name, options):
    torch.manual_seed(1)
    sizes = {"hidden_size": 6} if name == "lstm" else {
        "hidden_size": 6, "memory_size": 9, "word_size": 4, **options
    }
    return sam.make_model(name, IN, OUT, **sizes).double()


cases = [(name, {}) for name in sam.available_models()]
cases += [("sam", {"index": "lsh"}), ("sam", {"controller": "gru", "strength": "none"})]
for name, options in cases:
    inputs = torch.randn(T, B, IN).double().requires_grad_()
    model = build(name, options)
    outputs, _ = model(inputs)
    outputs.square().mean().backward()
    assert inputs.grad.abs().sum(2).gt(0)[:-1].all(), name
    for place, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all() and parameter.grad.any(), (name, place)
    # One call equals chunks of it.
    first, state = model(inputs[:3])
    second, _ = model(inputs[3:], state)
    close(torch.cat([first, second]), outputs)
    # A row that starts anew forgets what was before.
    starts = torch.zeros(T, B, dtype=torch.bool)
    starts[4, 1] = True
    begun, _ = model(inputs, starts=starts)
    close(begun[4:, 1:2], model(inputs[4:, 1:2])[0])
    close(begun[:, ::2], outputs[:, ::2])
    model(inputs, trace=True)
"""

INDEXES = """
import index

assert index.__file__.startswith(sys.argv[1]), index.__file__
words, queries = torch.randn(2, 40, 8), torch.randn(2, 3, 8)
for kind in ("exact", "lsh", "ivf", "product", "auto"):
    found = index.make_index(kind, batch_size=2, capacity=64, word_size=8)
    slots = torch.arange(40).expand(2, -1)
    found.update(slots, words)
    near = found.search(queries, 5)
    assert near.slots.shape == (2, 3, 5) and (near.slots >= 0).all(), kind
    cosine = torch.nn.functional.cosine_similarity(
        queries[:, :, None], words[torch.arange(2)[:, None, None], near.slots], dim=3
    )
    torch.testing.assert_close(near.scores, cosine, rtol=0, atol=1e-4)
    found.remove(near.slots[:, 0])
    assert found.occupancy.tolist() == [35, 35], kind
    found.reset()
    assert (found.search(queries, 5).slots == -1).all(), kind
"""


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both packages, without their fast rooms."""
    root = tmp_path_factory.mktemp("plain")
    for package, room in (("sam", "fast"), ("index", "kernels")):
        assert (ROOT / package / room).is_dir()
        ignore = shutil.ignore_patterns(room, "__pycache__")
        shutil.copytree(ROOT / package, root / package, ignore=ignore)
        assert not (root / package / room).exists()
    return root


def test_all_works_without_the_fast_rooms(plain: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(plain)}
    environment.pop("SPARSE_SAM_COMPILED", None)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT + MODELS + INDEXES, str(plain)],
        cwd=plain,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
