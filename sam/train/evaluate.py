"""Evaluation on held-out data, per slice: per length, per number of items, per bAbI task."""

import math
from collections import defaultdict
from typing import Any, NamedTuple

import torch
from torch import nn

from sam.tasks.task import Kind, Measured, Task
from sam.train.carried import forward
from sam.train.losses import score
from sam.train.means import Means
from sam.train.seeds import generator_for


class SliceResult(NamedTuple):
    """Scores over the sequences of one slice; "targets" as in `sam.train.losses.Scores`."""

    name: str  # what the sequences share, for example "length"
    value: int
    sequences: int
    loss: float  # of a sequence, in the unit of `sam.train.kinds`
    wrong: float  # wrong targets per sequence; of values, the sum of squared errors
    accuracy: float  # fraction of targets right; of values, 1 - mean squared error
    solved: float  # fraction of sequences without a mistake
    measures: dict[str, float] | None = None  # the task's own, see `sam.tasks.Measured`

    @property
    def error_percent(self) -> float:
        """Targets wrong, in percent: the number bAbI is reported in."""
        return 100 * (1 - self.accuracy)

    @property
    def root_mean_square(self) -> float:
        """Of the errors, for a task of values."""
        return math.sqrt(max(1 - self.accuracy, 0.0))

    @property
    def perplexity(self) -> float:
        """Of a token, for a task of tokens: how many equally likely ones it amounts to."""
        return 2**self.loss


def as_record(result: SliceResult, kind: Kind) -> dict[str, Any]:
    """A result for metrics.jsonl, with what tasks of this kind are judged by."""
    record = {name: value for name, value in result._asdict().items() if value is not None}
    if kind == "tokens":
        record["perplexity"] = result.perplexity
    if kind == "values":
        record["root_mean_square"] = result.root_mean_square
    return record


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
    # Of each slice: sequences, bits, wrong targets, targets, sequences without a mistake.
    sums: dict[tuple[str, int], list[float]] = defaultdict(lambda: [0.0] * 5)
    measured = Means()
    # What is drawn to choose the best parameters is not drawn again to judge them.
    generator = generator_for(seed, 0, "evaluation" if split == "test" else f"evaluation {split}")
    parameter = next(model.parameters(), None)
    device = None if parameter is None or parameter.device.type == "cpu" else parameter.device
    state = None
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            for batch in task.evaluation(
                batch_size, generator=generator, levels=levels, count=count, split=split
            ):
                batch = batch if device is None else batch.to(device)
                outputs, state = forward(model, batch, state)
                if batch.starts is not None and not bool(batch.mask.any()):
                    continue  # a part of a long sequence before its answer
                scores = score(outputs, batch, task)
                wrong = scores.wrong
                own = task.measures(outputs, batch) if isinstance(task, Measured) else {}
                counted = torch.ones_like(wrong), scores.bits, wrong, scores.targets, wrong == 0
                everything = {"all": torch.zeros_like(scores.targets)}
                for name, values in (batch.slices or everything).items():
                    for value in values.unique().tolist():
                        for i, numbers in enumerate(counted):
                            found = numbers[values == value].double().sum().item()
                            sums[name, value][i] += found
                        measured.add((name, value), own, values == value)
    finally:
        model.train(was_training)
    return [
        SliceResult(
            name=name,
            value=value,
            sequences=int(count),
            loss=bits / count,
            wrong=wrong / count,
            accuracy=1 - wrong / max(targets, 1),
            solved=solved / count,
            measures=measured.of((name, value)),
        )
        for (name, value), (count, bits, wrong, targets, solved) in sorted(sums.items())
    ]
