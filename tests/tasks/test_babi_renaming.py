"""Stories told of others stay true: what is exchanged, and puzzles solved after it."""

import pytest
import torch

from sam.tasks import BAbI
from sam.tasks.babi_renaming import renamings
from sam.tasks.babi_stories import make_batch, parse_stories, vocabulary

WOLVES = """1 Mice are afraid of cats.
2 Gertrude is a mouse.
3 Cats are afraid of sheep.
4 Emily is a cat.
5 What is gertrude afraid of?\tcat\t2 1
6 What is emily afraid of?\tsheep\t4 3
"""
WAY = """1 The office is east of the hallway.
2 The kitchen is north of the office.
3 How do you go from the hallway to the kitchen?\te,n\t1 2
"""
SQUARES = """1 The blue square is to the left of the triangle.
2 Is the triangle to the right of the blue square?\tyes\t1
3 Is the triangle to the left of the blue square?\tno\t1
"""
STEPS = {"north": (0, 1), "east": (1, 0), "south": (0, -1), "west": (-1, 0)}


def told(text: str, task: int, seed: int) -> tuple[list[list[str]], list[str]]:
    """The sentences of a story after a renaming, and the words of its answers."""
    words = renamings(torch.tensor([task]), generator=torch.Generator().manual_seed(seed))
    batch = make_batch(parse_stories(text, task, "own"), torch.tensor([0]), words)
    named: list[str] = list(vocabulary())
    shown = [named[token] for token in batch.inputs[:, 0].argmax(-1).tolist()]
    answers = [named[i] for i in batch.targets[:, 0][batch.mask[:, 0]].tolist()]
    story = " ".join(word for word in shown if word != "-").replace("?", ".")
    sentences = [list[str](sentence.split()) for sentence in story.split(".")[:-1]]
    return sentences, answers


@pytest.mark.parametrize("task", range(1, 21))
def test_words_change_places_and_none_is_lost(task: int) -> None:
    words = renamings(torch.full((50,), task), generator=torch.Generator().manual_seed(0))
    everyone = torch.arange(len(vocabulary()))
    assert torch.equal(words.sort(1).values, everyone.expand(50, -1))
    changed = (words != everyone).any(1)
    assert changed.float().mean() > 0.6 if task != 18 else not changed.any()


def test_persons_keep_their_pronouns_and_answers_their_kind() -> None:
    words = renamings(torch.full((200,), 11), generator=torch.Generator().manual_seed(0))
    becomes = {
        name: {vocabulary()[i] for i in words[:, vocabulary().index(name)].tolist()}
        for name in ("mary", "john", "kitchen", "she", "the", "went")
    }
    assert {"mary", "gertrude", "lily"} <= becomes["mary"]
    assert not becomes["mary"] & becomes["john"]
    assert {"garden", "cinema"} <= becomes["kitchen"]
    assert becomes["she"] == {"she"}
    assert (becomes["the"], becomes["went"]) == ({"the"}, {"went"})


@pytest.mark.parametrize("seed", range(20))
def test_wolves_stay_the_plural_of_a_wolf(seed: int) -> None:
    plural = {"mice": "mouse", "cats": "cat", "wolves": "wolf", "sheep": "sheep"}
    sentences, answers = told(WOLVES, 15, seed)
    fear = {plural[one[0]]: one[-1] for one in sentences if one[1] == "are"}
    kind = {one[0]: one[-1] for one in sentences if one[1:3] == ["is", "a"]}
    asked = [one[2] for one in sentences if one[0] == "what"]
    assert [plural[fear[kind[name]]] for name in asked] == answers


@pytest.mark.parametrize("seed", range(20))
def test_a_turned_map_leads_to_the_same_place(seed: int) -> None:
    sentences, answers = told(WAY, 19, seed)
    at = {sentences[0][-1]: (0, 0)}
    for sentence in sentences[:2]:
        (x, y), (dx, dy) = at[sentence[-1]], STEPS[sentence[3]]
        at[sentence[1]] = x + dx, y + dy
    begin, end = sentences[2][6], sentences[2][9]
    moves = [STEPS[name] for word in answers for name in STEPS if name[0] == word]
    reached = tuple(at[begin][i] + sum(move[i] for move in moves) for i in range(2))
    assert len(moves) == 2
    assert reached == at[end]


@pytest.mark.parametrize("seed", range(10))
def test_left_and_right_change_together(seed: int) -> None:
    sentences, answers = told(SQUARES, 17, seed)
    sides = [next(word for word in one if word in ("left", "right")) for one in sentences]
    assert answers == ["yes", "no"]
    assert sides[0] == sides[2] != sides[1]


def test_renamed_training_stories_and_evaluations_as_they_are(babi_archive) -> None:  # type: ignore[no-untyped-def]
    path = str(babi_archive)
    plain, renamed = (BAbI(tasks=(1,), path=path, rename=one) for one in (False, True))
    draws = [renamed.sample(64, generator=torch.Generator().manual_seed(s)) for s in (0, 0, 1)]
    assert torch.equal(draws[0].inputs, draws[1].inputs)
    assert torch.equal(draws[0].targets, draws[1].targets)
    assert not torch.equal(draws[0].targets, draws[2].targets)
    answers = {vocabulary()[i] for i in draws[0].targets[draws[0].mask].tolist()}
    assert {"bedroom", "school"} <= answers  # the file has garden and office alone
    for split in ("valid", "test"):
        ours, theirs = (
            list(task.evaluation(4, generator=torch.Generator(), split=split))
            for task in (renamed, plain)
        )
        assert all(torch.equal(a.inputs, b.inputs) for a, b in zip(ours, theirs, strict=True))
