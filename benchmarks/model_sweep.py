"""Seconds and bytes per step of every model of the library against the size of its memory.

The dense ones as far as they are used, the sparse ones to 2^20, all in the same rounds beside the
LSTMCell loop; and SDNC beside DNC at the paper's sizes. `benchmarks.memory_sweep` runs it.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from benchmarks.footprint import bytes_per_step, peak_bytes, saved_bytes
from benchmarks.harness import Spread, ratio, spread, take_turns
from benchmarks.workload import Trained, Workload

DENSE, SPARSE = ("dam", "ntm", "dnc"), ("sam", "sdnc")
SIZES = (64, 256, 1024, 4096)
LARGER = (2**16, 2**20)  # for the sparse models
STEPS = 10
# SDNC against DNC (SAM paper, introduction and D.2): N, T, times as fast, times less memory.
PAPER_SIZE, PAPER_STEPS, PAPER_FASTER, PAPER_SMALLER = 2048, 10, 440, 240
_LOOP = "LSTMCell loop"


def model_sweep(
    workload: Workload, *, sizes: Sequence[int], larger: Sequence[int], rounds: int
) -> dict[str, Any]:
    """Times all models in turns, and counts what each keeps for the backward pass.

    Args:
        workload: the sizes that stay the same.
        sizes: N of all models, ascending.
        larger: further N of the sparse ones.
        rounds: turns of each.

    Returns:
        ``lstm_cell_loop``; ``models``, an entry per model and size with spreads of seconds per
        step, the ratio to the loop and bytes kept per step and batch row; and ``flat``, for each
        sparse model the time at the largest size to that at the smallest.
    """
    cases = [(name, size) for size in sizes for name in (*SPARSE, *DENSE)]
    cases += [(name, size) for size in larger for name in SPARSE]
    loop = workload.lstm_cell_loop()
    trained = {case: workload.trained(*case) for case in cases}
    # A turn of the loop beside each size: what is compared runs close together.
    things: dict[str, Any] = {}
    for size in dict.fromkeys(size for _, size in cases):
        things[f"{_LOOP} {size}"] = loop.timed
        things |= {f"{n} {s}": trained[n, s].timed for n, s in cases if s == size}
    times = take_turns(things, rounds=rounds)

    def entry(name: str, size: int) -> dict[str, Any]:
        seconds = times[f"{name} {size}"]
        return {
            "model": name,
            "memory_size": size,
            "seconds_per_step": _per_step(seconds, workload.steps),
            "to_lstm": ratio(seconds["total"], times[f"{_LOOP} {size}"]["total"]),
            "bytes_per_step": kept_per_step(workload, name, size),
        }

    ends = sizes[0], (*sizes, *larger)[-1]
    return {
        "rounds": rounds,
        "lstm_cell_loop": {
            "seconds_per_step": _per_step(times[f"{_LOOP} {sizes[0]}"], workload.steps)
        },
        "models": [entry(*case) for case in cases],
        "flat": {
            name: ratio(*(times[f"{name} {size}"]["total"] for size in reversed(ends)))
            for name in SPARSE
        },
    }


def _per_step(seconds: dict[str, list[float]], steps: int) -> dict[str, Spread]:
    return {phase: spread([value / steps for value in values]) for phase, values in seconds.items()}


def kept_per_step(
    workload: Workload, name: str, memory_size: int, *, steps: tuple[int, int] = (4, 8)
) -> float:
    """Bytes that a model keeps per step for the backward pass, of one sequence at batch 1."""

    def saved(length: int) -> int:
        trained = replace(workload, steps=length, batch_size=1).trained(name, memory_size)
        return saved_bytes(trained.loss, apart_from=trained.model.parameters())

    return bytes_per_step(saved, batch_size=1, steps=steps)


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
