"""What products cost in a stepwise SAM: ``python -m benchmarks.step.products``.

Writes step_products.json. The loop of nn.LSTMCell and the SAM that steps beside it, and the matrix
products of either alone, by torch, in turns; time of this process, so other work on the machine
counts less. What remains of SAM's step is its memory, its gates, and Python with autograd.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.harness import (
    RESULTS,
    Lap,
    Report,
    circumstances,
    positive,
    ratio,
    spread,
    take_turns,
    write_cases,
)
from benchmarks.sizes import MEMORY
from benchmarks.workload import Workload

FILE = "step_products.json"
BATCHES = (1, 8, 32, 128)


def loop_products(load: Workload) -> Callable[[], None]:
    """Those of the loop at each step: the gates, back to h, and the gradients of the weights."""
    both, gates = load.input_size + load.read_size, 4 * load.hidden_size
    inputs, hidden, grad = (_rows(load, width) for width in (both, load.hidden_size, gates))
    inward, own = torch.randn(gates, both), torch.randn(gates, load.hidden_size)

    def run() -> None:
        for _ in range(load.steps):
            _ = inputs @ inward.t(), hidden @ own.t()
            _ = grad @ own, grad.t() @ inputs, grad.t() @ hidden

    return run


def step_products(load: Workload) -> Callable[[], None]:
    """Those of SAM: also the interface's, and back to what was read; weights' for all at once."""
    units, writes = load.hidden_size, load.num_heads
    width, gates = load.input_size + load.read_size + units, 4 * units
    size = load.read_size + writes * (load.word_size + 2) + load.num_heads
    left, hidden, grad, controls = (_rows(load, count) for count in (width, units, gates, size))
    every = [each.repeat(load.steps, 1) for each in (left, hidden, grad, controls)]
    recurrent, interface = torch.randn(gates, width), torch.randn(size, units)

    def run() -> None:
        for _ in range(load.steps):
            _ = left @ recurrent.t(), hidden @ interface.t()
            _ = controls @ interface, grad @ recurrent
        _ = every[2].t() @ every[0], every[3].t() @ every[1]

    return run


def _rows(load: Workload, width: int) -> Tensor:
    return torch.randn(load.batch_size, width)


def _timed(run: Callable[[], None]) -> Callable[[Lap], None]:
    def timed(lap: Lap) -> None:
        run()
        lap("products")

    return timed


def measure(load: Workload, *, rounds: int) -> dict[str, Any]:
    """Microseconds a step, and the ratios to the loop.

    Args:
        load: sizes.
        rounds: turns of each.
    """
    things = {
        "loop": load.lstm_cell_loop().timed,
        "step": load.trained("sam", MEMORY, "step").timed,
        "loop_products": _timed(loop_products(load)),
        "step_products": _timed(step_products(load)),
    }
    taken = take_turns(things, rounds=rounds, clock=time.process_time)
    times = {name: each["total"] for name, each in taken.items()}
    return {
        "batch_size": load.batch_size,
        "hidden_size": load.hidden_size,
        "steps": load.steps,
        "us": {name: spread([1e6 * one / load.steps for one in times[name]]) for name in times},
        "to_loop": {name: ratio(times[name], times["loop"]) for name in times if name != "loop"},
    }


def line(entry: dict[str, Any]) -> str:
    """A batch size in a line of the terminal."""
    us, to_loop = entry["us"], entry["to_loop"]
    return (
        f"batch {entry['batch_size']:3}: loop {us['loop'].median:.0f} us a step, its products "
        f"{us['loop_products'].median:.0f}; SAM step by step {us['step'].median:.0f} "
        f"({to_loop['step'].median:.2f} of the loop), its products "
        f"{us['step_products'].median:.0f} ({to_loop['step_products'].median:.2f})"
    )


def main(arguments: Sequence[str], report: Report = print) -> None:
    """Measures, prints as it goes, writes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.step.products", description=__doc__)
    parser.add_argument("--batches", type=positive, nargs="+", default=BATCHES, help="batch sizes")
    parser.add_argument("--units", type=positive, default=100, help="of the controller")
    parser.add_argument("--steps", type=positive, default=50, help="T")
    parser.add_argument("--rounds", type=positive, default=9, help="turns of each")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder to write to")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    results = circumstances("benchmarks.step.products", arguments)
    sizes = {"hidden_size": options.units, "steps": options.steps}
    loads = (Workload(batch_size=batch_size, **sizes) for batch_size in options.batches)
    measured = (measure(load, rounds=options.rounds) for load in loads)
    write_cases(options.out / FILE, results, measured, line, report)


if __name__ == "__main__":
    main(sys.argv[1:])
