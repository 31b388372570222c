"""The task on a release of a few lines: splits, batches, and settings that are wrong."""

from pathlib import Path

import pytest
import torch

from sam.errors import ConfigError, UnknownNameError
from sam.tasks import BAbI, Batch, Task
from sam.tasks.babi_stories import vocabulary


def all_of(task: BAbI, split: str, batch_size: int = 4) -> list[Batch]:
    return list(task.evaluation(batch_size, generator=torch.Generator(), split=split))


def test_sizes_and_protocol(babi_archive: Path) -> None:
    task = BAbI(path=str(babi_archive))
    assert isinstance(task, Task)
    assert (task.kind, task.input_size, task.output_size) == ("classes", 159, 159)
    assert (task.levels, task.start_level) == ((1, 1), 1)


def test_nothing_is_read_when_the_task_is_made() -> None:
    assert BAbI(path="nowhere").tasks == (1,)


def test_samples_come_from_all_chosen_tasks(babi_archive: Path, generator: torch.Generator) -> None:
    task = BAbI(tasks=(1, 8), path=str(babi_archive), validation=0.0)
    batch = task.sample(3000, generator=generator)
    assert batch.inputs.shape == (23, 3000, 159)
    assert batch.targets.dtype == torch.int64
    # 20 stories of task 1 and 10 of task 8, uniform over stories
    share = float((batch.slices["task"] == 1).float().mean())
    assert abs(share - 2 / 3) < 0.05
    answers = {vocabulary()[i] for i in batch.targets[batch.mask].tolist()}
    assert answers == {"garden", "office", "milk", "apple"}


def test_the_generator_alone_decides(babi_archive: Path) -> None:
    task = BAbI(tasks=(1, 8), path=str(babi_archive))
    draws = [task.sample(6, generator=torch.Generator().manual_seed(s)) for s in (1, 1, 2)]
    assert torch.equal(draws[0].inputs, draws[1].inputs)
    assert not torch.equal(draws[0].slices["task"], draws[2].slices["task"])


@pytest.mark.parametrize(
    ("validation", "held_out"), [(0.0, 0), (0.1, 3), (0.5, 15), (0.25, 7), (0.3, 9)]
)
def test_splits_part_the_training_stories(
    validation: float, held_out: int, babi_archive: Path
) -> None:
    task = BAbI(tasks=(1, 8), path=str(babi_archive), validation=validation)
    kept = sum(batch.inputs.shape[1] for batch in all_of(task, "train"))
    assert kept == 30 - held_out
    if held_out:
        assert sum(batch.inputs.shape[1] for batch in all_of(task, "valid")) == held_out
    else:
        with pytest.raises(ConfigError, match="validation: expected a fraction that holds"):
            all_of(task, "valid")


def test_every_tenth_story_is_held_out_and_never_trained_on(
    pack, babi_texts: dict[str, str], generator: torch.Generator
) -> None:
    places = ["park", "school", "office", "garden", "kitchen", "hallway", "bedroom", "bathroom"]
    words = [*places, "cinema", "yes"]
    text = "".join(f"1 Where is Mary?\t{word}\t\n" for word in words)
    path = pack({"en-10k/qa1_single-supporting-fact_train.txt": text})
    task = BAbI(path=str(path))
    (held_out,) = all_of(task, "valid")
    assert [vocabulary()[i] for i in held_out.targets[held_out.mask].tolist()] == ["yes"]
    drawn = task.sample(500, generator=generator)
    assert {vocabulary()[i] for i in drawn.targets[drawn.mask].tolist()} == set(words[:9])


def test_test_split_is_given_whole_shortest_first(babi_archive: Path) -> None:
    task = BAbI(tasks=(8, 1), path=str(babi_archive))
    batches = all_of(task, "test", batch_size=1)
    assert [int(batch.slices["task"]) for batch in batches] == [1, 8]
    assert [len(batch.inputs) for batch in batches] == [11, 18]
    (together,) = all_of(task, "test", batch_size=100)
    assert together.inputs.sum((0, 2)).tolist() == [11, 18]


def test_partial_language_takes_the_tests_of_the_whole_one(babi_archive: Path) -> None:
    task = BAbI(tasks=(3,), language="en-10k-partial", path=str(babi_archive), validation=0.0)
    assert [batch.inputs.shape[1] for batch in all_of(task, "train")] == [1]
    assert [batch.inputs.shape[1] for batch in all_of(task, "test")] == [1]


def test_lists_from_recipes_are_taken(babi_archive: Path) -> None:
    task = BAbI(tasks=[1, 8], path=str(babi_archive))  # type: ignore[arg-type]
    assert task == BAbI(tasks=(1, 8), path=str(babi_archive))
    assert hash(task)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"tasks": (0,)}, "tasks: expected numbers from 1 to 20, got 0"),
        ({"tasks": (1, 21)}, "tasks: expected numbers from 1 to 20, got 21"),
        ({"tasks": ("1",)}, "tasks: expected numbers from 1 to 20, got '1'"),
        ({"tasks": (2, 2)}, "tasks: expected each number once"),
        ({"tasks": ()}, "tasks: expected a list of task numbers"),
        ({"tasks": 1}, "tasks: expected a list of task numbers, got 1"),
        ({"validation": 1.0}, r"validation: expected a number in \[0, 1\), got 1.0"),
        ({"validation": float("nan")}, "validation: expected a number"),
    ],
)
def test_bad_settings_are_named(settings: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        BAbI(**settings)


def test_unknown_language_is_named_with_a_suggestion() -> None:
    with pytest.raises(UnknownNameError, match=r"language: .*got 'en10k'; did you mean 'en-10k'"):
        BAbI(language="en10k")


def test_levels_other_than_one_and_bad_calls_are_refused(
    babi_archive: Path, generator: torch.Generator
) -> None:
    task = BAbI(path=str(babi_archive))
    assert task.sample(2, generator=generator, level=1).inputs.shape[1] == 2
    for level in (0, 2):
        with pytest.raises(ValueError, match="level: expected 1, the only level of bAbI"):
            task.sample(2, generator=generator, level=level)
        with pytest.raises(ValueError, match="level: expected 1"):
            task.evaluation(2, generator=generator, levels=(level,))
    with pytest.raises(ValueError, match="split: expected one of"):
        task.evaluation(2, generator=generator, split="dev")
    with pytest.raises(ValueError, match="batch_size: expected at least 1"):
        task.sample(0, generator=generator)
