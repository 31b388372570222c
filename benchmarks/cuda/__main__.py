"""SAM's step on a GPU: ``python -m benchmarks.cuda``, some minutes; one line without a GPU.

Forward and backward of a sequence at 2^20 and 2^24 words, beside a loop of nn.LSTMCell on the same
GPU. Both are launched from Python and as CUDA graphs (`benchmarks.cuda.cuda_runs`). A memory holds
the H T words of a short past, or words in all slots except the H T that the sequence takes into
use. Neither has to grow, and exact search compares every word. Writes cuda.json after each case.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.cuda.cuda_runs import Run, lstm_run, sam_run, ways, words_before
from benchmarks.harness import (
    RESULTS,
    Lap,
    Measured,
    circumstances,
    positive,
    ratio,
    spread,
    take_turns,
    write_json,
)
from benchmarks.tables.cuda_table import FILE, cuda_table
from benchmarks.workload import Workload

SIZES, ROUNDS = (2**20, 2**24), 7
LSTM = "LSTMCell loop"


def measure(
    workload: Workload, memory_size: int, *, occupied: bool, rounds: int, device: torch.device
) -> dict[str, Any]:
    """Times SAM at one size in turns with the loop.

    Args:
        workload: sizes.
        memory_size: N.
        occupied: see `words_before`.
        rounds: turns of each.
        device: where.

    Returns:
        For each way seconds of a step of SAM and of the loop, and ``to_lstm``, the ratio of the
        two; and the most bytes of a GPU that were in use.
    """
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    words = words_before(workload, memory_size, occupied=occupied)
    inputs, model = workload.inputs().to(device), workload.model(memory_size).to(device)
    sam = ways(sam_run(model, inputs, words), device)
    loop = ways(lstm_run(workload, inputs), device)
    things: dict[str, Measured] = {}
    for way in sam:
        things[f"{LSTM} {way}"] = partial(_timed, loop[way], device)
        things[f"SAM {way}"] = partial(_timed, sam[way], device)
    times = take_turns(things, rounds=rounds)
    found: dict[str, Any] = {"memory_size": memory_size, "occupied": occupied}
    for way in sam:
        steps, loops = (
            [seconds / workload.steps for seconds in times[f"{name} {way}"]["total"]]
            for name in ("SAM", LSTM)
        )
        found[way] = {
            "seconds_per_step": spread(steps),
            "lstm_seconds_per_step": spread(loops),
            "to_lstm": ratio(steps, loops),
        }
    return found | {"peak_bytes": torch.cuda.max_memory_allocated(device) if on_gpu else None}


def _timed(run: Run, device: torch.device, lap: Lap) -> None:
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    lap("run")


def measure_all(
    workload: Workload,
    sizes: Sequence[int],
    *,
    rounds: int,
    device: torch.device,
    done: Callable[[list[dict[str, Any]]], None] = lambda cases: None,
) -> list[dict[str, Any]]:
    """`measure` of both kinds of memory at all sizes; it says which do not fit into the GPU.

    Args:
        workload, rounds, device: as for `measure`.
        sizes: N.
        done: is given all cases so far after each, since a GPU may be lent for minutes.
    """
    cases: list[dict[str, Any]] = []
    for size in sizes:
        for occupied in (False, True):
            try:
                case = measure(workload, size, occupied=occupied, rounds=rounds, device=device)
            except torch.OutOfMemoryError:
                case = {"memory_size": size, "occupied": occupied, "fits": False}
            cases.append(case)
            done(cases)
            if device.type == "cuda":
                torch.cuda.empty_cache()
    return cases


def main(arguments: Sequence[str]) -> int:
    """Measures, writes, prints; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cuda", description=__doc__)
    parser.add_argument("--memory-size", type=positive, nargs="+", default=SIZES, help="N")
    parser.add_argument("--rounds", type=positive, default=ROUNDS, help="turns of each")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder to write to")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print("benchmarks.cuda: no CUDA device on this machine, nothing measured", file=sys.stderr)
        return 1
    torch.set_num_threads(1)
    workload = Workload()
    results = circumstances("benchmarks.cuda", arguments)
    results |= {"gpu": torch.cuda.get_device_name(), "setting": asdict(workload)}
    results |= {"rounds": options.rounds}
    sizes, device = options.memory_size, torch.device("cuda")

    def written(cases: list[dict[str, Any]]) -> None:
        write_json(options.out / FILE, results | {"cases": cases})

    measure_all(workload, sizes, rounds=options.rounds, device=device, done=written)
    print(cuda_table(options.out))
    print(options.out / FILE)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
