"""Checks of the batches that a task gives: one line that says what is wrong with them."""

import math
from typing import Any

import torch
from torch import Tensor

from sam.errors import ConfigError, NonFiniteError
from sam.tasks.task import Batch, Task
from sam.train.kinds import KINDS

_WHOLE = (torch.int64,)


def check_batch(batch: Any, task: Task, name: str, batch_size: int | None = None) -> Batch:
    """Returns a task's batch, if it is as `sam.tasks.Batch` says.

    Args:
        batch: what the task gave.
        task: its kind and sizes.
        name: the task's name, for messages.
        batch_size: how many sequences were asked for; any number when not given.

    Raises:
        ConfigError: a part has another type, shape or dtype, a target is out of its range, or a
            sequence that begins and ends in the batch has no step that is scored.
        NonFiniteError: an input, or a target that is scored, is NaN or infinite.

    Cost: one look at each number of the batch.
    """
    if task.kind not in KINDS:
        known = ", ".join(KINDS)
        raise ConfigError(f"task {name}: kind: expected one of {known}, got {task.kind!r}")
    what = f"task {name}: batch"
    if not isinstance(batch, Batch):
        raise ConfigError(f"{what}: expected a sam.tasks.Batch, got a {type(batch).__name__}")
    for part, value in zip(("inputs", "targets", "mask"), batch[:3], strict=True):
        if not isinstance(value, Tensor):
            got = type(value).__name__
            raise ConfigError(f"{what}.{part}: expected a tensor, got a {got}")
    steps, rows = (*batch.inputs.shape, 0, 0)[:2]
    if not steps or not rows or (batch_size is not None and rows != batch_size):
        wanted = "" if batch_size is None else f" with {batch_size} sequences"
        got = f"{[*batch.inputs.shape]}"
        raise ConfigError(f"{what}.inputs: expected [T, B, {task.input_size}]{wanted}, got {got}")
    _check(f"{what}.inputs", batch.inputs, (steps, rows, task.input_size), None)
    _check(f"{what}.mask", batch.mask, (steps, rows), (torch.bool,))
    if batch.starts is not None:
        _check(f"{what}.starts", batch.starts, (steps, rows), (torch.bool,))
    if batch.words is not None:
        if batch.starts is not None:
            raise ConfigError(f"{what}.words: expected none together with starts, got some")
        sizes = [*getattr(batch.words, "shape", ())]
        lead = (rows,) if len(sizes) == 3 else ()
        _check(f"{what}.words", batch.words, (*lead, *(sizes[-2:] or (0, 0))), None)
    for key, values in batch.slices.items():
        _check(f"{what}.slices[{key!r}]", values, (rows,), _WHOLE)
    # A sum is one look, and finite only if all are. It may overflow, too.
    if not math.isfinite(batch.inputs.sum().item()) and not bool(batch.inputs.isfinite().all()):
        raise NonFiniteError(f"{what}.inputs: expected finite numbers, got NaN or infinity")
    # A part of a long sequence may come before its answer.
    if batch.starts is None and not bool(batch.mask.any(0).all()):
        raise ConfigError(f"{what}.mask: expected a scored step in every sequence, got none in one")
    _check_targets(f"{what}.targets", batch, task)
    return batch


def _check_targets(what: str, batch: Batch, task: Task) -> None:
    steps, rows = batch.mask.shape
    if task.kind in ("bits", "values"):
        _check(what, batch.targets, (steps, rows, task.output_size), None)
        low, high = 0.0, 1.0
        expected = "bits of 0 or 1"
    else:
        _check(what, batch.targets, (steps, rows), _WHOLE)
        low, high = 0, task.output_size - 1
        expected = f"classes of 0 to {high}"
    least, most = (value.item() for value in batch.targets.aminmax())
    if task.kind != "values" and low <= least and most <= high:
        return  # the usual case: those that are not scored are in range as well
    scored = batch.targets[batch.mask]
    if not bool(scored.isfinite().all()):
        raise NonFiniteError(f"{what}: expected finite numbers, got NaN or infinity")
    if task.kind == "values" or not len(scored):
        return
    least, most = (value.item() for value in scored.aminmax())
    if least < low or most > high:
        got = least if least < low else most
        raise ConfigError(f"{what}: expected {expected} where the mask is true, got {got}")


def _check(
    what: str, value: Any, shape: tuple[int, ...], dtypes: tuple[torch.dtype, ...] | None
) -> None:
    """Raises ConfigError unless it is a tensor of this shape and, without dtypes, of floats."""
    fits = isinstance(value, Tensor) and value.shape == shape
    fits = fits and (value.is_floating_point() if dtypes is None else value.dtype in dtypes)
    if not fits:
        dtype = "floats" if dtypes is None else str(dtypes[0])
        got = f"{value.dtype} {[*value.shape]}" if isinstance(value, Tensor) else repr(value)
        raise ConfigError(f"{what}: expected {dtype} {[*shape]}, got {got}")
