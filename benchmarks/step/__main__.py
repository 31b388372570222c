"""Where the time of one step goes: ``python -m benchmarks.step``, some minutes.

Seconds of a single call, forward and backward apart: of every operation of the sparse memories at
2^20 words, of those of the dense ones at 128 and 1024, of whole cells, and of SAM over a whole
sequence. Each is timed as it runs without compiled code, and where there are such forms, compiled
and plain, operation by operation (`benchmarks.step.step_ops.forms_of`). All take turns with a loop
of nn.LSTMCell (`benchmarks.workload`). A turn makes many calls, then takes all their gradients at
once. Writes step.json.
"""

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness import (
    Measured,
    circumstances,
    positive,
    ratio,
    results_folder,
    spread,
    take_turns,
    write_json,
)
from benchmarks.step.step_cells import DENSE, SPARSE, cell_op, network_op
from benchmarks.step.step_ops import PHASES, Op, dense_ops, per_call, timed
from benchmarks.step.step_sparse import MEMORY_SIZE, sparse_ops
from benchmarks.tables.step_table import FILE, step_table
from benchmarks.workload import Workload

SIZES, CALLS, ROUNDS = (128, 1024), 50, 9
QUICK_SIZES, QUICK_CALLS, QUICK_ROUNDS, QUICK_STEPS = (64,), 5, 3, 10
LSTM = "LSTMCell loop"
# What a step of a sparse cell consists of; the index's part is taken off the access it lies in.
PARTS = ("interface", "order.lru_slots", "order.record_access", "index.exchange")
ACCESS = {"sam": "sparse_access", "sdnc": "linked_access"}


def all_ops(workload: Workload, sizes: Sequence[int], calls: int) -> list[Op]:
    """Everything that is timed.

    Args:
        workload: batch and widths; T of the whole sequence.
        sizes: N of the dense memories.
        calls: in a turn; fewer where they touch many words.
    """
    return [
        *chain.from_iterable(sparse_ops(workload, name, calls) for name in SPARSE),
        *chain.from_iterable(dense_ops(workload, size, calls) for size in sizes),
        *(cell_op(workload, name, MEMORY_SIZE, calls) for name in SPARSE),
        *(cell_op(workload, name, size, calls) for size in sizes for name in DENSE),
        network_op(workload, MEMORY_SIZE),
    ]


def measure(ops: Iterable[Op], workload: Workload, *, calls: int, rounds: int) -> dict[str, Any]:
    """Times operations in turns, each part's beside a turn of the LSTMCell loop.

    Args:
        ops: what to time.
        workload: of the loop.
        calls: steps of the loop.
        rounds: turns of each.

    Returns:
        ``lstm_cell_loop`` and ``ops``: for each form seconds of a call, ``to_lstm``, the ratio to a
        step of the loop, and of other forms ``to_uncompiled``. ``backward`` is missing where there
        is no gradient.
    """
    ops = [*ops]
    loop = replace(workload, steps=calls).lstm_cell_loop()
    things: dict[str, Measured] = {}
    for op in ops:
        things.setdefault(_loop_of(op), loop.timed)
        for form, prepare in op.forms.items():
            things[f"{op.key} {form}"] = partial(timed, prepare, op.calls)
    times = take_turns(things, rounds=rounds)
    loops = {name: per_call(times[name], calls) for name in map(_loop_of, ops)}
    entries = []
    for op in ops:
        found = {form: per_call(times[f"{op.key} {form}"], op.calls) for form in op.forms}
        forms = {}
        for form, seconds in found.items():
            total = seconds["total"]
            forms[form] = {
                "seconds": {phase: spread(values) for phase, values in seconds.items()},
                "to_lstm": ratio(total, loops[_loop_of(op)]["total"]),
            }
            if form != "uncompiled":
                forms[form]["to_uncompiled"] = ratio(total, found["uncompiled"]["total"])
        entries.append(op._asdict() | {"forms": forms})
    phases = {phase: [s for of in loops.values() for s in of[phase]] for phase in PHASES}
    return {
        "rounds": rounds,
        "lstm_cell_loop": {
            "calls": calls,
            "seconds": {phase: spread(values) for phase, values in phases.items()},
        },
        "ops": entries,
    }


def _loop_of(op: Op) -> str:
    """The turn of the loop that an operation is compared with."""
    return f"{LSTM} {op.part} {op.memory_size}"


def shares(results: Mapping[str, Any], name: str) -> dict[str, float]:
    """What part of a sparse cell's uncompiled step goes where, from the medians; sums to 1.

    The controller is taken to cost what a step of the loop does. The rest is what holds the parts
    together: making views and tuples, and what the parts cost more when they run in turn.
    """

    def seconds(part: str, op: str) -> float:
        (entry,) = (e for e in results["ops"] if (e["part"], e["name"]) == (part, op))
        return entry["forms"]["uncompiled"]["seconds"]["total"].median

    whole = seconds("cell", name)
    found = {"controller": results["lstm_cell_loop"]["seconds"]["total"].median}
    found |= {op: seconds(name.upper(), op) for op in PARTS}
    access = ACCESS[name]
    found[access] = seconds(name.upper(), access) - found["index.exchange"]
    found["rest"] = whole - sum(found.values())
    return {part: value / whole for part, value in found.items()}


def main(arguments: Sequence[str]) -> None:
    """Measures, writes, prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.step", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a look: one size, 5 calls, 3 rounds")
    parser.add_argument("--threads", type=positive, default=1, help="threads torch may use")
    parser.add_argument("--rounds", type=positive, help=f"turns of each, default {ROUNDS}")
    parser.add_argument("--out", type=Path, help="folder to write to")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    folder = results_folder(options.out, quick=options.quick)
    sizes, calls, rounds = (
        (QUICK_SIZES, QUICK_CALLS, QUICK_ROUNDS) if options.quick else (SIZES, CALLS, ROUNDS)
    )
    workload = Workload(steps=QUICK_STEPS) if options.quick else Workload()
    results = circumstances("benchmarks.step", arguments)
    results["setting"] = asdict(workload) | {"dtype": "float32"}
    del results["setting"]["steps"]  # a turn of an operation has as many as it has calls
    rounds = options.rounds or rounds
    ops = all_ops(workload, sizes, calls)
    results |= measure(ops, workload, calls=calls, rounds=rounds)
    results["shares"] = {name: shares(results, name) for name in SPARSE}
    write_json(folder / FILE, results)
    print(step_table(folder))
    print(folder / FILE)


if __name__ == "__main__":
    main(sys.argv[1:])
