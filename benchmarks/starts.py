"""Episodes that begin inside of a call: ``python -m benchmarks.starts``. Writes starts.json.

A call of a SAM or SDNC with `starts` at some share of all steps and rows, beside the same call
without: as one operation, and cut into a call for each stretch of steps in which no row begins
anew, which is what runs where there is no such operation. All take turns in one process; the time
is the processor's, forward and backward.
"""

import argparse
import itertools
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from torch import Tensor

from benchmarks.harness import (
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
from sam.fast.dispatch import compiled_forms

FILE = "starts.json"
MEMORY = 2**20
SHARES = 0.0, 0.01, 0.1
# The most that a call with starts should take, in times of one without, by share.
AIMS = {0.01: 1.1, 0.1: 1.3}


class Case(NamedTuple):
    """What is measured."""

    model: str
    batch_size: int
    steps: int


def cases(quick: bool) -> Iterator[Case]:
    """All of them; one length if quick."""
    for case in itertools.product(("sam", "sdnc"), (8, 32), (50,) if quick else (50, 100)):
        yield Case(*case)


def starts_at(share: float, steps: int, batch_size: int) -> Tensor:
    """Which rows begin anew with which steps, bool [T, B]: as many as the share says, drawn."""
    count = round(share * steps * batch_size)
    starts = torch.zeros(steps * batch_size, dtype=torch.bool)
    starts[torch.randperm(len(starts), generator=torch.Generator().manual_seed(1))[:count]] = True
    return starts.view(steps, batch_size)


def with_starts(load: Workload, name: str, share: float | None, *, cut: bool = False) -> Trained:
    """A model and a call from a fresh memory, with starts at a share of all steps, or without."""
    model, inputs = load.network(name, MEMORY), load.inputs()
    given: Any = {} if share is None else {"starts": starts_at(share, *inputs.shape[:2])}

    def run() -> Tensor:
        if not cut:
            return model(inputs, **given)[0]
        forms = compiled_forms().standard_cell
        with patch.object(forms, "begins_empty", lambda *_: False):
            return model(inputs, **given)[0]

    return Trained(model, run)


def measure(case: Case, *, rounds: int) -> dict[str, Any]:
    """Times of a call with starts in times of one without, round by round.

    Args:
        case: model and sizes.
        rounds: turns of each.

    Returns:
        The case; ``seconds``, of a step and batch row without starts; ``shares``, for each share
        ``one`` and ``cut``, times as one operation and cut into calls; and how many ``stretches``
        the latter are.
    """
    name, batch_size, steps = case
    load = Workload(batch_size=batch_size, steps=steps)
    things = {"none": with_starts(load, name, None).timed}
    for share in SHARES:
        things[f"one {share}"] = with_starts(load, name, share).timed
        things[f"cut {share}"] = with_starts(load, name, share, cut=True).timed
    taken = take_turns(things, rounds=rounds, clock=time.process_time)
    times = {thing: phases["total"] for thing, phases in taken.items()}
    shares = [
        {
            "share": share,
            "stretches": 1 + int(starts_at(share, steps, batch_size)[1:].any(1).sum()),
            "one": ratio(times[f"one {share}"], times["none"]),
            "cut": ratio(times[f"cut {share}"], times["none"]),
            "aim": AIMS.get(share),
        }
        for share in SHARES
    ]
    seconds = spread([second / (steps * batch_size) for second in times["none"]])
    return case._asdict() | {"seconds": seconds, "shares": shares}


def line(entry: dict[str, Any]) -> str:
    """A case in a line of the terminal."""
    shown = ", ".join(
        f"{100 * each['share']:g} %: {each['one'].median:.2f} (cut {each['cut'].median:.2f})"
        for each in entry["shares"]
    )
    return f"{entry['model']}, batch {entry['batch_size']}, T {entry['steps']}: {shown}"


def main(arguments: Sequence[str], report: Report = print) -> None:
    """Measures, prints as it goes, writes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.starts", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one length")
    parser.add_argument("--rounds", type=positive, help="turns of each, default 15, quick 5")
    parser.add_argument("--threads", type=positive, default=1, help="threads torch may use")
    parser.add_argument("--out", type=Path, help="folder to write to")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    rounds = options.rounds or (5 if options.quick else 15)
    path = results_folder(options.out, quick=options.quick) / FILE
    results = circumstances("benchmarks.starts", arguments)
    results |= {"rounds": rounds, "memory_size": MEMORY}
    measured = (measure(case, rounds=rounds) for case in cases(options.quick))
    write_cases(path, results, measured, line, report)


if __name__ == "__main__":
    main(sys.argv[1:])
