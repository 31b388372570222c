"""Measuring on a noisy machine: things take turns; times of one round are compared."""

import argparse
import contextlib
import datetime
import json
import os
import platform
import shlex
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy
import torch

# `take_turns` is part of the installed package; the scripts import it from here.
from index.bench.turns import Lap as Lap
from index.bench.turns import Measured as Measured
from index.bench.turns import take_turns as take_turns
from sam import __version__
from sam.train.run_files import write_atomic

# Takes a line for the terminal, at once: some lines are minutes apart.
Report = Callable[[str], None]
RESULTS = Path(__file__).parent / "results"


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


def ratio(times: Sequence[float], reference: Sequence[float]) -> Spread:
    """How many times as long, round by round.

    Args:
        times: one number for every round.
        reference: the times to divide by, of the same rounds.

    Raises:
        ValueError: the numbers of rounds differ, or there are none.
    """
    if len(times) != len(reference):
        raise ValueError(
            f"times: expected those of {len(reference)} rounds as the reference, got {len(times)}"
        )
    return spread([value / other for value, other in zip(times, reference, strict=True)])


def machine() -> dict[str, Any]:
    """The machine: processor, cores, memory, system; nothing that identifies it."""
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
    """How a file of results was made: command, date, machine, threads, versions.

    Args:
        module: the script, as in ``python -m MODULE``.
        arguments: what was typed after it; of a path from the root only the name is told, as the
            rest is of one machine.
    """
    told = (Path(each).name if Path(each).is_absolute() else each for each in arguments)
    return {
        "command": shlex.join(["python", "-m", module, *told]),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine(),
        "threads": torch.get_num_threads(),
        "versions": {
            "sparse-access-memory": __version__,
            "torch": torch.__version__,
            "numpy": numpy.__version__,
            "python": platform.python_version(),
            **_installed("numba", "faiss-cpu"),
        },
    }


def marked(records: list[dict[str, Any]], results: dict[str, Any]) -> list[dict[str, Any]]:
    """Records with the processor and day of these results, unless they have others already.

    For a file to which records of other machines are added.
    """
    here = [results["machine"]["processor"], results["date"]]
    return [{"measured": here} | record for record in records]


def _installed(*names: str) -> dict[str, str]:
    """Versions of those packages that are installed."""
    found = {}
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def repeated(call: Callable[[], object], repeats: int) -> Measured:
    """Something to measure whose time is that of so many calls, as "search"."""

    def measured(lap: Lap) -> None:
        for _ in range(repeats):
            call()
        lap("search")

    return measured


def results_folder(out: Path | None, *, quick: bool) -> Path:
    """Where results go: a quick look does not take the place of the results that are shown."""
    return out or (Path("runs/quick") if quick else RESULTS)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes results, the whole file or nothing; makes the folder.

    A `Spread` is written as an object with its three names.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps(_plain(content), indent=2) + "\n")


def write_cases(
    path: Path,
    results: dict[str, Any],
    cases: Iterable[dict[str, Any]],
    line: Callable[[dict[str, Any]], str],
    report: Report,
) -> None:
    """Writes results anew with each case that is measured, and tells of it.

    Args:
        path: the file.
        results: all else that goes into it.
        cases: measures one after another.
        line: a case in a line of the terminal.
    """
    results["cases"] = []
    for case in cases:
        results["cases"].append(case)
        report(line(case))
        write_json(path, results)
    report(str(path))


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
