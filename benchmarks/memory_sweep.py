"""Seconds and bytes of SAM against the size of its memory: ``python -m benchmarks.memory_sweep``.

Seconds per step, forward and backward apart, for N from 2^10 to 2^30, beside a loop of nn.LSTMCell
in the same process and the same rounds (`benchmarks.workload` says what is run). Bytes kept per
step for the backward pass. The highest level of memory at the paper's setting (SAM paper, 4.1 and
supplement E). Writes memory_sweep.json and memory_sweep.png; and model_sweep.json, the same of
all models at sizes that dense ones can have (`benchmarks.model_sweep`).
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.footprint import bytes_per_step, peak_bytes, resident_growth, saved_bytes
from benchmarks.harness import (
    RESULTS,
    Spread,
    circumstances,
    positive,
    ratio,
    spread,
    take_turns,
    write_json,
)
from benchmarks.model_sweep import LARGER, SIZES, STEPS, model_sweep, sdnc_against_dnc
from benchmarks.model_table import FILE as MODELS_FILE
from benchmarks.model_table import described
from benchmarks.sweep_figure import plot_sweep
from benchmarks.workload import Workload

EXPONENTS = tuple(range(10, 31, 2))
LSTM = "LSTMCell loop"
BYTES_STEPS = (50, 100)
# The paper's SAM, 100 steps, batch 1, N = 64 000 (4.1): running, and to initialise the network.
PAPER_RUNNING_MIB, PAPER_INITIAL_MIB = 7.8, 53.0
PEAK_MEMORY_SIZE, PEAK_STEPS = 2**16, 100


def time_sweep(workload: Workload, sizes: Sequence[int], *, rounds: int) -> dict[str, Any]:
    """Seconds per step at each memory size and of the LSTMCell loop, in turns.

    Args:
        workload: the sizes that stay the same.
        sizes: N, ascending.
        rounds: turns of each.

    Returns:
        ``lstm_cell_loop`` and ``sam`` (one entry per size) with spreads of seconds per step,
        ``to_lstm`` with ratios of the totals, and ``largest_to_smallest`` likewise.
    """
    models = {size: workload.sam(size) for size in sizes}
    loop = workload.lstm_cell_loop()
    # What is compared runs close together: each size beside a turn of the loop of its own, and the
    # largest beside the smallest.
    order = [sizes[0], sizes[-1], *sizes[1:-1]] if len(sizes) > 1 else [*sizes]
    things = {}
    for size in order:
        things |= {f"{LSTM} {size}": loop.timed, f"{size}": models[size].timed}
    times = take_turns(things, rounds=rounds)
    loops = [times[f"{LSTM} {size}"] for size in sizes]

    def per_step(turns: Sequence[dict[str, list[float]]]) -> dict[str, Spread]:
        return {
            phase: spread([seconds / workload.steps for turn in turns for seconds in turn[phase]])
            for phase in turns[0]
        }

    entries = [
        {
            "memory_size": size,
            "seconds_per_step": per_step([times[f"{size}"]]),
            "to_lstm": ratio(times[f"{size}"]["total"], beside["total"]),
        }
        for size, beside in zip(sizes, loops, strict=True)
    ]
    largest, smallest = (times[f"{size}"]["total"] for size in (sizes[-1], sizes[0]))
    return {
        "rounds": rounds,
        "lstm_cell_loop": {"seconds_per_step": per_step(loops)},
        "sam": entries,
        "largest_to_smallest": ratio(largest, smallest),
    }


def sam_bytes_per_step(
    workload: Workload, memory_size: int, *, steps: tuple[int, int] = BYTES_STEPS
) -> float:
    """Bytes that SAM keeps per step and batch row for the backward pass.

    Not counted: parameters, and the words themselves, which are there once and grow with the
    number of words written, not with N.
    """

    def saved(length: int) -> int:
        trained = replace(workload, steps=length).sam(memory_size)
        return saved_bytes(trained.loss, apart_from=trained.model.parameters())

    return bytes_per_step(saved, batch_size=workload.batch_size, steps=steps)


def initial_state_bytes(workload: Workload, memory_size: int) -> int:
    """Bytes of a fresh state for the whole batch."""
    return workload.model(memory_size).initial_state(workload.batch_size).nbytes


def sam_peak(memory_size: int = PEAK_MEMORY_SIZE, steps: int = PEAK_STEPS) -> dict[str, Any]:
    """Bytes of one training step at batch 1, as the paper reports memory.

    Returns:
        ``initial_state``: a fresh state. ``peak``: the most that tensors held at one time beside
        the parameters, from making the initial state to the parameters' gradients.
        ``parameters``. ``resident_growth``: how far a fresh process grew, for comparison.
    """
    workload = Workload(batch_size=1, steps=steps)
    trained = workload.sam(memory_size)
    return {
        "memory_size": memory_size,
        "steps": steps,
        "batch_size": 1,
        "parameters": sum(parameter.nbytes for parameter in trained.model.parameters()),
        "initial_state": initial_state_bytes(workload, memory_size),
        "peak": peak_bytes(trained.train),
        "resident_growth": resident_growth(
            "benchmarks.resident", str(memory_size), str(steps), "1"
        ),
        "paper": {
            "running_mib": PAPER_RUNNING_MIB,
            "initial_mib": PAPER_INITIAL_MIB,
            "memory_size": 64_000,
            "steps": 100,
        },
    }


def summary(results: dict[str, Any]) -> str:
    """A few lines for the terminal."""
    lines = [f"{'':>10}  {'forward':>9}  {'backward':>9}  {'total ms/step':>22}  x LSTM    bytes"]
    rows = [(LSTM, results["lstm_cell_loop"]), *((None, entry) for entry in results["sam"])]
    for label, entry in rows:
        name = label or f"2^{entry['memory_size'].bit_length() - 1}"
        phases = entry["seconds_per_step"]
        low, middle, high = (1e3 * getattr(phases["total"], k) for k in ("low", "median", "high"))
        line = (
            f"{name:>13}  {1e3 * phases['forward'].median:6.3f}  "
            f"{1e3 * phases['backward'].median:9.3f}  {middle:8.3f} ({low:.3f}-{high:.3f})"
        )
        if label is None:
            line += f"  {entry['to_lstm'].median:6.2f}  {entry['bytes_per_step']:7.0f}"
        lines.append(line)
    steady, peak = results["largest_to_smallest"], results["peak"]
    lines += [
        f"time, largest memory to smallest: {steady.median:.3f} "
        f"({steady.low:.3f}-{steady.high:.3f})",
        f"N = {peak['memory_size']}, T = {peak['steps']}, batch 1: initial state "
        f"{peak['initial_state'] / 2**20:.2f} MiB, peak {peak['peak'] / 2**20:.2f} MiB "
        f"(paper {PAPER_INITIAL_MIB} and {PAPER_RUNNING_MIB})",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> None:
    """Measures, writes, prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory_sweep", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a look: 3 sizes, 20 steps, 3 rounds")
    parser.add_argument("--threads", type=positive, default=1, help="threads torch may use")
    parser.add_argument("--rounds", type=positive, help="turns of each size, default 15")
    parser.add_argument("--out", type=Path, help="folder to write to")
    parser.add_argument("--only", choices=("sam", "models"), help="one of the two sweeps")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    # A quick look does not take the place of the results that the README shows.
    folder = options.out or (Path("runs/quick") if options.quick else RESULTS)
    results = circumstances("benchmarks.memory_sweep", arguments)
    if options.only != "models":
        _sam(options, folder, results)
    if options.only != "sam":
        _models(options, folder, results)


def _sam(options: argparse.Namespace, folder: Path, results: dict[str, Any]) -> None:
    exponents = (10, 20, 30) if options.quick else EXPONENTS
    sizes = [2**exponent for exponent in exponents]
    workload = Workload(steps=20) if options.quick else Workload()
    rounds = options.rounds or (3 if options.quick else 15)

    results = results | {"setting": asdict(workload) | {"index": "exact", "dtype": "float32"}}
    results |= time_sweep(workload, sizes, rounds=rounds)
    for entry in results["sam"]:
        entry["bytes_per_step"] = sam_bytes_per_step(workload, entry["memory_size"])
        entry["initial_state_bytes"] = initial_state_bytes(workload, entry["memory_size"])
    results["peak"] = sam_peak()
    write_json(folder / "memory_sweep.json", results)
    plot_sweep(results, folder / "memory_sweep.png")
    print(summary(results))
    print(f"{folder}/memory_sweep.json, {folder}/memory_sweep.png")


def _models(options: argparse.Namespace, folder: Path, results: dict[str, Any]) -> None:
    workload = Workload(steps=STEPS)
    rounds = options.rounds or (3 if options.quick else 5)
    sizes, larger = ((64, 128), (1024,)) if options.quick else (SIZES, LARGER)
    results = results | {"setting": asdict(workload) | {"dtype": "float32"}}
    results |= model_sweep(workload, sizes=sizes, larger=larger, rounds=rounds)
    compared = {"memory_size": 128} if options.quick else {}
    results["sdnc_to_dnc"] = sdnc_against_dnc(workload, rounds=rounds, **compared)
    write_json(folder / MODELS_FILE, results)
    print(described(json.loads((folder / MODELS_FILE).read_text())))
    print(f"{folder}/{MODELS_FILE}")


if __name__ == "__main__":
    main(sys.argv[1:])
