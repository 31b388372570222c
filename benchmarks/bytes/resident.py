"""Prints how many bytes one training step lets a fresh process grow: ``resident N T B [PATH]``."""

import sys
from typing import cast

import torch

from benchmarks.bytes.footprint import grown_by
from benchmarks.workload import PATHS, PathName, Workload


def main(arguments: list[str]) -> None:
    """Warms up with two steps, so that libraries have loaded, then measures."""
    memory_size, steps, batch_size = map(int, arguments[:3])
    path = cast(PathName, arguments[3]) if len(arguments) > 3 else PATHS[0]
    torch.set_num_threads(1)
    Workload(steps=2, batch_size=batch_size).sam(memory_size, path).train()
    workload = Workload(steps=steps, batch_size=batch_size)
    print(grown_by(workload.sam(memory_size, path).train))


if __name__ == "__main__":
    main(sys.argv[1:])
