"""All tasks together: what stands in for a missing file, and buckets of stories of one length."""

from collections import Counter
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from sam.errors import ConfigError, DataMissingError
from sam.tasks import BAbI
from sam.tasks.babi_splits import Pool, buckets, chosen_stories


def test_a_missing_training_file_is_substituted_and_told_apart(babi_archive: Path) -> None:
    task = BAbI(tasks=(1, 3, 8), path=str(babi_archive), validation=0.0)
    assert task.apart == {"task": (3,)}
    counts = {
        split: Counter(
            number
            for batch in task.evaluation(16, generator=torch.Generator(), split=split)
            for number in batch.slices["task"].tolist()
        )
        for split in ("train", "test")
    }
    assert counts["train"] == {1: 20, 3: 1, 8: 10}  # of task 3 the story of en-10k-partial
    assert counts["test"] == {1: 1, 3: 1, 8: 1}


def test_nothing_is_apart_where_nothing_is_missing(babi_archive: Path) -> None:
    assert BAbI(tasks=(1, 8), path=str(babi_archive)).apart == {}
    alone = BAbI(tasks=(3,), path=str(babi_archive), validation=0.0)
    assert alone.apart == {}  # it is all there is to be told
    assert alone.sample(2, generator=torch.Generator()).slices["task"].tolist() == [3, 3]


def test_the_substitute_is_a_setting(babi_archive: Path) -> None:
    generator = torch.Generator()
    from_en = BAbI(tasks=(1, 3), substitute="en", path=str(babi_archive))
    assert from_en.apart == {"task": (3,)}
    with pytest.raises(DataMissingError, match="expected a train file of task 3"):
        BAbI(tasks=(1, 3), substitute="none", path=str(babi_archive)).sample(1, generator=generator)
    with pytest.raises(DataMissingError, match=r"task 20 .*no language has it"):
        BAbI(tasks=(20,), path=str(babi_archive)).sample(1, generator=generator)
    with pytest.raises(ConfigError, match="substitute: expected one of"):
        BAbI(substitute="en-20k")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="bucket_size: expected a whole number >= 0, got -1"):
        BAbI(bucket_size=-1)


@pytest.fixture
def lengths_archive(pack) -> Path:  # type: ignore[no-untyped-def]
    """Stories with 1 to 6 statements; of n statements there are n."""
    statement, question = "Mary moved to the garden.\n", "Where is Mary?\tgarden\t1\n"
    text = ""
    for count in range(1, 7):
        lines = [f"{i + 1} {statement}" for i in range(count)] + [f"{count + 1} {question}"]
        text += "".join(lines) * count
    return pack({"en-10k/qa1_single-supporting-fact_train.txt": text})


@pytest.mark.parametrize(
    ("size", "ends"),
    [(1, [1, 3, 6, 10, 15, 21]), (4, [6, 10, 15, 21]), (7, [10, 21]), (12, [21]), (50, [21])],
)
def test_buckets_keep_stories_of_one_length_together(
    size: int, ends: list[int], lengths_archive: Path
) -> None:
    pool = Pool(lengths_archive, "en-10k", "none", (1,), 0.0, first_steps=False)
    places, found = buckets(pool, "train", size)
    lengths = chosen_stories(pool, "train").stories.lengths[places]
    assert torch.equal(lengths, lengths.sort().values)
    assert sorted(places.tolist()) == [*range(21)]
    assert found.tolist() == ends


def test_every_story_is_as_likely_in_buckets(
    lengths_archive: Path, generator: torch.Generator
) -> None:
    task = BAbI(path=str(lengths_archive), validation=0.0, bucket_size=4)
    drawn = Counter()
    for _ in range(500):
        batch = task.sample(4, generator=generator)
        # A statement has 6 tokens, the question 5 with its answer.
        statements = (batch.inputs.sum((0, 2)) - 5) / 6
        found = {int(count) for count in statements.tolist()}
        assert found <= {1, 2, 3} or len(found) == 1
        drawn.update(int(count) for count in statements.tolist())
    for count in range(1, 7):
        assert abs(drawn[count] / 2000 - count / 21) < 0.08


@pytest.mark.parametrize("size", [0, 4])
def test_every_task_is_as_likely_where_tasks_are_drawn(
    size: int,
    pack,
    generator: torch.Generator,  # type: ignore[no-untyped-def]
) -> None:
    first = "1 Mary moved to the garden.\n2 Where is Mary?\tgarden\t1\n"
    second = "1 Mary is in the park.\n2 Is Mary in the park?\tyes\t1\n"
    archive = pack(
        {
            "en-10k/qa1_single-supporting-fact_train.txt": first * 40,
            "en-10k/qa6_yes-no-questions_train.txt": second * 8,
        }
    )
    given: dict[str, Any] = {"path": str(archive), "validation": 0.0, "bucket_size": size}
    cases: dict[Literal["stories", "tasks"], float] = {"stories": 8 / 48, "tasks": 1 / 2}
    for draw, expected in cases.items():
        task, drawn = BAbI(tasks=(1, 6), draw=draw, **given), Counter()
        for _ in range(500):
            drawn.update(task.sample(4, generator=generator).slices["task"].tolist())
        assert abs(drawn[6] / 2000 - expected) < 0.08
    with pytest.raises(ConfigError, match="draw: expected one of"):
        BAbI(draw="questions")  # type: ignore[arg-type]


def test_every_story_of_a_task_is_as_likely_where_tasks_are_drawn(
    lengths_archive: Path, generator: torch.Generator
) -> None:
    task = BAbI(path=str(lengths_archive), validation=0.0, bucket_size=4, draw="tasks")
    drawn = Counter()
    for _ in range(500):
        statements = (task.sample(4, generator=generator).inputs.sum((0, 2)) - 5) / 6
        drawn.update(int(count) for count in statements.tolist())
    for count in range(1, 7):
        assert abs(drawn[count] / 2000 - count / 21) < 0.08
