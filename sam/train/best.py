"""The best evaluation of a run, and how long ago it was: early stopping."""

from collections.abc import Sequence
from typing import NamedTuple

from sam.train.evaluate import SliceResult


class Best(NamedTuple):
    """The best evaluation on validation data so far."""

    loss: float  # what it is judged by, as `train.judge_by` says; the lowest is the best
    update: int
    waited: int = 0  # evaluations since then
    then: float = 0.0  # of equal ones the lower is the best


def mean_loss(results: Sequence[SliceResult]) -> float:
    """Mean loss of all evaluated sequences."""
    count = sum(result.sequences for result in results)
    return sum(result.loss * result.sequences for result in results) / max(count, 1)


def mean_wrong(results: Sequence[SliceResult]) -> float:
    """Share of the targets that are wrong, mean over the slices; of values, mean squared error."""
    return sum(1 - result.accuracy for result in results) / max(len(results), 1)


def judged(best: Best | None, loss: float, update: int, then: float = 0.0) -> Best:
    """The best evaluation after one more; of two that are equal in both numbers, the first."""
    if best is None or (loss, then) < (best.loss, best.then):
        return Best(loss, update, then=then)
    return best._replace(waited=best.waited + 1)


def is_exhausted(best: Best | None, patience: int | None) -> bool:
    """Whether so many evaluations have passed without a better one."""
    return best is not None and patience is not None and best.waited >= patience
