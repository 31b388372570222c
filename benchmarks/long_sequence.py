"""Full backpropagation through very long sequences: ``python -m benchmarks.long_sequence``.

SAM at batch 1 over 10^3, 10^4 and 10^5 steps, and with ``--longest`` 10^6: seconds per step,
forward and backward, beside a sequence of 10^4 steps in the same process; the highest resident set;
and what a step keeps for the backward pass, piece by piece, and what for. Each length runs in a
process of its own.

With exact search and 2^10 words all of them are in use after 256 steps: no step takes longer than
another. An index of lists has 2^20 words, and stops at 10^5 steps unless ``--index`` names it.
Writes long_sequence.json.
"""

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.bytes.apart import Resident, in_new_process, resident
from benchmarks.bytes.kept_sam import kept, path_of
from benchmarks.harness import (
    Lap,
    circumstances,
    positive,
    ratio,
    results_folder,
    spread,
    take_turns,
    write_json,
)
from benchmarks.step.step_ops import per_call
from benchmarks.tables.long_table import FILE, long_sequence_table
from benchmarks.workload import Workload
from index import BackendMissingError
from index.spelling import parse_index

LENGTHS, LONGEST, REFERENCE = (10**3, 10**4, 10**5), 10**6, 10**4
ROUNDS, REPEATED_UP_TO = 3, 10**5
QUICK_LENGTHS, QUICK_REFERENCE = (50, 200), 100
WARM_STEPS = 100  # enough for an approximate index to be in use


class Line(NamedTuple):
    """A memory, and how long sequences it is given."""

    kind: str  # of the index, options in brackets
    memory_size: int  # N
    max_steps: int = LONGEST


LINES = Line("exact", 2**10), Line("ivf", 2**20, 10**5)
# What is aimed for: bytes kept, and at 10^6 steps the resident set and the time to that at 10^4.
LIMIT = {
    "bytes_per_step": 8_000,
    "steps": LONGEST,
    "resident_peak": 16 * 2**30,
    "to_reference": 2.0,
}


def measure(
    workload: Workload,
    steps: int,
    *,
    memory_size: int,
    reference: int,
    rounds: int,
    threads: int = 1,
) -> dict[str, Any]:
    """Times a sequence beside one of another length; in a process that has done nothing else.

    Args:
        workload: all sizes but the length.
        steps: T.
        memory_size: N.
        reference: T of the other one.
        rounds: turns of each.
        threads: that torch may use.

    Returns:
        Seconds per step, how many times those of the reference, on which of `PATHS` it ran, and how
        large the process was in the first turn; see `resident`.
    """
    torch.set_num_threads(threads)
    # So that libraries have loaded, and compiled forms are there.
    loss = replace(workload, steps=WARM_STEPS).sam(memory_size).loss()
    path = path_of(loss)
    loss.backward()
    del loss
    both = {
        length: replace(workload, steps=length).sam(memory_size) for length in (steps, reference)
    }
    sizes: list[Resident | None] = []

    def watched(lap: Lap) -> None:
        def run() -> None:
            lap("prepare")
            both[steps].timed(lap)

        sizes.append(resident(run))

    things = {"sequence": watched, "reference": both[reference].timed}
    times = take_turns(things, rounds=rounds, warmup=0)
    seconds, other = per_call(times["sequence"], steps), per_call(times["reference"], reference)
    return {
        "memory_size": memory_size,
        "steps": steps,
        "path": path,
        "rounds": rounds,
        "seconds_per_step": {phase: spread(values) for phase, values in seconds.items()},
        "reference_steps": reference,
        "to_reference": ratio(seconds["total"], other["total"]),
        "resident": sizes[0] and sizes[0]._asdict(),
    }


def lines_of(indexes: Sequence[str] | None, memory_size: int | None) -> list[Line]:
    """The memories to measure.

    Args:
        indexes: kinds, each given all lengths; None for those of `LINES`, as long as they say.
        memory_size: N of all, or None for that of the same kind in `LINES`, else 2^20.
    """
    sizes = {line.kind: line.memory_size for line in LINES}
    lines = [*LINES]
    if indexes is not None:
        lines = [Line(name, sizes.get(name.partition("[")[0], 2**20)) for name in indexes]
    return [line._replace(memory_size=memory_size or line.memory_size) for line in lines]


def main(arguments: Sequence[str]) -> int:
    """Measures, writes after each length, prints; 1 after a mistake or a process that was ended."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.long_sequence",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="a look: 50 and 200 steps, one round")
    parser.add_argument("--longest", action="store_true", help="10^6 steps as well")
    parser.add_argument("--index", nargs="+", help="kinds, options in brackets, at all lengths")
    parser.add_argument("--memory-size", type=positive, help="N, default 2^10 for exact, else 2^20")
    parser.add_argument("--threads", type=positive, default=1, help="threads torch may use")
    parser.add_argument("--rounds", type=positive, help="turns up to 10^5 steps, default 3; then 1")
    parser.add_argument("--out", type=Path, help="folder to write to")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    folder = results_folder(options.out, quick=options.quick)
    lengths, reference = (QUICK_LENGTHS, QUICK_REFERENCE) if options.quick else (LENGTHS, REFERENCE)
    lengths = (*lengths, LONGEST) if options.longest else lengths
    rounds = options.rounds or (1 if options.quick else ROUNDS)
    workload = Workload(batch_size=1)
    results = circumstances("benchmarks.long_sequence", arguments)
    setting = dict.fromkeys(("memory_size", "index", "steps"), "see sequences")
    results["setting"] = asdict(workload) | setting | {"dtype": "float32"}
    try:
        lines = lines_of(options.index, options.memory_size)
        workloads = [replace(workload, index=parse_index(line.kind)) for line in lines]
        for line, given in zip(lines, workloads, strict=True):
            given.model(line.memory_size).initial_state(1)  # or its error before anything else
        results |= {"limit": LIMIT, "reference_steps": reference, "kept": kept(workload)}
        results["sequences"] = []
        for line, given in zip(lines, workloads, strict=True):
            for steps in lengths:
                if steps > line.max_steps:
                    print(
                        f"{line.kind}: no more than {line.max_steps:,} steps, see --help",
                        flush=True,
                    )
                    break
                found = in_new_process(
                    measure,
                    given,
                    steps,
                    memory_size=line.memory_size,
                    reference=reference,
                    rounds=rounds if steps <= REPEATED_UP_TO else 1,
                    threads=options.threads,
                )
                results["sequences"].append({"index": line.kind} | found)
                write_json(folder / FILE, results)
                micro = 1e6 * found["seconds_per_step"]["total"].median
                print(f"{line.kind}, {steps:,} steps: {micro:,.1f} us a step", flush=True)
    except (ValueError, BackendMissingError) as error:
        print(error, file=sys.stderr)
        return 1
    except BrokenProcessPool:
        print("the process was ended before its sequence was; out of memory?", file=sys.stderr)
        return 1
    print(long_sequence_table(folder))
    print(folder / FILE)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
