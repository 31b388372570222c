"""Timing on a noisy machine: things take turns, so that other load slows all of them."""

import gc
import time
from collections.abc import Callable, Mapping

# Ends a phase: the time since the one before, or since the start, goes under this name.
Lap = Callable[[str], None]
# What is measured: does its work, and says where its phases end.
Measured = Callable[[Lap], None]
# Per thing and phase one number of seconds for every round.
Times = dict[str, dict[str, list[float]]]


def take_turns(
    things: Mapping[str, Measured],
    *,
    rounds: int,
    warmup: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> Times:
    """Runs several things in turns, A B C, C B A, A B C, ..., and takes the time of their phases.

    Other load on the machine slows all of them, so that the ratio of two is steadier than their
    times. Every other round goes backwards, so that none always follows the same neighbour. Garbage
    is collected before each turn, outside of the time taken; what there was before is not looked
    through again.

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
    gc.collect()
    gc.freeze()
    try:
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
    finally:
        gc.unfreeze()
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
