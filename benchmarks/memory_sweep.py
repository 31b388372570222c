"""Seconds and bytes of every model against the size of its memory, beside an LSTMCell loop.

    python -m benchmarks.memory_sweep                       # everything, about an hour
    python -m benchmarks.memory_sweep --quick               # at most ten minutes
    python -m benchmarks.memory_sweep --only fresh bytes    # some of the parts, anew

Parts: "fresh": SAM in every way it runs and SDNC, up to 2^30 words that were never written.
"dense": all models beside each other, dense ones as far as time and memory allow. "lengths":
sequences of 1, 10 and 100 steps. "threads": two threads. "bytes": a whole training step. "pair":
SDNC beside DNC. "full": SAM with every slot of its memory occupied, with each index.

Each part runs in a process of its own and writes its results to memory_sweep.json when it ends
(see `benchmarks.sweep.sweep_file`). Then memory_sweep.png is drawn, and ``python -m
benchmarks.report`` puts the numbers into README and docs. A quick run measures the parts that
README and figure show, at fewer sizes, and replaces those of a full run.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.bytes.apart import in_new_process
from benchmarks.harness import RESULTS, circumstances, positive
from benchmarks.sweep.sweep_figure import PARTS_SHOWN, plot_sweep
from benchmarks.sweep.sweep_file import FILE, ResultsError, Sweep, write_part
from benchmarks.sweep.sweep_parts import PARTS, THREADS
from benchmarks.sweep.sweep_plan import FULL, QUICK, Plan
from benchmarks.tables.speed_table import described
from index import BackendMissingError

FIGURE = "memory_sweep.png"


def run_part(name: str, plan: Plan, arguments: Sequence[str], folder: Path) -> float:
    """Measures one part in this process, and writes all there is whenever there is more.

    Args:
        name: of the part.
        plan: how much of it.
        arguments: what was typed.
        folder: of the file of results.

    Returns:
        Seconds that it took.
    """
    torch.set_num_threads(THREADS.get(name, 1))
    start = time.perf_counter()
    record: dict[str, Any] = circumstances("benchmarks.memory_sweep", arguments)
    record["plan"] = asdict(plan)
    for found in PARTS[name](plan, _report):
        record |= found
        write_part(folder, name, record, finished=False)
    seconds = time.perf_counter() - start
    write_part(folder, name, record | {"seconds": round(seconds, 1)}, finished=True)
    return seconds


def main(arguments: Sequence[str]) -> int:
    """Measures, writes, draws, prints; 1 after a part that was not measured."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.memory_sweep",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="fewer sizes and rounds: ten minutes")
    parser.add_argument("--only", nargs="+", choices=[*PARTS], help="these parts; others stay")
    parser.add_argument("--rounds", type=positive, help="turns of each, default 15, quick 9")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder to write to")
    options = parser.parse_args(arguments)
    plan = QUICK if options.quick else FULL
    if options.rounds:
        plan = replace(plan, rounds=options.rounds)
    names = [name for name in PARTS if name in (options.only or plan.parts)]
    long = "at most ten minutes" if options.quick else "an hour, some of them minutes"
    print(f"{len(names)} parts, all of them take {long}: {', '.join(names)}", flush=True)
    failed = 0
    for number, name in enumerate(names, 1):
        about = (PARTS[name].__doc__ or "").splitlines()[0]
        print(f"[{number}/{len(names)}] {name}: {about}", flush=True)
        try:
            seconds = in_new_process(run_part, name, plan, tuple(arguments), options.out)
            print(f"    done in {seconds:.0f} s", flush=True)
        except BrokenProcessPool:
            failed = 1
            print(f"{name}: the process was ended; out of memory?", file=sys.stderr)
        except ResultsError as error:
            print(error, file=sys.stderr)
            return 1
    return _show(options.out, names) or failed


def _show(folder: Path, names: Sequence[str]) -> int:
    """Prints the parts that were measured, and draws all; 1 where that cannot be."""
    try:
        sweep = Sweep(folder)
        print(described(sweep, names))
        print(folder / FILE)
        if {*PARTS_SHOWN} <= {*sweep.names}:
            plot_sweep(sweep, folder / FIGURE)
            print(folder / FIGURE)
        else:
            print(f"no figure: it shows the parts {', '.join(PARTS_SHOWN)}")
    except (ResultsError, BackendMissingError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _report(line: str) -> None:
    print(f"    {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
