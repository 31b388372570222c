"""Every operation that is timed: forms do the same, and turns repeat."""

from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.bytes.kept import operations
from benchmarks.step.__main__ import PARTS, all_ops
from benchmarks.step.step_cells import written
from benchmarks.step.step_ops import Op, forms_of, fresh, outputs_of, timed
from benchmarks.workload import Workload
from index.compiled import is_compiled, use_compiled

SMALL = Workload(batch_size=2, steps=6, hidden_size=10, num_heads=2, word_size=8)
HAS_COMPILED = is_compiled(None, torch.device("cpu"), torch.float32)
COMPILED_OPS = {
    *("SAM index.exchange", "SAM memory.step", "SDNC index.exchange", "SDNC linked_access"),
    *("SDNC SparseLinks.update", "cell sam", "cell sdnc"),
    "network sam, 6 steps",
}


@pytest.fixture(scope="module")
def ops() -> list[Op]:
    """All of them, with small words."""
    torch.manual_seed(0)
    return all_ops(SMALL, (64,), 3)


def everything(results: Any) -> list[Tensor]:
    """Numbers and slots, with and without a gradient."""
    if isinstance(results, Tensor):
        return [results.detach().clone()]
    if isinstance(results, list | tuple):
        return [tensor for result in results for tensor in everything(result)]
    return []


def test_all_parts_of_all_models_are_there(ops: list[Op]) -> None:
    assert len({op.key for op in ops}) == len(ops)
    names = {part: {op.name for op in ops if op.part == part} for part in {op.part for op in ops}}
    assert {*names} == {"SAM", "SDNC", "dense", "cell", "network"}
    assert names["cell"] == {"sam", "sdnc", "ntm", "dam", "dnc"}
    assert {*PARTS, "sparse_access", "content_read", "memory.step"} < names["SAM"]
    assert {*PARTS, "linked_access", "mix_reads"} < names["SDNC"]
    assert {op.memory_size for op in ops if op.part == "dense"} == {64}
    assert all(
        "uncompiled" in op.forms and {*op.forms} <= {"uncompiled", "plain", "compiled"}
        for op in ops
    )
    compiled = {f"{op.part} {op.name}" for op in ops if "compiled" in op.forms}
    assert compiled == (COMPILED_OPS if HAS_COMPILED else set())
    (network,) = (op for op in ops if op.part == "network")
    assert network.calls == SMALL.steps


def test_forms_of_an_operation_give_the_same_results(ops: list[Op]) -> None:
    several = [op for op in ops if len(op.forms) > 1]
    assert len(several) > 10
    for op in several:
        results = {form: prepare(4)() for form, prepare in op.forms.items()}
        # The words of ties may come in another order where only their weights count.
        taken = outputs_of if [*outputs_of(results["uncompiled"])] else everything
        uncompiled = [*taken(results.pop("uncompiled"))]
        assert uncompiled
        for form, found in results.items():
            others = [*taken(found)]
            assert len(uncompiled) == len(others)
            name = f"{op.key} {form}"
            for one, other in zip(uncompiled, others, strict=True):
                assert torch.allclose(one, other, rtol=1e-4, atol=1e-5), name


@pytest.mark.skipif(not HAS_COMPILED, reason="needs numba")
@pytest.mark.parametrize(
    ("part", "name", "node"),
    [
        ("SAM", "memory.step", "_StepMemory"),
        ("cell", "sam", "_StepCell"),
        ("network", "sam, 6 steps", "_Unroll"),
    ],
)
def test_the_compiled_form_is_timed(part: str, name: str, node: str, ops: list[Op]) -> None:
    (forms,) = (op.forms for op in ops if (op.part, op.name) == (part, name))
    for form, expected in (("compiled", True), ("uncompiled", False)):
        found = operations(next(outputs_of(forms[form](4)())))
        assert (node in found) == expected


def test_compiled_forms_are_on_for_the_compiled_form_only() -> None:
    seen: list[bool] = []

    def prepare(calls: int) -> Any:
        def run() -> None:
            seen.append(is_compiled(None, torch.device("cpu"), torch.float32))

        run()
        return run

    for wanted in (None, False):  # by whoever measures
        with use_compiled(wanted):
            forms = forms_of(prepare, plain=prepare, compiled=prepare)
        expected = {"uncompiled": [False] * 2, "plain": [False] * 2}
        if HAS_COMPILED and wanted is None:
            expected["compiled"] = [True] * 2
        assert {*forms} == {*expected}
        for form, prepared in forms.items():
            seen.clear()
            prepared(1)()
            assert seen == expected[form]
    assert {*forms_of(prepare)} == {"uncompiled"}


def test_every_turn_starts_from_the_same_place(ops: list[Op]) -> None:
    """Whatever was timed before, itself and others."""
    prepares = {f"{op.key} {form}": op.forms[form] for op in ops for form in op.forms}
    first = {name: everything(prepare(2)()) for name, prepare in prepares.items()}
    for prepare in prepares.values():
        timed(prepare, 2, lambda phase: None)
    for name, prepare in prepares.items():
        again = everything(prepare(2)())
        assert len(first[name]) == len(again)
        for one, other in zip(first[name], again, strict=True):
            assert torch.equal(one, other), name


@pytest.mark.parametrize("name", ["sparse_access", "linked_access"])
def test_a_chain_hands_words_and_weights_on(
    name: str, ops: list[Op], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []

    def recorded(controls: Any) -> Any:
        given.append(fresh(controls))
        return given[-1]

    monkeypatch.setattr("benchmarks.step.step_access.fresh", recorded)
    forms = next(op.forms for op in ops if op.name == name)
    for prepare in forms.values():
        given.clear()
        last = [*outputs_of(prepare(2)())][-1]
        last.sum().backward()
        # Of the first step: what it wrote, and what it read with, which is written to next.
        assert given[0].adds.grad.any() and given[0].keys.grad.any()


@pytest.mark.parametrize(("model", "access"), [("sam", "sparse_access"), ("sdnc", "linked_access")])
def test_what_is_timed_is_what_a_step_does(model: str, access: str, ops: list[Op]) -> None:
    torch.manual_seed(0)
    cell, state, hidden = written(SMALL, model, 2**20)
    reads, _ = cell.memory.step(cell.interface(hidden), state.memory)
    forms = next(op.forms for op in ops if op.name == access)
    torch.testing.assert_close(next(outputs_of(forms["uncompiled"](1)())), reads)
