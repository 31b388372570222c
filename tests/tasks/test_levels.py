"""What every task with levels owes: reproducible, silent while answering, levels as asked."""

import pytest
import torch

from sam.tasks import Batch, Copy, KeyValueRecall, NextItemRecall, PrioritySort, Task
from sam.tasks.levels import LevelTask

TASKS = [
    Copy(),
    NextItemRecall(),
    KeyValueRecall(),
    KeyValueRecall(bits=32),
    PrioritySort(),
    PrioritySort(min_items=3),
]
every_task = pytest.mark.parametrize("task", TASKS, ids=repr)


def equal(a: Batch, b: Batch) -> bool:
    return all(x.shape == y.shape and torch.equal(x, y) for x, y in zip(a[:3], b[:3], strict=True))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@every_task
def test_shapes_types_and_protocol(task: LevelTask, generator: torch.Generator) -> None:
    assert isinstance(task, Task)
    assert task.kind == "bits"
    batch = task.sample(5, generator=generator)
    steps = batch.inputs.shape[0]
    assert batch.inputs.shape == (steps, 5, task.input_size)
    assert batch.targets.shape == (steps, 5, task.output_size)
    assert batch.mask.shape == (steps, 5)
    dtypes = [tensor.dtype for tensor in batch[:3]]
    assert dtypes == [torch.float32, torch.float32, torch.bool]
    assert batch.targets.unique().tolist() == [0.0, 1.0]
    (groups,) = batch.slices.values()
    assert groups.dtype == torch.int64
    assert groups.shape == (5,)


@every_task
def test_nothing_is_shown_while_answering(task: LevelTask, generator: torch.Generator) -> None:
    batch = task.sample(64, generator=generator)
    assert batch.mask.any(0).all()
    assert not batch.inputs[batch.mask].any()
    assert not batch.targets[~batch.mask].any()


@every_task
def test_the_generator_alone_decides(task: LevelTask) -> None:
    torch.manual_seed(1)
    first = [task.sample(4, generator=g) for g in [seeded(3)] for _ in range(3)]
    torch.manual_seed(2)
    again = [task.sample(4, generator=g) for g in [seeded(3)] for _ in range(3)]
    assert all(equal(a, b) for a, b in zip(first, again, strict=True))
    assert not equal(first[0], first[1])
    assert not equal(first[0], task.sample(4, generator=seeded(4)))


@every_task
def test_the_global_generator_is_not_touched(task: LevelTask, generator: torch.Generator) -> None:
    before = torch.get_rng_state()
    task.sample(4, generator=generator)
    assert torch.equal(before, torch.get_rng_state())


@every_task
def test_levels_are_drawn_from_the_whole_range(task: LevelTask, generator: torch.Generator) -> None:
    seen = set()
    for _ in range(300):
        batch = task.sample(2, generator=generator)
        (level,) = {int(x) for groups in batch.slices.values() for x in groups}
        seen.add(level)
    low, high = task.levels
    assert seen == set(range(low, high + 1))
    assert low <= task.start_level <= high


@every_task
def test_levels_above_the_range_are_allowed_and_below_one_refused(
    task: LevelTask, generator: torch.Generator
) -> None:
    above = task.levels[1] + 30
    batch = task.sample(2, generator=generator, level=above)
    assert all(groups.tolist() == [above, above] for groups in batch.slices.values())
    for level in (0, -3):
        with pytest.raises(ValueError, match=f"level: expected at least .*, got {level}"):
            task.sample(2, generator=generator, level=level)


@every_task
def test_evaluation_gives_count_sequences_at_each_level(
    task: LevelTask, generator: torch.Generator
) -> None:
    low, high = task.levels
    sizes: dict[int, list[int]] = {}
    for batch in task.evaluation(4, generator=generator, count=10):
        (groups,) = batch.slices.values()
        assert len(set(groups.tolist())) == 1
        sizes.setdefault(int(groups[0]), []).append(batch.inputs.shape[1])
    assert sizes == {level: [4, 4, 2] for level in range(low, high + 1)}


def test_evaluation_at_chosen_levels(generator: torch.Generator) -> None:
    batches = list(Copy().evaluation(8, generator=generator, levels=(30, 50), count=8))
    assert [len(batch.inputs) for batch in batches] == [61, 101]
    same = list(Copy().evaluation(8, generator=seeded(7), levels=(30, 50), count=8))
    assert all(equal(a, b) for a, b in zip(batches, same, strict=True))


def test_start_level_stays_in_the_range() -> None:
    assert Copy().start_level == 4
    assert Copy(max_length=3).start_level == 3
    assert NextItemRecall().start_level == 3
    assert KeyValueRecall().start_level == 3
    assert KeyValueRecall(min_pairs=5).start_level == 5


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"batch_size": 0}, "batch_size: expected at least 1, got 0"),
        ({"count": 0}, "count: expected at least 1, got 0"),
        ({"split": "dev"}, "split: expected one of train, valid, test, got 'dev'"),
        ({"levels": (5, 0)}, "level: expected at least 1, got 0"),
    ],
)
def test_evaluation_refuses_at_the_call(
    arguments: dict[str, object], text: str, generator: torch.Generator
) -> None:
    with pytest.raises(ValueError, match=text):
        Copy().evaluation(**{"batch_size": 2, "generator": generator, **arguments})
    with pytest.raises(ValueError, match="batch_size"):
        Copy().sample(0, generator=generator)


def test_tasks_are_frozen_values() -> None:
    assert hash(Copy()) == hash(Copy(max_length=20))
    with pytest.raises(AttributeError):
        Copy().bits = 3  # type: ignore[misc]
