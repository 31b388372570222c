"""Bytes that a step of SAM keeps for the backward pass, for `benchmarks.long_sequence`."""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor

from benchmarks.bytes.footprint import bytes_per_step, saved_bytes
from benchmarks.bytes.kept import kept_per_step, operations
from benchmarks.bytes.kept_parts import reason
from benchmarks.workload import PATHS, PathName, Workload

STEPS, MEMORY_SIZE = (53, 97), 2**10


def path_of(loss: Tensor) -> PathName:
    """Which of `PATHS` a SAM took, judged by its graph."""
    found = operations(loss)
    if "_Unroll" in found:
        return "sequence"
    return "step" if found & {"_StepCell", "_StepMemory"} else "plain"


def kept(workload: Workload) -> dict[str, Any]:
    """Bytes that a step keeps for the backward pass and a sequence, and what they are of.

    The pieces are those of the path that the library chooses; the sum is there for all paths.
    """

    def saved(path: PathName, steps: int) -> int:
        trained = replace(workload, steps=steps).sam(MEMORY_SIZE, path)
        return saved_bytes(trained.loss, apart_from=trained.model.parameters())

    def forward(steps: int) -> tuple[Tensor, Iterable[Tensor]]:
        trained = replace(workload, steps=steps).sam(MEMORY_SIZE)
        return trained.loss(), trained.model.parameters()

    kind: Any = {"batch_size": workload.batch_size, "steps": STEPS}
    sums = {}
    for path in PATHS:
        # Without compiled code all paths are the same.
        took = path_of(replace(workload, steps=STEPS[0]).sam(MEMORY_SIZE, path).loss())
        sums[took] = bytes_per_step(partial(saved, path), **kind)
    path, total = next(iter(sums.items()))
    pieces = kept_per_step(forward, **kind)
    return {
        "path": path,
        "bytes_per_step": total,
        "of_paths": sums,
        "pieces": [piece._asdict() | {"reason": reason(piece.saved_by)} for piece in pieces],
    }
