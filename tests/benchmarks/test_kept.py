"""What is kept for the backward pass: counted by hand, and part by part for SAM."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks.bytes.footprint import saved_bytes
from benchmarks.bytes.kept import Kept, kept_by, kept_per_step, operations
from benchmarks.bytes.kept_parts import PARTS, part_name, reason
from benchmarks.bytes.kept_sam import kept, path_of
from benchmarks.long_sequence import LIMIT
from benchmarks.workload import PATHS, Workload
from index.compiled import VARIABLE, is_compiled, use_compiled
from sam.fast.cell_tensors import Parameters, RecurrentState

SMALL = Workload(batch_size=2, steps=10, hidden_size=10, num_heads=2, word_size=8)
compiled = pytest.mark.skipif(
    not is_compiled(None, torch.device("cpu"), torch.float32), reason="needs numba"
)


class Custom(torch.autograd.Function):
    """Twice x, and keeps what it is given beside."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *kept: Tensor | None) -> Tensor:
        ctx.save_for_backward(*kept)
        return x * 2

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:  # type: ignore[override]
        return grad * 2, None


def custom(*kept: Tensor | None) -> Tensor:
    result: Any = Custom.apply(torch.ones(2, requires_grad=True), *kept)
    return result.sum()


def test_storages_are_listed_once_with_all_that_keep_them() -> None:
    x, weight = torch.ones(3, 5), torch.ones(5, 7, requires_grad=True)
    # The product keeps x, tanh its result, and the square that result, whole though it sees a part.
    result = (x @ weight).tanh()[:2].square().sum()
    found = kept_by(result, 7, apart_from=[weight])
    seen = Kept(("Pow [2, T]", "Tanh [3, T]"), "float32", 1, 4 * 3 * 7)
    assert sorted(found) == [Kept(("Mm [3, 5]",), "float32", 1, 4 * 3 * 5), seen]
    assert kept_by(result, 7, apart_from=[weight, x]) == [seen]


def test_what_custom_functions_keep_is_listed() -> None:
    result = custom(torch.zeros(11, 8, dtype=torch.int64), None)
    assert kept_by(result, 4) == [Kept(("Custom [11, 2 T]",), "int64", 1, 8 * 11 * 8)]


def test_a_storage_is_cut_where_separate_parts_begin() -> None:
    whole = torch.zeros(20)
    # Two numbers before the first part and one before the last are nobody's own.
    seen = whole[2:9], whole[5:10], whole[10:14].view(2, 2), whole[15:], whole[:0]
    assert sorted(kept_by(custom(*seen), 100)) == [
        Kept(("Custom [2, 2]",), "float32", 1, 4 * 5),
        Kept(("Custom [5]",), "float32", 1, 4 * 5),
        Kept(("Custom [5]", "Custom [7]"), "float32", 1, 4 * 10),
    ]
    # A part with gaps reaches as far as its last number.
    assert kept_by(custom(whole.view(5, 4)[:, 0], whole[2:5], whole[12:14]), 100) == [
        Kept(("Custom [2]", "Custom [3]", "Custom [5]"), "float32", 1, 4 * 20)
    ]


def test_parts_of_an_operation_have_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PARTS, "Custom", ("one", "two"))
    found = kept_by(custom(torch.zeros(3), None, torch.zeros(7)), 5)
    assert sorted(one.saved_by for one in found) == [("Custom [7]",), ("Custom.one [3]",)]
    assert [part_name("Custom", n) for n in range(3)] == ["Custom.one", "Custom.two", "Custom"]


def test_operations_are_those_of_the_graph() -> None:
    x = torch.ones(3, requires_grad=True)
    found = operations((x.tanh() * x).sum())
    assert {"Tanh", "Mul", "Sum"} < found and not found & {"Pow", "Sigmoid"}


def test_the_slope_of_an_unrolled_cell_by_hand() -> None:
    cell = nn.RNNCell(3, 4)

    def forward(steps: int) -> tuple[Tensor, Iterable[Tensor]]:
        hidden = torch.zeros(2, 4)  # once, whatever the length
        outputs = []
        for _ in range(steps):
            hidden = cell(torch.zeros(2, 3), hidden)
            outputs.append(hidden)
        return torch.stack(outputs).square().sum(), cell.parameters()

    assert kept_per_step(forward, batch_size=2, steps=(7, 11)) == [
        # A result is what tanh keeps, and what the next step's product does; the last has none.
        Kept(("Addmm [2, 4]", "Tanh [2, 4]"), "float32", 1 / 2, 4 * 4),
        Kept(("Pow [T, 2, 4]",), "float32", 0, 4 * 4),
        Kept(("Addmm [2, 3]",), "float32", 1 / 2, 4 * 3),
    ]
    with pytest.raises(ValueError, match="shorter length first"):
        kept_per_step(forward, batch_size=2, steps=(7, 7))


@pytest.mark.parametrize("name", ["sam", "sdnc", "ntm", "dnc"])
def test_nothing_that_is_kept_is_left_out(name: str) -> None:
    trained = SMALL.trained(name, 16)
    loss = trained.loss()
    found = kept_by(loss, SMALL.steps, apart_from=trained.model.parameters())
    del loss
    counted = saved_bytes(trained.loss, apart_from=trained.model.parameters())
    assert sum(one.bytes for one in found) == counted > 0


@compiled
def test_the_parts_of_a_sequence_are_named_rightly() -> None:
    found = dict(_parts(SMALL))
    heads, most, word, units, batch = 2, 4, 8, 10, 2
    controls = heads * (word + word + 1 + 1 + 1)
    read, shape = heads * most, f"[T, {batch}, {heads}, {most}"
    assert found == {
        f"words {shape}, {word}]": 4 * read * word,
        f"gates [T, {batch}, {4 * units}]": 4 * 4 * units,
        f"controls [T, {batch}, {controls}]": 4 * controls,
        f"reads [T + 1, {batch}, {heads * word}]": 4 * heads * word,
        f"cells [T, {batch}, {units}]": 4 * units,
        f"hidden [T + 1, {batch}, {units}]": 4 * units,
        f"slots [{batch * read} T]": 8 * read,
        f"lru_slots [{batch * heads} T]": 8 * heads,
        f"values {shape}]": 4 * read,
        f"cosine {shape}]": 4 * read,
        f"inputs [T, {batch}, 8]": 4 * 8,
    }


@compiled
@pytest.mark.parametrize(("op", "name"), [("_Unroll", "Run"), ("_UnrollLinked", "LinkedRun")])
def test_names_stand_in_the_order_in_which_parts_are_saved(op: str, name: str) -> None:
    from sam.fast import sequence_op

    run = getattr(sequence_op, name)
    given = 1 + 1 + len(RecurrentState._fields) + len(Parameters._fields)
    first = len(run.slots_saved)
    assert PARTS[op][:first] == run.slots_saved
    assert PARTS[op][first + given :] == (*run.numbers_saved, "starts", "lengths")


@compiled
def test_what_a_sequence_of_sdnc_keeps() -> None:
    def forward(steps: int) -> tuple[Tensor, Iterable[Tensor]]:
        trained = replace(SMALL, steps=steps).trained("sdnc", 2**10)
        return trained.loss(), trained.model.parameters()

    pieces = kept_per_step(forward, batch_size=2)
    named = [(text, one.bytes) for one in pieces for text in one.saved_by]
    mark = "_UnrollLinked."
    found = {text.removeprefix(mark): size for text, size in named if text.startswith(mark)}
    heads, most, word, units, batch = 2, 4, 8, 10, 2
    controls = heads * (word + 3 + 1) + word + 2
    read, shape = heads * most, f"[T, {batch}, {heads}, {most}"
    assert found == {
        f"words {shape}, {word}]": 4 * read * word,
        f"found {shape}, {word}]": 4 * read * word,
        f"gates [T, {batch}, {4 * units}]": 4 * 4 * units,
        f"controls [T, {batch}, {controls}]": 4 * controls,
        f"reads [T + 1, {batch}, {heads * word}]": 4 * heads * word,
        f"cells [T, {batch}, {units}]": 4 * units,
        f"hidden [T + 1, {batch}, {units}]": 4 * units,
        f"slots [{batch * read} T]": 8 * read,
        f"near [{batch * read} T]": 8 * read,
        f"lru_slots [{batch} T]": 8,
        f"parts [T, {batch}, {heads}, 3, {most}]": 4 * 3 * read,
        f"content {shape}]": 4 * read,
        f"values {shape}]": 4 * read,
        f"cosine {shape}]": 4 * read,
        f"inputs [T, {batch}, 8]": 4 * 8,
    }
    for part in ("near", "content", "parts", "found"):
        assert reason([f"{mark}{part} [T]"])


def _parts(workload: Workload) -> list[tuple[str, float]]:
    """Names, shapes and bytes of what the sequence as one operation keeps."""
    pieces = [(name, piece) for piece in kept(workload)["pieces"] for name in piece["saved_by"]]
    marked = "_Unroll."
    return [(n.removeprefix(marked), p["bytes"]) for n, p in pieces if n.startswith(marked)]


@pytest.mark.parametrize("compiled", [None, False])
def test_what_a_step_of_sam_keeps_adds_up(compiled: bool | None) -> None:
    with use_compiled(compiled):
        found = kept(SMALL)
    pieces = found["pieces"]
    assert sum(piece["bytes"] for piece in pieces) == pytest.approx(found["bytes_per_step"])
    assert found["of_paths"][found["path"]] == found["bytes_per_step"]
    sizes = [piece["bytes"] for piece in pieces]
    assert sizes == sorted(sizes, reverse=True) and min(sizes) > 0
    # The words that each head reads: H K W floats a batch row.
    (words,) = (piece for piece in pieces if any("2, 2, 4, 8]" in s for s in piece["saved_by"]))
    assert words["bytes"] == 4 * 2 * 4 * 8


@pytest.mark.parametrize("compiled", [None, False])
def test_it_is_said_of_every_piece_what_it_is_for(compiled: bool | None) -> None:
    with use_compiled(compiled):
        pieces = kept(SMALL)["pieces"]
    assert len(pieces) > 10 and all(piece["reason"] for piece in pieces)
    assert reason(["Aardvark [3]"]) == ""
    # What is known by its part comes first; nothing is said twice.
    both = reason(["Addmm [3, 2]", "Tanh [3]", "Sigmoid [3]", "_Unroll.words [T, 2]"])
    assert both.split("; ") == [reason([name]) for name in ("_Unroll.words [T]", "Addmm", "Tanh")]


def test_all_paths_keep_what_is_aimed_for() -> None:
    found = kept(Workload(batch_size=1))
    assert max(found["of_paths"].values()) <= LIMIT["bytes_per_step"]
    assert found["path"] == next(iter(found["of_paths"]))


@compiled
def test_the_path_is_read_off_the_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    for path in PATHS:
        assert path_of(SMALL.sam(16, path).loss()) == path
    assert [*kept(SMALL)["of_paths"]] == [*PATHS]
    short = replace(SMALL, steps=2)  # too few for a sequence
    assert path_of(short.sam(16).loss()) == "step"
    model: Any = SMALL.model(16)
    model.cell.controller.register_forward_hook(lambda *given: None)
    assert path_of(model(SMALL.inputs())[0].sum()) == "step"  # of the memory only
    monkeypatch.setenv(VARIABLE, "0")
    assert path_of(SMALL.sam(16).loss()) == "plain"
    assert [*kept(SMALL)["of_paths"]] == ["plain"]
