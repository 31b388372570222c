"""Parameters of our NTM beside those of the NTM paper: ``python -m benchmarks.parameters``.

The paper gives counts for five tasks (tables 1 and 2) but not the layout behind them. Each of our
networks has the paper's controller, heads and memory, and the inputs and outputs that its task has
here (or would have). Writes parameters.json.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.harness import RESULTS, circumstances, write_json
from benchmarks.tables.parameter_table import FILE, parameter_table
from sam import NTM

MEMORY_SIZE, WORD_SIZE = 128, 20


class Row(NamedTuple):
    """A network of the paper, with the widths of its task here."""

    task: str
    inputs: int
    outputs: int
    controller: str
    heads: int
    hidden_size: int
    num_layers: int
    paper: int  # parameters


ROWS = (
    Row("copy", 9, 8, "feedforward", 1, 100, 1, 17_162),
    Row("copy", 9, 8, "lstm", 1, 100, 1, 67_561),
    Row("repeat copy", 10, 9, "feedforward", 1, 100, 1, 16_712),
    Row("repeat copy", 10, 9, "lstm", 1, 100, 1, 66_111),
    Row("associative recall", 8, 6, "feedforward", 4, 256, 1, 146_845),
    Row("associative recall", 8, 6, "lstm", 1, 100, 1, 70_330),
    Row("N-grams", 1, 1, "feedforward", 1, 100, 1, 14_656),
    Row("N-grams", 1, 1, "lstm", 1, 100, 1, 61_749),
    Row("priority sort", 10, 8, "feedforward", 8, 512, 1, 508_305),
    Row("priority sort", 10, 8, "lstm", 5, 100, 2, 269_038),
)


def count(row: Row) -> dict[str, Any]:
    """Parameters of our network, part by part, beside the paper's."""
    model = NTM(
        row.inputs,
        row.outputs,
        hidden_size=row.hidden_size,
        memory_size=MEMORY_SIZE,
        word_size=WORD_SIZE,
        num_heads=row.heads,
        controller=row.controller,  # type: ignore[arg-type]
        num_layers=row.num_layers,
    )
    parts = {"controller": model.cell.controller, "interface": model.cell.interface}
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}  # type: ignore[union-attr]
    counts["output"] = sum(p.numel() for p in model.output.parameters())
    # What the paper's networks learn besides: the memory at the start, and each head's weights
    # and read there; a recurrent controller's state.
    start = MEMORY_SIZE * WORD_SIZE + row.heads * (2 * MEMORY_SIZE + WORD_SIZE)
    if row.controller == "lstm":
        start += 2 * row.hidden_size * row.num_layers
    return row._asdict() | {
        "parts": counts,
        "ours": sum(counts.values()),
        "initial_state": start,
    }


def main(arguments: Sequence[str]) -> None:
    """Counts, writes, prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.parameters", description=__doc__)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder to write to")
    options = parser.parse_args(arguments)
    results = circumstances("benchmarks.parameters", arguments)
    results |= {"networks": [count(row) for row in ROWS]}
    write_json(options.out / FILE, results)
    print(parameter_table(options.out))


if __name__ == "__main__":
    main(sys.argv[1:])
