"""A file of the sweep's results with round numbers, for what is made of it."""

from pathlib import Path
from typing import Any

from benchmarks.sweep.sweep_file import write_part
from benchmarks.workload import PATHS

ORIGIN: dict[str, Any] = {
    "command": "python -m benchmarks.memory_sweep",
    "date": "2001-02-03",
    "machine": {"processor": "Abacus", "cores": 3, "memory_gib": 1.5},
    "threads": 2,
    "versions": {"torch": "9.9"},
    "plan": {
        "workload": {
            "batch_size": 8,
            "steps": 100,
            "num_heads": 4,
            "top_k": 4,
            "word_size": 32,
            "hidden_size": 100,
        },
        "dense_steps": 10,
        "full_steps": 20,
    },
}
SECONDS = {"sequence": 0.001, "step": 0.002, "plain": 0.008}


def spread(value: float) -> dict[str, float]:
    return {"median": value, "low": value / 2, "high": value * 2}


def entry(
    model: str, size: int | None, seconds: float, *, path: str | None = None, **values: Any
) -> dict[str, Any]:
    """The loop takes a millisecond; three quarters of all times are the backward pass."""
    phases = {"forward": seconds / 4, "backward": seconds * 3 / 4, "total": seconds}
    found = {
        "model": model,
        "memory_size": size,
        "path": path,
        "index": None,
        "full": False,
        "steps": 100,
        "batch_size": 8,
        "rounds": 7,
        "seconds_per_step": {phase: spread(value) for phase, value in phases.items()},
    }
    if model != "LSTMCell loop":
        found["to_lstm"] = spread(1000 * seconds)
    if size is not None:
        found["bytes_per_step"] = 12345.0
    return found | values


def baselines() -> list[dict[str, Any]]:
    return [entry("LSTMCell loop", None, 0.001), entry("nn.LSTM", None, 0.00025)]


def sam(size: int, *, index: str = "exact", times: float = 1.0, **values: Any) -> list[dict]:
    return [
        entry("sam", size, times * SECONDS[path], path=path, index=index, **values)
        for path in PATHS
    ]


def full(size: int, index: str, times: float, recall: float) -> list[dict[str, Any]]:
    found = {"recall_1": recall, "recall_k": recall - 0.1, "recall_1_of_keys": None}
    found |= {"load_seconds": 2.0, "state_bytes": 3 * 2**20, "full": True}
    return sam(size, index=index, times=times, **found)


def parts() -> dict[str, dict[str, Any]]:
    """All parts; NTM takes 10 ms at 64 words and 46 ms at 256."""
    fresh = [*baselines()]
    for size in (2**10, 2**12, 2**20, 2**30):
        ways = (("sequence", 0.001), ("step", 0.003))
        sdnc = [entry("sdnc", size, time, path=path, index="exact") for path, time in ways]
        fresh += [*sam(size), *sam(size, index="lsh")[:1], *sdnc]
    dense = [*baselines()[:1]]
    for size, seconds in ((64, 0.01), (256, 0.046)):
        dense += [*sam(size), entry("ntm", size, seconds), entry("dam", size, seconds / 2)]
    dense.append(entry("dnc", 64, 0.02))
    filled = [*baselines()[:1]]
    for size in (2**16, 2**20):
        for index, times, recall in (("exact", 30, 1), ("ivf", 5, 0.95), ("lsh", 4, 0.5)):
            filled += full(size, index, times, recall)
        filled += full(size, "faiss", 6, 0.97)
    line = {"sizes": [2**10, 2**30], "ratio": {"median": 1.25, "low": 1.0, "high": 1.5}}
    peak = {"memory_size": 2**16, "steps": 100, "peak": 3 * 2**20, "path": PATHS[0]}
    peak["paper"] = {"running_mib": 7.8, "initial_mib": 53.0}
    pair = {"memory_size": 2048, "steps": 10, "faster": {"median": 123.4, "low": 1.0, "high": 2.0}}
    pair |= {"peak_bytes": {"dnc": 3 * 2**20, "sdnc": 2**18}, "smaller": 12.0}
    stopped = [{"line": "exact", "memory_size": 2**22, "why": "expected 9 seconds, at most 2"}]
    found: dict[str, dict[str, Any]] = {
        "fresh": {
            "entries": fresh,
            "flat": {f"sam exact {path}": line for path in PATHS},
        },
        "dense": {"entries": dense, "stopped": []},
        "lengths": {"entries": [entry("ntm", 128, 0.01, steps=n) for n in (1, 10)] + baselines()},
        "threads": {"entries": [*baselines(), *sam(2**20)]},
        "bytes": {"fresh_state_bytes": {"64": 51_000, str(2**30): 51_000}, "peaks": [peak]},
        "pair": pair | {"paper": {"faster": 440, "smaller": 240}},
        "full": {"entries": filled, "stopped": stopped},
    }
    return {name: ORIGIN | {"rounds": 7} | record for name, record in found.items()}


def write_sweep(folder: Path) -> None:
    for name, record in parts().items():
        write_part(folder, name, record, finished=True)
