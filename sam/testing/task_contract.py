"""The contract of tasks: batches of the right layout that follow from the generator alone."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from sam.testing.subject import raises, require

KINDS = ("bits", "classes", "tokens", "values")


class TaskContract:
    """What every task does. A subclass in a test file gives `make_task`."""

    batch_size = 3

    def make_task(self) -> Any:
        """A task with small settings."""
        raise NotImplementedError(f"{type(self).__name__}: expected a method make_task")

    def sample(self, seed: int = 0, level: int | None = None) -> Any:
        """A batch drawn from a new generator."""
        generator = torch.Generator().manual_seed(seed)
        return self.make_task().sample(self.batch_size, generator=generator, level=level)

    def test_a_batch_has_the_layout_of_the_task(self) -> None:
        task, batch = self.make_task(), self.sample()
        rows, steps = self.batch_size, len(batch.inputs)
        _has("inputs", batch.inputs, (steps, rows, task.input_size), torch.float32)
        require(bool(batch.inputs.isfinite().all()), "inputs must be finite")
        _has("mask", batch.mask, (steps, rows), torch.bool)
        require(bool(batch.mask.any(0).all()), "every sequence must have a step that is scored")
        require(task.kind in KINDS, f"kind must be one of {KINDS}, got {task.kind}")
        if task.kind in ("bits", "values"):
            _has("targets", batch.targets, (steps, rows, task.output_size), torch.float32)
            scored = batch.targets[batch.mask]
            require(bool(scored.isfinite().all()), "scored targets must be finite")
            if task.kind == "bits":
                values = {*batch.targets.unique().tolist()}
                require(values <= {0.0, 1.0}, "targets must be 0 or 1")
        else:
            _has("targets", batch.targets, (steps, rows), torch.int64)
            scored = batch.targets[batch.mask]
            fits = bool(((scored >= 0) & (scored < task.output_size)).all())
            require(fits, "scored targets must be classes below output_size")
        for name, group in batch.slices.items():
            _has(f"slices[{name!r}]", group, (rows,), torch.int64)

    def test_the_generator_alone_decides(self) -> None:
        first, again, other = self.sample(), self.sample(), self.sample(seed=1)
        require(_equal(first, again), "the same seed must give the same batch")
        require(not _equal(first, other), "another seed must give another batch")

    def test_every_level_can_be_drawn(self) -> None:
        task = self.make_task()
        low, high = task.levels
        require(low <= task.start_level <= high, "start_level must lie within levels")
        for level in (low, high):
            require(bool(self.sample(level=level).mask.any()), f"level {level} must be drawn")

    def test_an_evaluation_has_as_many_sequences_as_it_is_asked_for(self) -> None:
        task = self.make_task()
        batches: Iterable[Any] = task.evaluation(
            4, generator=torch.Generator().manual_seed(0), levels=task.levels[:1], count=10
        )
        sizes = [batch.inputs.shape[1] for batch in batches]
        require(sum(sizes) == 10, f"count=10 must give 10 sequences, got {sum(sizes)}")
        require(max(sizes) <= 4, f"batch_size=4 must be the largest batch, got {max(sizes)}")

    def test_no_sequences_are_refused(self) -> None:
        with raises(ValueError, "a batch size of 0"):
            self.make_task().sample(0, generator=torch.Generator())


def _has(name: str, tensor: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    fits = tensor.shape == shape and tensor.dtype == dtype
    got = f"{tensor.dtype} {[*tensor.shape]}"
    require(fits, f"{name} must be {dtype} {[*shape]}, got {got}")


def _equal(one: Any, other: Any) -> bool:
    pairs = ((one.inputs, other.inputs), (one.targets, other.targets), (one.mask, other.mask))
    return all(torch.equal(*pair) for pair in pairs)
