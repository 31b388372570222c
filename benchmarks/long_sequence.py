"""Full backpropagation through very long sequences: ``python -m benchmarks.long_sequence``.

SAM with 2^20 words at batch 1, over 10^3, 10^4 and 10^5 steps, and with ``--longest`` 10^6: seconds
per step, forward and backward, beside a sequence of 10^4 steps in the same process; the highest
resident set; and what a step keeps for the backward pass, piece by piece. Each length runs in a
process of its own. Exact search looks at all words written, so without ``--index`` it stops at 10^4
steps, and an index of lists goes on. Writes long_sequence.json.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.apart import Resident, in_new_process, resident
from benchmarks.footprint import bytes_per_step, saved_bytes
from benchmarks.harness import (
    RESULTS,
    Lap,
    circumstances,
    positive,
    ratio,
    spread,
    take_turns,
    write_json,
)
from benchmarks.kept import kept_per_step
from benchmarks.markdown import markdown, measured_on, missing
from benchmarks.step_ops import per_call
from benchmarks.workload import Workload
from index import BackendMissingError, make_index
from index.spelling import parse_index

FILE = "long_sequence.json"
MEMORY_SIZE = 2**20
LENGTHS, LONGEST, REFERENCE, ROUNDS = (10**3, 10**4, 10**5), 10**6, 10**4, 3
QUICK_LENGTHS, QUICK_REFERENCE = (50, 200), 100
INDEXES, EXACT_UP_TO = ("exact", "ivf"), 10**4
KEPT_STEPS = (53, 97)
# What is aimed for: bytes kept, and at 10^6 steps the resident set and the time to that at 10^4.
LIMIT = {
    "bytes_per_step": 8_000,
    "steps": LONGEST,
    "resident_peak": 16 * 2**30,
    "to_reference": 2.0,
}


def measure(
    workload: Workload, steps: int, *, reference: int, rounds: int, threads: int = 1
) -> dict[str, Any]:
    """Times a sequence beside one of another length; in a process that has done nothing else.

    Args:
        workload: all sizes but the length.
        steps: T.
        reference: T of the other one.
        rounds: turns of each.
        threads: that torch may use.

    Returns:
        Seconds per step, how many times those of the reference, and how large the process was in
        the first turn; see `resident`.
    """
    torch.set_num_threads(threads)
    replace(workload, steps=2).sam(MEMORY_SIZE).train()  # so that libraries have loaded
    both = {
        length: replace(workload, steps=length).sam(MEMORY_SIZE) for length in (steps, reference)
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
        "steps": steps,
        "rounds": rounds,
        "seconds_per_step": {phase: spread(values) for phase, values in seconds.items()},
        "reference_steps": reference,
        "to_reference": ratio(seconds["total"], other["total"]),
        "resident": sizes[0] and sizes[0]._asdict(),
    }


def kept(workload: Workload) -> dict[str, Any]:
    """Bytes that a step keeps for the backward pass and a sequence, and what they are of."""

    def forward(steps: int) -> tuple[torch.Tensor, Any]:
        trained = replace(workload, steps=steps).sam(MEMORY_SIZE)
        return trained.loss(), trained.model.parameters()

    def saved(steps: int) -> int:
        trained = replace(workload, steps=steps).sam(MEMORY_SIZE)
        return saved_bytes(trained.loss, apart_from=trained.model.parameters())

    pieces = kept_per_step(forward, batch_size=workload.batch_size, steps=KEPT_STEPS)
    return {
        "bytes_per_step": bytes_per_step(saved, batch_size=workload.batch_size, steps=KEPT_STEPS),
        "pieces": [piece._asdict() for piece in pieces],
    }


def long_sequence_table(results: Path) -> str:
    """A row per index and length, then a row per piece that a step keeps."""
    path = results / FILE
    if not path.exists():
        return missing("benchmarks.long_sequence")
    found = json.loads(path.read_text())
    head = ["index", "steps", "forward ms", "backward ms", "both (range)"]
    rows = [[*head, f"to {found['reference_steps']:,} steps", "resident", "growth a step"]]
    rows += [_row(sequence) for sequence in found["sequences"]]
    pieces = [["kept for the backward pass by", "storages", "bytes"]]
    for piece in found["kept"]["pieces"]:
        savers = "; ".join(f"`{name}`" for name in piece["saved_by"])
        # A storage of the whole sequence is none a step.
        pieces.append([savers, f"{piece['storages']:.0f}", f"{piece['bytes']:,.0f}"])
    pieces.append(["all", "", f"{found['kept']['bytes_per_step']:,.0f}"])
    limit, size = found["limit"], found["setting"]["memory_size"]
    return (
        f"{markdown(rows)}\n\n{markdown(pieces)}\n\nSAM, N = 2^{size.bit_length() - 1}, "
        f"batch 1, milliseconds and bytes a step. A storage counts once and whole, and stands with "
        f"all operations that keep it or a part of it; one with T holds all steps. The "
        f"resident set holds autograd's own nodes as well. Aims: "
        f"{limit['bytes_per_step']:,} bytes a step; at {limit['steps']:,} steps "
        f"{limit['resident_peak'] / 2**30:.0f} GiB and {limit['to_reference']:.0f} times the time "
        f"of a step at {found['reference_steps']:,}. {measured_on(found)}"
    )


def _row(sequence: dict[str, Any]) -> list[str]:
    phases = sequence["seconds_per_step"]
    total = {key: 1e3 * value for key, value in phases["total"].items()}
    size = sequence["resident"]
    bytes_of = (
        ("", "")
        if size is None
        else (f"{size['peak'] / 2**20:,.0f} MiB", f"{size['growth'] / sequence['steps']:,.0f} B")
    )
    return [
        f"`{sequence['index']}`",
        f"{sequence['steps']:,}",
        *(f"{1e3 * phases[phase]['median']:.3f}" for phase in ("forward", "backward")),
        f"{total['median']:.3f} ({total['low']:.3f} to {total['high']:.3f})",
        f"{sequence['to_reference']['median']:.2f}",
        *bytes_of,
    ]


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
    parser.add_argument("--threads", type=positive, default=1, help="threads torch may use")
    parser.add_argument("--rounds", type=positive, help="turns up to 10^4 steps, default 3; then 1")
    parser.add_argument("--out", type=Path, help="folder to write to")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    # A quick look does not take the place of the results that the README shows.
    folder = options.out or (Path("runs/quick") if options.quick else RESULTS)
    lengths, reference = (QUICK_LENGTHS, QUICK_REFERENCE) if options.quick else (LENGTHS, REFERENCE)
    lengths = (*lengths, LONGEST) if options.longest else lengths
    rounds = options.rounds or (1 if options.quick else ROUNDS)
    workload = Workload(batch_size=1)
    results = circumstances("benchmarks.long_sequence", arguments)
    setting = asdict(workload) | {"memory_size": MEMORY_SIZE, "index": "see sequences"}
    results["setting"] = setting | {"steps": "see sequences", "dtype": "float32"}
    results |= {"limit": LIMIT, "reference_steps": reference, "kept": kept(workload)}
    results["sequences"] = []
    try:
        configs = {name: parse_index(name) for name in options.index or INDEXES}
        for config in configs.values():
            make_index(config, batch_size=1, capacity=MEMORY_SIZE, word_size=workload.word_size)
        for name, config in configs.items():
            for steps in lengths:
                if steps > EXACT_UP_TO and name == "exact" and not options.index:
                    print(f"exact: no more than {EXACT_UP_TO:,} steps, see --help", flush=True)
                    break
                found = in_new_process(
                    measure,
                    replace(workload, index=config),
                    steps,
                    reference=reference,
                    rounds=rounds if steps <= REFERENCE else 1,
                    threads=options.threads,
                )
                results["sequences"].append({"index": name} | found)
                write_json(folder / FILE, results)
                milliseconds = 1e3 * found["seconds_per_step"]["total"].median
                print(f"{name}, {steps:,} steps: {milliseconds:.3f} ms a step", flush=True)
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
