"""The table of `benchmarks.step`."""

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.step.step_cells import WRITTEN_STEPS
from benchmarks.step.step_ops import PHASES
from benchmarks.step.step_sparse import MEMORY_SIZE
from benchmarks.tables.markdown import (
    Column,
    field,
    measured_on,
    of_file,
    power,
    spread_text,
    table,
)

FILE = "step.json"


def _of_form(title: str, form: str, text: Callable[[Any], str]) -> Column:
    """A column about one form of each operation; empty where the operation does not have it."""

    def cell(op: Mapping[str, Any]) -> str:
        return text(op["forms"][form]) if form in op["forms"] else ""

    return Column(title, cell)


def _both(form: Mapping[str, Any]) -> str:
    """Forward and backward; operations without a gradient have no backward."""
    found = [form["seconds"][phase] for phase in PHASES[:2] if phase in form["seconds"]]
    return " + ".join(f"{1e6 * seconds['median']:,.0f}" for seconds in found)


def _total(form: Mapping[str, Any]) -> str:
    return spread_text(form["seconds"]["total"], "{:,.0f}", scale=1e6)


def _to_lstm(form: Mapping[str, Any]) -> str:
    return f"{form['to_lstm']['median']:.2f}" if "to_lstm" in form else "1"  # the loop itself


def _to_uncompiled(form: Mapping[str, Any]) -> str:
    return f"{form['to_uncompiled']['median']:.2f}"


def _plain(form: Mapping[str, Any]) -> str:
    return f"{1e6 * form['seconds']['total']['median']:,.0f} ({_to_uncompiled(form)})"


_COLUMNS = (
    field("", "part"),
    field("operation", "title"),
    Column("N", lambda op: power(op["memory_size"]) if "memory_size" in op else ""),
    _of_form("forward + backward", "uncompiled", _both),
    _of_form("uncompiled (range)", "uncompiled", _total),
    _of_form("x LSTMCell", "uncompiled", _to_lstm),
    _of_form("forward + backward", "compiled", _both),
    _of_form("compiled (range)", "compiled", _total),
    _of_form("x LSTMCell", "compiled", _to_lstm),
    _of_form("x uncompiled", "compiled", _to_uncompiled),
    _of_form("plain (x uncompiled)", "plain", _plain),
)


@of_file(FILE, "benchmarks.step")
def step_table(found: dict[str, Any]) -> str:
    """A row per operation: microseconds of a call, uncompiled, compiled and of the plain form."""
    loop, setting = found["lstm_cell_loop"], found["setting"]
    first = {"title": "`nn.LSTMCell` loop", "forms": {"uncompiled": {"seconds": loop["seconds"]}}}
    ops = [op | {"title": f"`{op['name']}`"} for op in found["ops"]]
    where = "".join(
        f" An uncompiled step of `{name}`: "
        + ", ".join(f"{part} {100 * share:.0f} %" for part, share in parts.items())
        + "."
        for name, parts in found["shares"].items()
    )
    return (
        f"{table(_COLUMNS, [first, *ops])}\n\nMicroseconds of a call, medians of "
        f"{found['rounds']} rounds, batch "
        f"{setting['batch_size']}, {setting['num_heads']} heads, K = {setting['top_k']}, W = "
        f"{setting['word_size']}, {loop['calls']} calls a turn, fewer over many words; the loop's, "
        f"a cell's and a network's are of a step. Uncompiled is what runs without numba, plain its "
        f"readable form, op by op. The memories of {power(MEMORY_SIZE)} words were written to "
        f"for {WRITTEN_STEPS} steps; the network begins with an empty one.{where} "
        f"{measured_on(found)}"
    )
