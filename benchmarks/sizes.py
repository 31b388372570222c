"""Every batch and width: ``python -m benchmarks.sizes``.

Writes sizes_MAKER.json and sizes_MAKER.png, by the maker of the processor: amd, intel, ...

SAM with a fresh memory of 2^20 words, as the library chooses to run it, step by step, and in plain
torch, beside a loop of nn.LSTMCell and nn.LSTM of the same width, in turns in one process. Beside
each time stands what this machine could do at best: see `benchmarks.roofline`. An SDNC in the same
way with ``--model sdnc``; ``--add`` keeps what the file holds of others.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.harness import (
    Report,
    Spread,
    circumstances,
    positive,
    ratio,
    results_folder,
    spread,
    take_turns,
    write_json,
)
from benchmarks.roofline import Rates, Work, measure_rates, work_of
from benchmarks.sizes_figure import plot_sizes
from benchmarks.workload import Workload

MEMORY = 2**20
# Batch, units, and the most a whole sequence should take, in times of the LSTMCell loop.
AIMS = {
    (1, 100): 0.4,
    (8, 100): 0.6,
    (32, 100): 1.0,
    (128, 100): 1.5,
    (8, 256): 0.7,
    (32, 256): 1.0,
    (64, 512): 1.2,
    (16, 1024): 0.9,
}
LINKED_AIMS = dict.fromkeys([(1, 100), (8, 100), (32, 100), (128, 100)], 2.0)  # of an SDNC
_BATCHES, _UNITS = (1, 8, 32, 128, 256), (64, 256, 512, 1024)
_CORNERS = ((1, 64), (1, 1024), (8, 256), (256, 64), (256, 1024))
_MOST = 2**34  # numbers multiplied in a turn, above which a case of the grid is left out


class Case(NamedTuple):
    """What is measured."""

    batch_size: int
    hidden_size: int
    steps: int
    model: str = "sam"

    @classmethod
    def of(cls, entry: dict[str, Any]) -> "Case":
        """That of a measurement."""
        return cls(**{name: entry[name] for name in cls._fields if name in entry})


def cases(quick: bool) -> Iterator[Case]:
    """All of them: the aims at two lengths; and, unless quick, the grid and the corners."""
    for steps in (50,) if quick else (50, 100):
        yield from (Case(*size, steps) for size in AIMS)
    if quick:
        return
    grid = [Case(batch, units, 50) for units in _UNITS for batch in _BATCHES]
    grid += [Case(*size, steps) for size in _CORNERS for steps in (1, 10, 500)]
    for case in grid:
        if (*case[:2],) not in AIMS and case[0] * case[2] * case[1] * (case[1] + 128) < _MOST:
            yield case


def linked_cases(quick: bool) -> Iterator[Case]:
    """Those of an SDNC: its aims at two lengths, at one if quick."""
    for steps in (50,) if quick else (50, 100):
        yield from (Case(*size, steps, "sdnc") for size in LINKED_AIMS)


def measure(case: Case, *, rounds: int) -> dict[str, Any]:
    """Seconds a step and batch row of each, and its time in times of the loop's, round by round.

    Args:
        case: sizes.
        rounds: turns of each.

    Returns:
        The sizes; ``seconds`` and ``to_loop``, spreads by name; ``aim``, or None; ``flops`` and
        ``bytes`` of a step and batch row.
    """
    sizes = case._asdict()
    aims = AIMS if sizes.pop("model") == "sam" else LINKED_AIMS
    load = Workload(**sizes)
    things = {
        "loop": load.lstm_cell_loop().timed,
        "lstm": load.nn_lstm().timed,
        "sequence": load.trained(case.model, MEMORY).timed,
        "step": load.trained(case.model, MEMORY, "step").timed,
        "plain": load.trained(case.model, MEMORY, "plain").timed,
    }
    times = {name: taken["total"] for name, taken in take_turns(things, rounds=rounds).items()}
    each = case.batch_size * case.steps
    seconds = {name: spread([time / each for time in times[name]]) for name in times}
    return case._asdict() | {
        "seconds": seconds,
        "to_loop": {name: ratio(times[name], times["loop"]) for name in times if name != "loop"},
        "aim": aims.get(case[:2]),
        **work_of(load, case.model)._asdict(),
    }


def names(processor: str) -> tuple[str, str]:
    """The files of results and of the figure for a processor, by its maker: no two makers share
    what is fast."""
    maker = re.match(r"[a-z]*", processor.lower())
    name = f"sizes_{(maker and maker[0]) or 'other'}"
    return f"{name}.json", f"{name}.png"


def with_least(entry: dict[str, Any], rates: Rates) -> dict[str, Any]:
    """A case with the least time that the rates allow, ``least_to_loop``."""
    least = Work(entry["flops"], entry["bytes"]).least_seconds(rates)
    return entry | {"least_to_loop": least / entry["seconds"]["loop"].median}


def _read(entry: dict[str, Any]) -> dict[str, Any]:
    """A measurement as `measure` returns it, from a file."""
    spreads = {
        key: {name: Spread(**one) for name, one in entry[key].items()}
        for key in ("seconds", "to_loop")
    }
    return entry | spreads


def _before(parser: argparse.ArgumentParser, file: Path, threads: int) -> dict[str, Any]:
    """The results to which others are added, taken with as many threads."""
    if not file.is_file():
        parser.error(f"--add: expected results to add to, got no file {file}")
    before = json.loads(file.read_text())
    if before["threads"] != threads:
        parser.error(f"--threads: expected {before['threads']} as in {file}, got {threads}")
    return before


def line(entry: dict[str, Any]) -> str:
    """A case in a line of the terminal."""
    shown = entry["to_loop"]["sequence"]
    aim = "" if entry["aim"] is None else f", aim {entry['aim']:.1f}"
    return (
        f"{entry['model']}, batch {entry['batch_size']:3}, {entry['hidden_size']:4} units, "
        f"T {entry['steps']:3}: "
        f"{shown.median:.2f} ({shown.low:.2f} to {shown.high:.2f}) of the loop{aim}; "
        f"step by step {entry['to_loop']['step'].median:.2f}, "
        f"plain {entry['to_loop']['plain'].median:.2f}, "
        f"nn.LSTM {entry['to_loop']['lstm'].median:.2f}, "
        f"at best {entry['least_to_loop']:.2f}"
    )


def main(arguments: Sequence[str], report: Report = print) -> None:
    """Measures, prints as it goes, writes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sizes", description=__doc__)
    parser.add_argument("--model", choices=("sam", "sdnc"), default="sam", help="what is measured")
    parser.add_argument("--quick", action="store_true", help="the aims at one length: two minutes")
    parser.add_argument("--steps", type=positive, nargs="+", help="lengths, default all")
    parser.add_argument("--add", action="store_true", help="to the other cases of the results")
    parser.add_argument("--rounds", type=positive, help="turns of each, default 9, quick 5")
    parser.add_argument("--threads", type=positive, default=1, help="threads torch may use")
    parser.add_argument("--out", type=Path, help="folder to write to")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    rounds = options.rounds or (5 if options.quick else 9)
    folder = results_folder(options.out, quick=options.quick and not options.add)
    results = circumstances("benchmarks.sizes", arguments)
    every = (cases if options.model == "sam" else linked_cases)(options.quick)
    todo = [one for one in every if one.steps in (options.steps or (one.steps,))]
    if not todo:
        parser.error(f"--steps: expected a length that is measured, got {options.steps}")
    file, figure = (folder / name for name in names(results["machine"]["processor"]))
    before = _before(parser, file, options.threads) if options.add else None
    rates = Rates(**before["rates"]) if before else Rates(0.0, 0.0)
    found = {Case.of(entry): _read(entry) for entry in before["cases"]} if before else {}
    for case in todo:
        found[case] = measure(case, rounds=rounds) | {"rounds": rounds, "date": results["date"]}
        rates = Rates(*map(max, rates, measure_rates()))  # the best, as other load comes and goes
        found = {one: with_least(entry, rates) for one, entry in found.items()}
        results |= {"rates": rates._asdict(), "cases": [*found.values()]}
        report(line(found[case]))
        write_json(file, results)
    plot_sizes(results, figure)
    report(str(file))


if __name__ == "__main__":
    main(sys.argv[1:])
