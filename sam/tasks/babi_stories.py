"""bAbI stories as token numbers, one token per step, and batches of them (models.md, 12)."""

import functools
from array import array
from importlib import resources
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from sam.errors import DataMissingError
from sam.tasks.task import Batch

ANSWER_NOW = "-"
_SYMBOLS = (ANSWER_NOW, ".", "?")
_NO_ANSWER = -1


class Stories(NamedTuple):
    """Stories, concatenated, and where each begins."""

    tokens: Tensor  # [tokens in all] int16: what is shown at the step
    answers: Tensor  # [tokens in all] int16: the word to answer at the step, -1 for none
    starts: Tensor  # [S] int64: first token of the story
    lengths: Tensor  # [S] int64
    tasks: Tensor  # [S] int64: number of the bAbI task, 1 to 20


@functools.cache
def vocabulary() -> tuple[str, ...]:
    """Lists the 156 words of the release in order, then ``-``, ``.``, ``?``; positions are ids.

    It does not depend on the chosen tasks, so a model of one task can be run on another.
    """
    listed = resources.files("sam.tasks").joinpath("babi_words.txt").read_text(encoding="utf-8")
    return (*listed.split(), *_SYMBOLS)


def parse_stories(text: str, task: int, name: str) -> Stories:
    """Turns the text of one bAbI file into stories.

    A line is ``ID statement`` or ``ID question<TAB>answer<TAB>supporting IDs``, and ID 1 begins a
    story. Numbers are removed, letters are lower-cased, ``.`` and ``?`` become tokens. A question
    is followed by as many ``-`` tokens as its answer has words; the words are never shown.

    Args:
        text: the file's content.
        task: number of the bAbI task, kept for each story.
        name: the file's name, for messages.

    Returns:
        The stories in the file's order.

    Raises:
        DataMissingError: a line is not of that form or holds a word that is not in the vocabulary;
            the text names file and line.
    """
    ids = {token: number for number, token in enumerate(vocabulary())}
    # The same sentences occur thousands of times; each is encoded once.
    encode = functools.cache(functools.partial(_encode_line, ids=ids))
    tokens, answers, starts = array("h"), array("h"), array("q")
    for number, line in enumerate(text.splitlines(), start=1):
        story_line, _, rest = line.partition(" ")
        try:
            shown, wanted = encode(rest)
            if story_line == "1":
                starts.append(len(tokens))
            elif not (story_line.isdecimal() and starts):
                raise ValueError(f"a line number, 1 at the start of a story, not {story_line!r}")
        except ValueError as error:
            raise DataMissingError(
                f"bAbI data {name}, line {number}: expected {error}; the file is damaged or is "
                "not of the bAbI release 1.2"
            ) from None
        tokens.extend(shown)
        answers.extend(wanted)
    if not starts:
        raise DataMissingError(f"bAbI data {name}: expected stories, found an empty file")
    begin = torch.tensor(starts, dtype=torch.int64)
    end = torch.cat([begin[1:], torch.tensor([len(tokens)])])
    return Stories(
        tokens=torch.tensor(tokens, dtype=torch.int16),
        answers=torch.tensor(answers, dtype=torch.int16),
        starts=begin,
        lengths=end - begin,
        tasks=torch.full_like(begin, task),
    )


def join_stories(parts: list[Stories]) -> Stories:
    """Concatenates the stories of several files."""
    offsets = accumulate((len(part.tokens) for part in parts), initial=0)
    moved = [
        part._replace(starts=part.starts + offset)
        for part, offset in zip(parts, offsets, strict=False)
    ]
    return Stories(*map(torch.cat, zip(*moved, strict=True)))


def make_batch(stories: Stories, chosen: Tensor, words: Tensor | None = None) -> Batch:
    """Builds the batch of the chosen stories, padded at the end to the longest of them.

    Args:
        stories: where to take them from.
        chosen: places of the stories, [B] int64.
        words: by story, the word that each word becomes, [B, 159] int64; None leaves all as they
            are.

    Returns:
        One-hot inputs [T, B, 159] (all zero where padded), classes [T, B] (0 where not scored),
        the mask of the ``-`` steps [T, B], and slices ``task`` [B].

    Cost: O(T B 159) time and bytes, nearly all of it the one-hot inputs.
    """
    lengths = stories.lengths[chosen]
    steps = torch.arange(int(lengths.max())).unsqueeze(1)
    inside = steps < lengths
    places = torch.where(inside, stories.starts[chosen] + steps, 0)
    shown = stories.tokens[places].long()
    answers = torch.where(inside, stories.answers[places].long(), _NO_ANSWER)
    mask = answers != _NO_ANSWER
    answers = answers.clamp(min=0)
    if words is not None:
        shown, answers = (words.T.gather(0, one) for one in (shown, answers))
        answers = answers.where(mask, 0)
    inputs = torch.zeros(*shown.shape, len(vocabulary()), dtype=torch.float32)
    inputs.scatter_(2, shown.unsqueeze(2), inside.unsqueeze(2).float())
    return Batch(inputs, answers, mask, {"task": stories.tasks[chosen]})


def _encode_line(rest: str, *, ids: dict[str, int]) -> tuple[list[int], list[int]]:
    """Encodes a line without its number: tokens to show, and words to answer."""
    fields = rest.split("\t")
    sentence = fields[0].lower().replace(".", " . ").replace("?", " ? ").split()
    shown = [_look_up(word, ids) for word in sentence if not word.isdecimal()]
    wanted = [_NO_ANSWER] * len(shown)
    if len(fields) == 1:
        if not sentence or sentence[-1] != ".":
            raise ValueError(f"a statement that ends in '.', not {fields[0]!r}")
        return shown, wanted
    if not sentence or sentence[-1] != "?":
        raise ValueError(f"a question that ends in '?', not {fields[0]!r}")
    answer = [_look_up(word, ids) for word in fields[1].lower().split(",")]
    return shown + [ids[ANSWER_NOW]] * len(answer), wanted + answer


def _look_up(word: str, ids: dict[str, int]) -> int:
    if word not in ids:
        raise ValueError(f"one of the vocabulary's words, not {word!r}")
    return ids[word]
