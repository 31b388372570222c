"""The part of the sweep with memories of which every slot is occupied."""

from collections.abc import Iterator
from dataclasses import replace
from statistics import median

from benchmarks.full_memory import FullMemory
from benchmarks.index.index_room import free_bytes
from benchmarks.sweep.sweep_case import Case, Tell, take
from benchmarks.sweep.sweep_limits import Limits
from benchmarks.sweep.sweep_plan import USABLE, Plan, Record, installed, told, turns
from benchmarks.workload import PathName, Workload, paths_with


def full_memories(plan: Plan, tell: Tell) -> Iterator[Record]:
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
    indexes = installed(plan.full_indexes, tell)
    for size in plan.full_sizes:
        for index in indexes:
            if limits.allow(index, size):
                tell(f"N = {size:,}, {index}: loading")
                entries += _measured(workload, size, index, plan, limits, tell)
                yield {"rounds": plan.rounds, "entries": entries, "stopped": limits.stopped}
    told(limits.stopped, tell)


def _measured(
    workload: Workload, size: int, index: str, plan: Plan, limits: Limits, tell: Tell
) -> list[Record]:
    memory = FullMemory(workload, size, index)
    tell(f"loaded in {memory.load_seconds:.1f} s")
    paths: dict[Case, PathName] = {
        Case(model="sam", memory_size=size, path=path, index=index, full=True): path
        for path in paths_with(index)
    }
    cases = {case: memory.on(path) for case, path in paths.items()}
    taken = take(cases, workload, **turns(plan, tell))
    found = {
        "load_seconds": memory.load_seconds,
        "searching": memory.state.memory.index.stats().searching,
        "state_bytes": memory.state.nbytes,
        **memory.recalls(),
    }
    for case, entry in taken.of_cases():
        entry |= found | {"bytes_per_step": memory.bytes_per_step(paths[case])}
    # While a memory is loaded its words are there once more.
    room = memory.state.nbytes + 4 * workload.batch_size * size * workload.word_size
    turn = max(median(seconds) for seconds in taken.times.values())
    limits.note(index, size, seconds=turn, load_seconds=memory.load_seconds, bytes=room)
    return taken.entries
