"""The tables of `benchmarks.sizes`, one for each maker of processors."""

from pathlib import Path
from typing import Any

from benchmarks.tables.markdown import (
    Column,
    field,
    measured_on,
    missing,
    read_all,
    spread_text,
    table,
)

FILES = "sizes_*.json"


def _to_loop(case: dict[str, Any]) -> str:
    return spread_text(case["to_loop"]["sequence"], "{:.2f}")


def _model(case: dict[str, Any]) -> str:
    return case.get("model", "sam").upper()


def _bound(rates: dict[str, float]) -> Column:
    def which(case: dict[str, Any]) -> str:
        times = {name: case[name] / rates[name] for name in ("flops", "bytes")}
        return max(times, key=lambda name: times[name])

    return Column("bound by", which)


def sizes_table(results: Path) -> str:
    """Those of all files there are."""
    return "\n\n".join(map(_table, read_all(results, FILES))) or missing("benchmarks.sizes")


def _table(found: dict[str, Any]) -> str:
    """A row per batch, width and length; SAM's first."""
    micro, rates = 1e6, found["rates"]
    dates = {case["date"] for case in found["cases"]}
    rounds = min(case["rounds"] for case in found["cases"])
    by_steps = any("step" in case["to_loop"] for case in found["cases"])
    models = {*map(_model, found["cases"])}
    columns = (
        *([Column("model", _model)] if len(models) > 1 else []),
        field("batch", "batch_size"),
        field("units", "hidden_size"),
        field("T", "steps"),
        field("loop us", "seconds.loop.median", "{:.1f}", scale=micro),
        Column("whole sequence, x loop (range)", _to_loop),
        field("aim", "aim", "{:.1f}"),
        *([field("stepwise", "to_loop.step.median", "{:.2f}")] if by_steps else []),
        field("plain torch", "to_loop.plain.median", "{:.2f}"),
        field("`nn.LSTM`", "to_loop.lstm.median", "{:.2f}"),
        field("kflop", "flops", "{:,.0f}", scale=1e-3),
        field("kB", "bytes", "{:,.1f}", scale=1e-3),
        field("at best, x loop", "least_to_loop", "{:.2f}"),
        _bound(rates),
        *([field("measured", "date")] if len(dates) > 1 else []),
    )
    slower = [
        case
        for case in found["cases"]
        if case["to_loop"]["sequence"]["median"] > case["to_loop"]["plain"]["median"]
    ]
    return (
        f"{table(columns, sorted(found['cases'], key=_model))}\n\n"
        f"Forward and backward, a step and batch row; median of {rounds} rounds or more, a fresh "
        f"memory of 2^20 words. Slower than plain torch: {len(slower)} of {len(found['cases'])}. "
        f"At best: at the rates of a large product ({1e-9 * rates['flops']:.0f} GFLOP/s) "
        f"and of a copy ({1e-9 * rates['bytes']:.0f} GB/s). {measured_on(found)}"
    )
