"""Measuring on a noisy machine: things take turns, and what is compared ran in the same round."""

import argparse
import datetime
import gc
import json
import os
import platform
import shlex
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy
import torch

from sam import __version__
from sam.train.files import write_atomic

RESULTS = Path(__file__).parent / "results"

# Ends a phase: the time since the one before, or since the start, goes under this name.
Lap = Callable[[str], None]
# What is measured: does its work, and says where its phases end.
Measured = Callable[[Lap], None]
# Per thing and phase one number of seconds for every round.
Times = dict[str, dict[str, list[float]]]


class Spread(NamedTuple):
    """Median and range of repeated measurements."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Median, lowest and highest.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("values: expected at least one, got none")
    return Spread(statistics.median(values), min(values), max(values))


def take_turns(
    things: Mapping[str, Measured],
    *,
    rounds: int,
    warmup: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> Times:
    """Runs several things in turns, A B C, C B A, A B C, ..., and takes the time of their phases.

    Whatever slows the machine down for a while slows all of them, so that the `ratio` of two of
    them is steadier than their times. Every other round goes backwards, so that none always
    follows the same neighbour. Garbage is collected before each turn, outside of the time taken.

    Args:
        things: by name; each is called with a function that ends a phase.
        rounds: turns of each that count.
        warmup: turns of each before, that do not count.
        clock: seconds.

    Returns:
        Seconds per thing, phase and round; "total" is the sum of a turn's phases.

    Raises:
        ValueError: `rounds` is below 1, `warmup` below 0, or a thing ended no phase or one
            named "total".
    """
    if rounds < 1 or warmup < 0:
        raise ValueError(
            f"rounds, warmup: expected at least 1 and at least 0, got {rounds} and {warmup}"
        )
    times: Times = {name: {} for name in things}
    for number in range(-warmup, rounds):
        forwards = number % 2 == 0
        for name in [*things][:: 1 if forwards else -1]:
            phases = _take(things[name], clock)
            if not phases or "total" in phases:
                raise ValueError(
                    f"{name}: expected phases, none of them named total, got {[*phases]}"
                )
            if number >= 0:
                for phase, seconds in (*phases.items(), ("total", sum(phases.values()))):
                    times[name].setdefault(phase, []).append(seconds)
    return times


def _take(thing: Measured, clock: Callable[[], float]) -> dict[str, float]:
    phases: dict[str, float] = {}
    gc.collect()
    last = clock()

    def lap(phase: str) -> None:
        nonlocal last
        now = clock()
        phases[phase] = phases.get(phase, 0.0) + now - last
        last = clock()  # the bookkeeping above belongs to nobody

    thing(lap)
    return phases


def ratio(times: Sequence[float], reference: Sequence[float]) -> Spread:
    """How many times as long, round by round.

    Args:
        times: one number for every round.
        reference: what they are divided by, of the same rounds.

    Raises:
        ValueError: the numbers of rounds differ, or there are none.
    """
    if len(times) != len(reference):
        raise ValueError(
            f"times: expected those of {len(reference)} rounds as the reference, got {len(times)}"
        )
    return spread([value / other for value, other in zip(times, reference, strict=True)])


def machine() -> dict[str, Any]:
    """What is measured on: processor, cores, memory, system; not whose machine it is."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def circumstances(module: str, arguments: Sequence[str]) -> dict[str, Any]:
    """What a file of results says about how it came to be.

    Args:
        module: the script, as in ``python -m MODULE``.
        arguments: what was typed after it.
    """
    return {
        "command": shlex.join(["python", "-m", module, *arguments]),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine(),
        "threads": torch.get_num_threads(),
        "versions": {
            "sparse-access-memory": __version__,
            "torch": torch.__version__,
            "numpy": numpy.__version__,
            "python": platform.python_version(),
        },
    }


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes results, the whole file or nothing; makes the folder.

    A `Spread` is written as an object with its three names.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps(_plain(content), indent=2) + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, Spread):
        return value._asdict()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def positive(text: str) -> int:
    """An argument that is a whole number of at least 1, for argparse."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, got {value}")
    return value
