"""The parts of the sweep: each yields its record so far, again and again as it grows.

`benchmarks.memory_sweep` runs each in a process of its own and writes what it yields.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

from benchmarks.harness import Report
from benchmarks.sweep.model_sweep import all_models, sdnc_against_dnc
from benchmarks.sweep.sweep_bytes import fresh_state_bytes, peaks
from benchmarks.sweep.sweep_case import (
    DENSE,
    LSTM,
    Case,
    flat,
    kept_per_step,
    sparse_cases,
    take,
)
from benchmarks.sweep.sweep_full import full_memories
from benchmarks.sweep.sweep_plan import INDEXES, Plan, Record, installed, timed, turns


def fresh(plan: Plan, report: Report) -> Iterator[Record]:
    """Sparse models whose memory is fresh, at all sizes in the same rounds."""
    indexes = installed(INDEXES, report)
    cases = [Case(model=LSTM)]
    for size in plan.sizes:
        cases += sparse_cases(size, indexes=indexes)
    taken = take(timed(cases, plan.workload), plan.workload, **turns(plan, report))
    for case, entry in taken.of_cases():
        if case.memory_size is not None:
            entry["bytes_per_step"] = kept_per_step(case, plan.workload)
    yield {"rounds": taken.rounds, "entries": taken.entries, "flat": flat(taken)}


def lengths(plan: Plan, report: Report) -> Iterator[Record]:
    """Sequences of 1, 10 and 100 steps; of the short ones several a turn."""
    cases = _one_of_all(plan)
    entries: list[Record] = []
    for steps in plan.lengths:
        report(f"T = {steps}")
        workload = replace(plan.workload, steps=steps)
        calls = max(1, max(plan.lengths) // steps)
        taken = take(timed(cases, workload), workload, calls=calls, **turns(plan, report))
        entries += taken.entries
        yield {"rounds": plan.rounds, "entries": entries}


def threads(plan: Plan, report: Report) -> Iterator[Record]:
    """All models once; the process has another number of threads than in the other parts."""
    taken = take(timed(_one_of_all(plan), plan.workload), plan.workload, **turns(plan, report))
    yield {"rounds": taken.rounds, "entries": taken.entries}


def whole_steps(plan: Plan, report: Report) -> Iterator[Record]:
    """Bytes of a fresh state at each size, and of a whole training step at batch 1."""
    report(f"N = {plan.peak_size:,}, T = {plan.peak_steps}, batch 1")
    states = {str(size): fresh_state_bytes(plan.workload, size) for size in plan.sizes}
    yield {"fresh_state_bytes": states, "peaks": peaks(plan.peak_size, plan.peak_steps)}


def pair(plan: Plan, report: Report) -> Iterator[Record]:
    """SDNC beside DNC at the paper's sizes."""
    report(f"SDNC and DNC, N = {plan.pair_size:,}")
    rounds = min(plan.rounds, 3)
    yield sdnc_against_dnc(plan.workload, memory_size=plan.pair_size, rounds=rounds)


def _one_of_all(plan: Plan) -> list[Case]:
    cases = [Case(model=LSTM), *sparse_cases(plan.lengths_size)]
    return cases + [Case(model=name, memory_size=plan.lengths_dense_size) for name in DENSE]


PARTS: dict[str, Callable[[Plan, Report], Iterator[Record]]] = {
    "fresh": fresh,
    "dense": all_models,
    "lengths": lengths,
    "threads": threads,
    "bytes": whole_steps,
    "pair": pair,
    "full": full_memories,
}
# Threads that torch may use in a part; 1 where none are given.
THREADS = {"threads": 2}
