"""The private names of torch that the library uses are these, and it does without them."""

import ast
from pathlib import Path

import pytest
import torch
from torch import nn

from index import checks
from sam import customized, private_torch

ROOT = Path(__file__).parents[1]
# Of a module's attributes, and of torch itself.
ALLOWED = {
    *private_torch.HOOKS,
    *private_torch.PARTS,
    *private_torch.DISABLED,
    "_assert_async",
    "_softmax_backward_data",
    "_current_level",
    "_current_graph_task_id",
    "_enable_profiler_legacy",
    "_disable_profiler_legacy",
    "_ExperimentalConfig",
}


def private_names() -> dict[str, set[str]]:
    """Names with one leading underscore that files use and none of them defines."""
    used: dict[str, set[str]] = {}
    own: set[str] = set()
    for file in sorted([*ROOT.glob("sam/**/*.py"), *ROOT.glob("index/**/*.py")]):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                own.add(node.name)
            elif isinstance(node, ast.Name | ast.Attribute):
                name = node.id if isinstance(node, ast.Name) else node.attr
                # What is assigned anywhere is ours.
                if isinstance(node.ctx, ast.Store):
                    own.add(name)
                used.setdefault(name, set()).add(file.name)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                own |= {node.value} if node.value in SLOTS else set()
                if node.value in ALLOWED:
                    used.setdefault(node.value, set()).add(file.name)
    private = {name for name in used if name.startswith("_") and not name.startswith("__")}
    return {name: used[name] for name in private - own}


# Numba's, of what keeps compiled code and what makes it; see `index.compiled_cache.keep` and
# `index.inner_code.inner_pipeline`.
OF_NUMBA = {"_defn", "_finalize_dynamic_globals", "_reduce", "_verify_declare_only_symbols"}
# Attributes that are set by name, and what a NamedTuple has.
SLOTS = {"_made", "_fields"}
PUBLIC = {"_asdict", "_fields", "_make", "_replace", "_SubParsersAction"}


def test_no_other_private_name_of_torch_is_used() -> None:
    found = {name: files for name, files in private_names().items() if name not in PUBLIC}
    assert found.keys() <= ALLOWED | OF_NUMBA, found


def test_this_torch_has_them() -> None:
    assert vars(nn.Module()).keys() >= {*private_torch.HOOKS, *private_torch.PARTS}
    assert hasattr(torch, "_assert_async")
    assert private_torch.allocations(lambda: torch.zeros(1000)) == [4000, -4000]
    assert private_torch.backward_pass() == -1
    numbers: list[int] = []
    for _ in range(2):
        leaf = torch.zeros(1, requires_grad=True)
        leaf.register_hook(lambda grad: numbers.append(private_torch.backward_pass()))
        leaf.sum().backward()
    assert -1 not in numbers and len({*numbers}) == 2
    assert private_torch.softmax_backward is not private_torch.plain_softmax_backward


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_gradient_of_a_softmax_without_its_operator(dtype: torch.dtype) -> None:
    result, grad = torch.randn(2, 5, 3, dtype=dtype).softmax(1), torch.randn(2, 5, 3, dtype=dtype)
    expected = private_torch.softmax_backward(grad, result, 1, dtype)
    found = private_torch.plain_softmax_backward(grad, result, 1, dtype)
    torch.testing.assert_close(found, expected)


def test_without_the_tables_of_hooks_all_goes_the_plain_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = nn.Linear(2, 2)
    assert not customized.is_customized(module, nn.Linear)
    monkeypatch.setattr(customized, "HAS_TABLES", False)
    assert customized.is_customized(module, nn.Linear)


def test_without_a_late_assertion_it_is_made_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch, "_assert_async")
    checks.assert_later(torch.tensor(True), "fine")
    with pytest.raises(RuntimeError, match="wrong"):
        checks.assert_later(torch.tensor(False), "wrong")
