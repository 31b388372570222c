"""How much the sweep measures: all of it, or what ten minutes allow."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.harness import Measured, Report
from benchmarks.sweep.sweep_bytes import PEAK_MEMORY_SIZE, PEAK_STEPS
from benchmarks.sweep.sweep_case import Case
from benchmarks.workload import Workload
from index import BackendMissingError, make_index

# A part of the sweep, as in the file of results.
Record = dict[str, Any]
INDEXES = ("exact", "lsh", "ivf", "faiss")
# Fraction of the free memory that the next size may be expected to take.
USABLE = 0.5
_STANDARD = Workload()


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How much is measured.

    Attributes:
        workload: batch and widths; parts with a T of their own say so.
        sizes: N of sparse models with a fresh memory.
        dense_sizes, dense_steps: N of all models beside each other, as far as a limit allows, and
            their T: what dense models keep for the backward pass grows with N and T.
        full_sizes, full_indexes, full_steps: N of memories that are full, as far as a limit allows,
            how they are searched, and the T of a chunk.
        lengths, lengths_size, lengths_dense_size: T, and N of sparse and of dense models there.
        pair_size: N at which SDNC is compared with DNC.
        peak_size, peak_steps: N and T of a whole training step whose bytes are counted.
        rounds: turns of each.
        budget: seconds that the rounds of what is compared with each other may take, roughly.
        turn_seconds: the longest turn of a dense model or a full memory.
        load_seconds: the longest that loading a full memory may take.
        parts: what is measured by default.
    """

    workload: Workload = _STANDARD
    sizes: tuple[int, ...] = tuple(2**n for n in (*range(6, 25, 2), 30))
    dense_sizes: tuple[int, ...] = tuple(4**n for n in range(3, 11))
    dense_steps: int = 10
    full_sizes: tuple[int, ...] = tuple(2**n for n in range(6, 25, 2))
    full_indexes: tuple[str, ...] = (*INDEXES, "product")
    full_steps: int = 20
    lengths: tuple[int, ...] = (1, 10, 100)
    lengths_size: int = 2**20
    lengths_dense_size: int = 128
    pair_size: int = 2048
    peak_size: int = PEAK_MEMORY_SIZE
    peak_steps: int = PEAK_STEPS
    rounds: int = 15
    budget: float = 600.0
    turn_seconds: float = 30.0
    load_seconds: float = 900.0
    parts: tuple[str, ...] = ("fresh", "dense", "lengths", "threads", "bytes", "pair", "full")


FULL = Plan()
QUICK = Plan(
    sizes=(2**10, 2**20, 2**30),
    dense_sizes=tuple(4**n for n in range(3, 8)),
    full_sizes=(2**16, 2**20),
    full_indexes=("exact", "ivf", "faiss"),
    rounds=9,
    budget=30.0,
    turn_seconds=3.0,
    parts=("fresh", "dense", "bytes", "full"),
    load_seconds=100.0,
)


def turns(plan: Plan, report: Report) -> dict[str, Any]:
    """The arguments of `take` about rounds."""
    return {"rounds": plan.rounds, "budget": plan.budget, "report": report}


def timed(cases: Sequence[Case], workload: Workload) -> dict[Case, Measured]:
    """Cases with fresh memories, made ready for `take`."""
    return {case: case.trained(workload).timed for case in cases}


def installed(indexes: Sequence[str], report: Report) -> list[str]:
    """Those of the indexes that are installed."""
    found = []
    for name in indexes:
        try:
            make_index(name, batch_size=1, capacity=1, word_size=1)
        except BackendMissingError as error:
            report(f"{name}: left out; {error}")
        else:
            found.append(name)
    return found


def report_stopped(stopped: Sequence[dict[str, Any]], report: Report) -> None:
    """Reports where lines have stopped."""
    for one in stopped:
        report(f"{one['line']} stops before N = {one['memory_size']:,}: {one['why']}")
