"""All models of the library beside each other, against the size of their memory.

The dense ones go as far as time and memory allow, the sparse ones all the way. And SDNC beside DNC
at the paper's sizes. `benchmarks.memory_sweep` runs both.
"""

from collections.abc import Iterator
from dataclasses import replace
from statistics import median
from typing import Any

from benchmarks.bytes.footprint import peak_bytes
from benchmarks.harness import Report, ratio, spread, take_turns
from benchmarks.index.index_room import free_bytes
from benchmarks.sweep.sweep_case import DENSE, Case, kept_per_step, sparse_cases, take
from benchmarks.sweep.sweep_limits import Limits
from benchmarks.sweep.sweep_plan import USABLE, Plan, Record, report_stopped, timed, turns
from benchmarks.workload import Trained, Workload

# SDNC against DNC (SAM paper, introduction and D.2): N, T, times as fast, times less memory.
PAPER_SIZE, PAPER_STEPS, PAPER_FASTER, PAPER_SMALLER = 2048, 10, 440, 240
# Besides what all steps keep: new words and gradients, worth a few steps.
_STEPS_BESIDE = 4


def all_models(plan: Plan, report: Report) -> Iterator[Record]:
    """Time and bytes of every model with a fresh memory, size after size; dense ones to a limit."""
    workload = replace(plan.workload, steps=plan.dense_steps)
    limits = Limits({"seconds": plan.turn_seconds, "bytes": USABLE * free_bytes()})
    entries: list[Record] = []
    for size in plan.dense_sizes:
        dense = [name for name in DENSE if limits.allow(name, size)]
        cases = [*sparse_cases(size), *(Case(model=name, memory_size=size) for name in dense)]
        report(f"N = {size:,}: sam, sdnc{''.join(f', {name}' for name in dense)}")
        taken = take(timed(cases, workload), workload, **turns(plan, report))
        for case, entry in taken.of_cases():
            kept = entry["bytes_per_step"] = kept_per_step(case, workload)
            if case.model in dense:
                room = kept * workload.batch_size * (workload.steps + _STEPS_BESIDE)
                limits.record(case.model, size, seconds=median(taken.times[case]), bytes=room)
        entries += taken.entries
        yield {"rounds": plan.rounds, "entries": entries, "stopped": limits.stopped}
    report_stopped(limits.stopped, report)


def sdnc_against_dnc(
    workload: Workload, *, memory_size: int = PAPER_SIZE, rounds: int
) -> dict[str, Any]:
    """How many times as fast SDNC is as DNC, and as small: the SAM paper's comparison (fig. 7).

    Time at the workload's batch size; bytes at batch 1, the most that tensors hold at one time
    beside the parameters, the initial state included.
    """
    workload = replace(workload, steps=PAPER_STEPS)
    pair = {name: workload.trained(name, memory_size) for name in ("dnc", "sdnc")}
    times = take_turns({name: trained.timed for name, trained in pair.items()}, rounds=rounds)
    alone = replace(workload, batch_size=1)
    peaks = {name: _peak(alone.trained(name, memory_size)) for name in pair}
    return {
        "memory_size": memory_size,
        "steps": PAPER_STEPS,
        "rounds": rounds,
        "seconds_per_step": {
            name: spread([value / PAPER_STEPS for value in times[name]["total"]]) for name in pair
        },
        "faster": ratio(times["dnc"]["total"], times["sdnc"]["total"]),
        "peak_bytes": peaks,
        "smaller": peaks["dnc"] / peaks["sdnc"],
        "paper": {"faster": PAPER_FASTER, "smaller": PAPER_SMALLER},
    }


def _peak(trained: Trained) -> int:
    trained.train()  # gradients of the parameters are there in both
    return peak_bytes(trained.train)
