"""Lines of a sweep's figures: where their points stand."""

from typing import Any

from sam.train.settings import read_recipe
from sam.train.sweep.lines import make_lines
from sam.train.sweep.plan import Plan, Sweep


def sweep(*grid: str) -> Sweep:
    plan = Plan(
        command="",
        recipe="copy",
        overrides=(),
        grid=grid,
        seeds=1,
        cost_only=False,
        full=False,
    )
    return Sweep(plan, read_recipe("copy")[0], prog="sparse-sam")


def row(model: str, size: int | None) -> dict[str, Any]:
    return {"run": "a", "status": "finished", "model": model, "memory_size": size, "error": 1.0}


SIZES = "model.memory-size=64,1024"


def test_a_model_without_places_moves_no_other_line() -> None:
    rows = [row("sam", 64), row("sam", 1024), row("lstm", None)]
    found = make_lines(sweep("model.kind=sam,lstm", SIZES), rows)
    assert [line.label for line in found.lines] == ["sam", "lstm"]
    assert [found.moved(place, found.lines[0]) for place in found.places] == [64, 1024]


def test_lines_side_by_side_hide_no_point() -> None:
    rows = [row(model, size) for model in ("sam", "sdnc") for size in (64, 1024)]
    found = make_lines(sweep("model.kind=sam,sdnc", SIZES), rows)
    below, above = (found.moved(64, line) for line in found.lines)
    assert below < 64 < above and above / below < 1.2
