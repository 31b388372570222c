"""Evaluation on held-out data, per slice: per length, per number of items, per bAbI task."""

from collections import defaultdict
from typing import NamedTuple

import torch
from torch import nn

from sam.tasks.task import Task
from sam.train.losses import score
from sam.train.seeds import generator_for


class SliceResult(NamedTuple):
    """Scores over the sequences of one slice; "targets" are target bits, or questions."""

    name: str  # what the sequences share, for example "length"
    value: int
    sequences: int
    loss: float  # bits per sequence
    wrong: float  # wrong targets per sequence
    accuracy: float  # fraction of targets right
    solved: float  # fraction of sequences without a mistake

    @property
    def error_percent(self) -> float:
        """Targets wrong, in percent: the number bAbI is reported in."""
        return 100 * (1 - self.accuracy)


class _Sums(NamedTuple):
    sequences: int = 0
    bits: float = 0.0
    wrong: int = 0
    targets: int = 0
    solved: int = 0


def evaluate(
    model: nn.Module,
    task: Task,
    *,
    levels: tuple[int, ...] = (),
    count: int = 200,
    batch_size: int = 20,
    seed: int = 0,
    split: str = "test",
) -> list[SliceResult]:
    """Scores a model on held-out data, without gradients and in evaluation mode.

    Args:
        model: called with inputs [T, B, I].
        task: where the data come from.
        levels: difficulties; the task's own range when empty.
        count: sequences at each level. A data set's split is taken whole.
        batch_size: sequences per forward pass.
        seed: decides the data, together with `levels` and `count`.
        split: which part of a data set.

    Returns:
        One result per slice and value that the task's batches name, sorted; a single result named
        "all" if they name none.

    Raises:
        ValueError: an argument is refused by the task.
    """
    sums: dict[tuple[str, int], _Sums] = defaultdict(_Sums)
    generator = generator_for(seed, 0, "evaluation")
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            for batch in task.evaluation(
                batch_size, generator=generator, levels=levels, count=count, split=split
            ):
                outputs, _ = model(batch.inputs)
                scores = score(outputs, batch, task)
                everything = {"all": torch.zeros(len(scores.wrong), dtype=torch.int64)}
                for name, values in (batch.slices or everything).items():
                    for value in values.unique().tolist():
                        rows = values == value
                        old = sums[name, value]
                        sums[name, value] = _Sums(
                            old.sequences + int(rows.sum()),
                            old.bits + scores.bits[rows].double().sum().item(),
                            old.wrong + int(scores.wrong[rows].sum()),
                            old.targets + int(scores.targets[rows].sum()),
                            old.solved + int((scores.wrong[rows] == 0).sum()),
                        )
    finally:
        model.train(was_training)
    return [_result(name, value, total) for (name, value), total in sorted(sums.items())]


def _result(name: str, value: int, total: _Sums) -> SliceResult:
    return SliceResult(
        name=name,
        value=value,
        sequences=total.sequences,
        loss=total.bits / total.sequences,
        wrong=total.wrong / total.sequences,
        accuracy=1 - total.wrong / max(total.targets, 1),
        solved=total.solved / total.sequences,
    )
