"""The part of the sweep with full memories."""

from collections.abc import Iterator
from dataclasses import replace
from statistics import median

from benchmarks.full_memory import FullMemory
from benchmarks.harness import Report
from benchmarks.index.index_room import free_bytes
from benchmarks.sweep.sweep_case import Case, take
from benchmarks.sweep.sweep_limits import Limits
from benchmarks.sweep.sweep_plan import USABLE, Plan, Record, installed, report_stopped, turns
from benchmarks.workload import PathName, Workload, paths_with


def full_memories(plan: Plan, report: Report) -> Iterator[Record]:
    """SAM in a full memory of clustered words, with each index, size after size until a limit."""
    workload = replace(plan.workload, steps=plan.full_steps)
    limits = Limits(
        {
            "seconds": plan.turn_seconds,
            "load_seconds": plan.load_seconds,
            "bytes": USABLE * free_bytes(),
        }
    )
    entries: list[Record] = []
    indexes = installed(plan.full_indexes, report)
    for size in plan.full_sizes:
        for index in indexes:
            if limits.allow(index, size):
                report(f"N = {size:,}, {index}: loading")
                entries += _measured(workload, size, index, plan, limits, report)
                yield {"rounds": plan.rounds, "entries": entries, "stopped": limits.stopped}
    report_stopped(limits.stopped, report)


def _measured(
    workload: Workload, size: int, index: str, plan: Plan, limits: Limits, report: Report
) -> list[Record]:
    memory = FullMemory(workload, size, index)
    report(f"loaded in {memory.load_seconds:.1f} s")
    paths: dict[Case, PathName] = {
        Case(model="sam", memory_size=size, path=path, index=index, full=True): path
        for path in paths_with(index)
    }
    cases = {case: memory.on(path) for case, path in paths.items()}
    taken = take(cases, workload, **turns(plan, report))
    found = {
        "load_seconds": memory.load_seconds,
        "searching": memory.state.memory.index.stats().searching,
        "state_bytes": memory.state.nbytes,
        **memory.recalls(),
    }
    for case, entry in taken.of_cases():
        entry |= found | {"bytes_per_step": memory.bytes_per_step(paths[case])}
    # While a memory is loaded, there is a second copy of its words.
    room = memory.state.nbytes + 4 * workload.batch_size * size * workload.word_size
    turn = max(median(seconds) for seconds in taken.times.values())
    limits.record(index, size, seconds=turn, load_seconds=memory.load_seconds, bytes=room)
    return taken.entries
