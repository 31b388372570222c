"""Questions that one sentence answers: what is asked of each task, and in which split."""

from pathlib import Path

import pytest
import torch

from sam.errors import ConfigError
from sam.tasks import BAbI
from sam.tasks.babi_first_steps import TASKS, one_sentence_questions
from sam.tasks.babi_stories import parse_stories

TEXTS = {
    15: "1 Mice are afraid of cats.\n2 Emily is a mouse.\n3 What is emily afraid of?\tcat\t2 1\n",
    16: "1 Lily is a frog.\n2 Lily is green.\n3 Greg is a frog.\n4 What color is Greg?\tgreen\t3\n",
    17: (
        "1 The triangle is above the pink rectangle.\n"
        "2 The blue square is to the left of the triangle.\n"
        "3 Is the pink rectangle to the right of the blue square?\tyes\t1 2\n"
    ),
    19: (
        "1 The office is east of the hallway.\n2 The kitchen is north of the office.\n"
        "3 How do you go from the hallway to the kitchen?\te,n\t1 2\n"
    ),
}


def asked(task: int) -> dict[str, str]:
    """Questions of our own and their answers."""
    lines = one_sentence_questions(TEXTS[task], task).splitlines()
    return dict(line.partition(" ")[2].split("\t")[:2] for line in lines if "\t" in line)


def test_kinds_are_asked_for_by_name() -> None:
    assert asked(15) == {"What is Emily?": "mouse"}
    assert asked(16) == {"What is Lily?": "frog", "What is Greg?": "frog"}


def test_sides_are_asked_for_both_ways() -> None:
    found = asked(17)
    assert len(found) == 8
    assert sorted(found.values()) == ["no"] * 4 + ["yes"] * 4
    assert found["Is the triangle above the pink rectangle?"] == "yes"
    assert found["Is the pink rectangle below the triangle?"] == "yes"
    assert found["Is the triangle to the left of the blue square?"] == "no"


def test_neighbors_and_one_step_of_a_way_are_asked_for_both_ways() -> None:
    assert asked(19) == {
        "What is east of the hallway?": "office",
        "What is the office east of?": "hallway",
        "What is north of the office?": "kitchen",
        "What is the kitchen north of?": "office",
        "How do you go from the office to the hallway?": "w",
        "How do you go from the hallway to the office?": "e",
        "How do you go from the kitchen to the office?": "s",
        "How do you go from the office to the kitchen?": "n",
    }


@pytest.mark.parametrize("task", TASKS)
def test_stories_keep_their_number_and_form(task: int) -> None:
    text = TEXTS[task] * 5
    own = one_sentence_questions(text, task)
    assert own == one_sentence_questions(text, task)
    assert len(parse_stories(own, task, "own").starts) == 5
    statements = [line for line in text.splitlines() if "\t" not in line]
    assert [line for line in own.splitlines() if "\t" not in line] == statements


def test_the_order_of_the_questions_tells_nothing() -> None:
    stories = one_sentence_questions(TEXTS[17] * 40, 17).split("\n1 ")
    answers = [[line.split("\t")[1] for line in one.splitlines()[2:]] for one in stories]
    first = [one[0] for one in answers]
    assert 8 <= first.count("yes") <= 32
    assert len({tuple(one) for one in answers}) > 20


@pytest.fixture
def frogs(pack) -> Path:  # type: ignore[no-untyped-def]
    """20 stories of task 16 and 10 of task 1, and two of each to test with."""
    first = "1 Mary went to the office.\n2 Where is Mary?\toffice\t1\n"
    part = {"train": (20, 10), "test": (2, 2)}
    return pack(
        {
            f"en-10k/qa{task}_x_{split}.txt": text * counts[place]
            for split, counts in part.items()
            for place, (task, text) in enumerate(((16, TEXTS[16]), (1, first)))
        }
    )


@pytest.mark.parametrize("size", [0, 4])
def test_our_questions_are_trained_on_and_never_evaluated(size: int, frogs: Path) -> None:
    sizes = {}
    for own in (False, True):
        task = BAbI(tasks=(16, 1), path=str(frogs), first_steps=own, bucket_size=size)
        counted = {}
        for split in ("train", "valid", "test"):
            batches = task.evaluation(64, generator=torch.Generator(), split=split)
            counted[split] = sum(batch.inputs.shape[1] for batch in batches)
        sizes[own] = counted
        drawn = task.sample(200, generator=torch.Generator().manual_seed(0))
        questions = task.question_ids(drawn).amax(0) + 1
        assert (questions == 2).any() == own  # ours ask for both frogs
    assert sizes[False] == {"train": 27, "valid": 3, "test": 4}
    assert sizes[True] == {"train": 45, "valid": 3, "test": 4}  # 18 of task 16 again


def test_the_settings_are_true_or_false() -> None:
    for name in ("first_steps", "rename"):
        with pytest.raises(ConfigError, match=f"{name}: expected true or false, got 1"):
            BAbI(**{name: 1})  # type: ignore[arg-type]
