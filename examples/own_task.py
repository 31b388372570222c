"""Trains a SAM on a task of one's own: say a sequence backwards.

    python examples/own_task.py

A registered task has a name, and is trained by the loop that trains the built-in ones.
"""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from sam.tasks import Batch, register_task
from sam.tasks.levels import LevelTask
from sam.train import Outcome, resolve, train_run


@dataclass(frozen=True, kw_only=True, slots=True)
class Reverse(LevelTask):
    """L vectors of 4 bits, a delimiter, then the vectors from last to first. The level is L."""

    max_length: int = 3
    curriculum_start, input_size, output_size = 1, 5, 4  # 4 bits, and the delimiter

    @property
    def levels(self) -> tuple[int, int]:
        return 1, self.max_length

    def _draw(self, batch_size: int, level: int, generator: torch.Generator) -> Batch:
        vectors = torch.randint(2, (level, batch_size, 4), generator=generator).float()
        inputs = torch.zeros(2 * level + 1, batch_size, 5)
        inputs[:level, :, :4] = vectors
        inputs[level, :, 4] = 1.0
        targets = torch.zeros(2 * level + 1, batch_size, 4)
        targets[level + 1 :] = vectors.flip(0)
        mask = torch.arange(len(inputs))[:, None].expand(-1, batch_size) > level
        return Batch(inputs, targets, mask, {"length": torch.full((batch_size,), level)})


def main(updates: int = 1000) -> Outcome:
    register_task("reverse", Reverse)
    run = {
        "task": {"name": "reverse"},
        "model": {"kind": "sam", "memory_size": 2**20, "hidden_size": 64},
        "optimizer": {"lr": 3e-3},
        "train": {"max_updates": updates, "stop_below": 0.5, "window": 50},
        "eval": {"levels": (2, 3), "count": 50},
    }
    with TemporaryDirectory() as folder:
        outcome = train_run(resolve(run), Path(folder) / "run")
    print(f"{outcome.window_error:.2f} wrong bits per sequence")
    return outcome


if __name__ == "__main__":
    torch.set_num_threads(1)  # the steps are small
    main()
