"""What a second thread gains: ``python -m benchmarks.threads``. Writes threads.json.

A SAM and an SDNC, each call with a fresh memory, and an nn.LSTM of the same width: forward and
backward pass with one thread and with more, in turns in one process. Before each turn there is one
that does not count, so that threads are as awake as they are in training. The cores must be free:
a thread that waits for one of them holds up all others.
"""

import argparse
import itertools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.harness import (
    Lap,
    Measured,
    Report,
    circumstances,
    positive,
    ratio,
    results_folder,
    spread,
    take_turns,
    write_cases,
)
from benchmarks.workload import Trained, Workload

FILE = "threads.json"
MEMORY = 2**20
# How many times as fast two threads should be as one.
AIM = 1.6
_PHASES = "forward", "backward"


class Case(NamedTuple):
    """What is measured."""

    model: str
    batch_size: int
    steps: int


def cases(quick: bool) -> Iterator[Case]:
    """All of them; one length if quick."""
    for case in itertools.product(("sam", "sdnc"), (8, 32, 128), (50,) if quick else (50, 100)):
        yield Case(*case)


def with_threads(count: int, thing: Trained) -> Measured:
    """A turn with so many threads."""

    def measured(lap: Lap) -> None:
        torch.set_num_threads(count)
        thing.train()
        thing.model.zero_grad(set_to_none=True)
        lap("before")
        thing.timed(lap)

    return measured


def measure(case: Case, *, threads: int, rounds: int) -> dict[str, Any]:
    """How many times as fast more threads are as one, round by round.

    Args:
        case: model and sizes.
        threads: how many.
        rounds: turns of each.

    Returns:
        The case; ``seconds``, of a step and batch row with one thread; ``speed`` of the model and
        ``lstm`` of the nn.LSTM, spreads of how many times as fast.
    """
    name, batch_size, steps = case
    load = Workload(batch_size=batch_size, steps=steps)
    models = {name: load.trained(name, MEMORY), "lstm": load.nn_lstm()}
    turns = itertools.product(models, (1, threads))
    things = {f"{model} {count}": with_threads(count, models[model]) for model, count in turns}
    taken = take_turns(things, rounds=rounds)
    times = {
        thing: [sum(both) for both in zip(*map(phases.__getitem__, _PHASES), strict=True)]
        for thing, phases in taken.items()
    }
    return case._asdict() | {
        "seconds": spread([second / (steps * batch_size) for second in times[f"{name} 1"]]),
        "speed": ratio(times[f"{name} 1"], times[f"{name} {threads}"]),
        "lstm": ratio(times["lstm 1"], times[f"lstm {threads}"]),
        "aim": AIM if threads == 2 and batch_size >= 32 else None,
    }


def line(entry: dict[str, Any]) -> str:
    """A case in a line of the terminal."""
    shown = entry["speed"]
    return (
        f"{entry['model']}, batch {entry['batch_size']:3}, T {entry['steps']:3}: "
        f"{shown.median:.2f} ({shown.low:.2f} to {shown.high:.2f}) times as fast; "
        f"nn.LSTM {entry['lstm'].median:.2f}"
    )


def main(arguments: Sequence[str], report: Report = print) -> None:
    """Measures, prints as it goes, writes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.threads", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one length")
    parser.add_argument("--rounds", type=positive, help="turns of each, default 15, quick 5")
    parser.add_argument("--threads", type=positive, default=2, help="how many are compared to one")
    parser.add_argument("--out", type=Path, help="folder to write to")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    rounds = options.rounds or (5 if options.quick else 15)
    path = results_folder(options.out, quick=options.quick) / FILE
    results = circumstances("benchmarks.threads", arguments)
    results |= {"rounds": rounds, "memory_size": MEMORY}
    how = {"threads": options.threads, "rounds": rounds}
    measured = (measure(case, **how) for case in cases(options.quick))
    write_cases(path, results, measured, line, report)


if __name__ == "__main__":
    main(sys.argv[1:])
