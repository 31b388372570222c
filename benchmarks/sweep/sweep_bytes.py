"""Bytes of a fresh state and of a whole training step, as the SAM paper reports memory (4.1)."""

from typing import Any

from benchmarks.bytes.footprint import peak_bytes, resident_growth
from benchmarks.workload import PATHS, PathName, Workload

# The paper's SAM, 100 steps, batch 1, N = 64 000 (4.1): running, and to initialise the network.
PAPER_RUNNING_MIB, PAPER_INITIAL_MIB = 7.8, 53.0
PAPER = {
    "running_mib": PAPER_RUNNING_MIB,
    "initial_mib": PAPER_INITIAL_MIB,
    "memory_size": 64_000,
    "steps": 100,
}
PEAK_MEMORY_SIZE, PEAK_STEPS = 2**16, 100


def fresh_state_bytes(workload: Workload, memory_size: int) -> int:
    """Bytes of a fresh state of SAM for the whole batch."""
    return workload.model(memory_size).initial_state(workload.batch_size).nbytes


def sam_peak(
    memory_size: int = PEAK_MEMORY_SIZE, steps: int = PEAK_STEPS, path: PathName = PATHS[0]
) -> dict[str, Any]:
    """Bytes of one training step at batch 1.

    Returns:
        ``initial_state``: a fresh state. ``peak``: the most that tensors held at one time beside
        the parameters, from making the initial state to the parameters' gradients.
        ``parameters``. ``resident_growth``: how far a fresh process grew, for comparison.
    """
    workload = Workload(batch_size=1, steps=steps)
    workload.sam(memory_size, path).train()  # so that compiled forms are there
    trained = workload.sam(memory_size, path)
    return {
        "path": path,
        "memory_size": memory_size,
        "steps": steps,
        "batch_size": 1,
        "parameters": sum(parameter.nbytes for parameter in trained.model.parameters()),
        "initial_state": fresh_state_bytes(workload, memory_size),
        "peak": peak_bytes(trained.train),
        "resident_growth": resident_growth(
            "benchmarks.bytes.resident", str(memory_size), str(steps), "1", path
        ),
        "paper": PAPER,
    }


def peaks(memory_size: int = PEAK_MEMORY_SIZE, steps: int = PEAK_STEPS) -> list[dict[str, Any]]:
    """`sam_peak` on every path."""
    return [sam_peak(memory_size, steps, path) for path in PATHS]
