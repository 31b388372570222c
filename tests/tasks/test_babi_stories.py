"""Stories as tokens, counted and written out by hand."""

import pytest
import torch

from sam.errors import DataMissingError
from sam.tasks import BAbI
from sam.tasks.babi_stories import join_stories, make_batch, parse_stories, vocabulary

CARRYING = """1 Sandra moved to the office.
2 Sandra went to the hallway.
3 Mary went back to the bathroom.
4 Mary picked up the football there.
5 What is Mary carrying? \tfootball\t4
6 Mary travelled to the park.
7 Mary moved to the school.
8 What is Mary carrying? \tfootball\t4
9 Sandra journeyed to the kitchen.
10 Mary took the apple there.
11 What is Mary carrying? \tfootball,apple\t4 10
"""
WRITTEN_OUT = (
    "sandra moved to the office . sandra went to the hallway . mary went back to the bathroom . "
    "mary picked up the football there . what is mary carrying ? - mary travelled to the park . "
    "mary moved to the school . what is mary carrying ? - sandra journeyed to the kitchen . "
    "mary took the apple there . what is mary carrying ? - -"
)


def spell(ids: torch.Tensor) -> list[str]:
    return [vocabulary()[number] for number in ids.tolist()]


def test_vocabulary_is_156_words_and_three_symbols() -> None:
    words = vocabulary()
    assert len(words) == len(set(words)) == 159
    assert list(words[:156]) == sorted(words[:156])
    assert all(word.isascii() and word.isalpha() and word.islower() for word in words[:156])
    assert words[156:] == ("-", ".", "?")


def test_a_story_of_69_tokens_is_written_out() -> None:
    stories = parse_stories(CARRYING, 8, "mini")
    assert spell(stories.tokens) == WRITTEN_OUT.split()
    assert stories.lengths.tolist() == [69]
    scored = stories.answers >= 0
    assert spell(stories.tokens[scored]) == ["-"] * 4
    assert spell(stories.answers[scored]) == ["football", "football", "football", "apple"]


def test_number_words_are_not_the_line_numbers() -> None:
    text = "1 Mary took the milk.\n2 How many objects is Mary carrying? \tone\t1\n"
    stories = parse_stories(text, 7, "mini")
    assert not {"1", "2"} & set(spell(stories.tokens))
    assert spell(stories.answers[stories.answers >= 0]) == ["one"]
    assert "one" not in spell(stories.tokens)  # an answer is never shown


def test_stories_begin_at_line_one_and_are_padded_to_the_longest() -> None:
    text = "1 Mary took the milk.\n2 Where is Mary?\tpark\t1\n1 Where is John?\toffice\t\n"
    both = join_stories([parse_stories(CARRYING, 8, "a"), parse_stories(text, 1, "b")])
    assert both.lengths.tolist() == [69, 10, 5]
    batch = make_batch(both, torch.tensor([2, 0, 1]))
    assert batch.inputs.shape == (69, 3, 159)
    assert batch.inputs.dtype == torch.float32
    assert batch.inputs.sum((0, 2)).tolist() == [5, 69, 10]
    assert batch.inputs.sum(2).max() == 1
    assert spell(batch.inputs[:5, 0].argmax(-1)) == ["where", "is", "john", "?", "-"]
    assert spell(batch.inputs[:10, 2].argmax(-1))[5:] == ["where", "is", "mary", "?", "-"]
    assert not batch.inputs[5:, 0].any()
    assert batch.mask.sum(0).tolist() == [1, 4, 1]
    assert spell(batch.targets[batch.mask[:, 0], 0]) == ["office"]
    assert not batch.targets[~batch.mask].any()
    assert batch.slices["task"].tolist() == [1, 8, 1]


def test_question_ids_join_the_words_of_one_answer() -> None:
    batch = make_batch(parse_stories(CARRYING, 8, "mini"), torch.tensor([0]))
    ids = BAbI.question_ids(batch)[:, 0]
    assert ids.shape == (69,)
    assert ids[ids >= 0].tolist() == [0, 1, 2, 2]
    assert torch.equal(ids >= 0, batch.mask[:, 0])


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("1 Mary took the dinosaur.\n", 1),
        ("1 Mary took the milk.\nMary went there.\n", 2),
        ("2 Mary took the milk.\n", 1),
        ("1 Mary took the milk.\n2 Where is Mary?\tmoon\t1\n", 2),
        ("1 Mary took the milk.\n2 Where is Mary?\n", 2),
        ("1 Mary took the mi", 1),
        ("1 Where is Mary?\tpark\t\n\n", 2),
    ],
)
def test_damaged_lines_are_found(text: str, line: int) -> None:
    with pytest.raises(DataMissingError, match=f"bAbI data qa1, line {line}: expected"):
        parse_stories(text, 1, "qa1")


def test_an_empty_file_is_refused() -> None:
    with pytest.raises(DataMissingError, match="qa1: expected stories, found an empty file"):
        parse_stories("", 1, "qa1")
