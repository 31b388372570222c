"""Bytes of a journal beside those of copies of a state: ``python -m benchmarks.bytes.journal``.

A rollout of T steps keeps its past as a journal (`state.record()`), not as T copies of the state.
Writes journal.json.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.harness import RESULTS, circumstances, write_json
from benchmarks.tables.journal_table import FILE, journal_table
from sam import SAM, SDNC

STEPS, BATCH, INPUTS = 128, 8, 8
FULL = 2**20  # words of a memory that is full


class Case(NamedTuple):
    """A model; what is not given is its default, the paper's."""

    name: str
    model: Any
    settings: dict[str, int]


CASES = (
    Case("SAM", SAM, {}),
    Case("SAM of `examples/ppo.py`", SAM, {"hidden_size": 64, "word_size": 16, "num_heads": 2}),
    Case("SDNC", SDNC, {}),
)


@torch.no_grad()
def measure(case: Case, *, full: int = FULL) -> dict[str, Any]:
    """Bytes of a step and batch row in the journal, and of a copy of the state, a row."""
    torch.manual_seed(0)
    model = case.model(INPUTS, 4, memory_size=full, **case.settings)
    _, state = model(torch.randn(STEPS, BATCH, INPUTS), model.initial_state(BATCH).record())
    assert state.journal is not None
    steps = STEPS * BATCH
    copy = state._replace(journal=None)
    word_size = model.cell.memory.word_size
    loaded = model.initial_state(1, words=torch.randn(full, word_size))
    return {
        "name": case.name,
        "heads": model.cell.memory.num_reads,
        "top_k": model.cell.memory.top_k,
        "word_size": word_size,
        "hidden_size": model.cell.controller.output_size,
        "journal_bytes": state.journal.step_bytes / steps,
        "copy_bytes": copy.nbytes / BATCH,
        "full_words": full,
        "full_copy_bytes": loaded.nbytes,
    }


def main(arguments: Sequence[str]) -> None:
    """Measures, writes, prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bytes.journal", description=__doc__)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder to write to")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    results = circumstances("benchmarks.bytes.journal", arguments)
    results |= {"steps": STEPS, "batch_size": BATCH, "cases": [measure(case) for case in CASES]}
    write_json(options.out / FILE, results)
    print(journal_table(options.out))


if __name__ == "__main__":
    main(sys.argv[1:])
