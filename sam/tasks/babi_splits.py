"""Which bAbI stories are of which split, and which of them have about the same length."""

import functools
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from sam.errors import ConfigError
from sam.tasks.babi_archive import read_texts
from sam.tasks.babi_first_steps import TASKS as ASKED
from sam.tasks.babi_first_steps import one_sentence_questions
from sam.tasks.babi_stories import Stories, join_stories, parse_stories


class Pool(NamedTuple):
    """Which stories there are; see the settings of `sam.tasks.BAbI`."""

    source: Path  # what `find_source` returned
    language: str
    substitute: str
    tasks: tuple[int, ...]
    validation: float
    first_steps: bool

    @property
    def asked(self) -> list[int]:
        """The tasks whose stories are told again with questions of our own."""
        return [task for task in self.tasks if self.first_steps and task in ASKED]


class Chosen(NamedTuple):
    """The stories of some files, and those of one split among them."""

    stories: Stories
    places: Tensor  # of the split's stories, [n] int64
    substituted: tuple[int, ...]  # tasks whose file is that of another language


def _held_out(tasks: Tensor, validation: float) -> Tensor:
    """Marks story i of a task if ``validation (i + 1)`` reaches a whole number there, [S] bool."""
    marks = torch.zeros_like(tasks, dtype=torch.bool)
    for task in tasks.unique().tolist():
        of_task = tasks == task
        counted = torch.arange(int(of_task.sum()) + 1, dtype=torch.float64) * validation
        # 0.29 * 100 is just under 29 in binary and has to count as 29.
        reached = (counted + 1e-9).floor()
        marks[of_task] = reached[1:] > reached[:-1]
    return marks


@functools.lru_cache(maxsize=8)
def _load(pool: Pool, part: str) -> tuple[Stories, int, tuple[int, ...]]:
    """The stories of the files and behind them those of our own, how many the files have."""
    others = None if pool.substitute == "none" else pool.substitute
    texts, substituted = read_texts(pool.source, pool.language, pool.tasks, part, others)
    parts = [
        parse_stories(texts[task], task, f"{pool.source}: qa{task} {part}") for task in pool.tasks
    ]
    count = sum(len(stories.starts) for stories in parts)
    parts += [
        parse_stories(one_sentence_questions(texts[task], task), task, f"own qa{task}")
        for task in (pool.asked if part == "train" else ())
    ]
    return join_stories(parts), count, substituted


@functools.lru_cache(maxsize=8)
def chosen_stories(pool: Pool, split: str) -> Chosen:
    """Reads the files and parts their stories.

    Stories with questions of our own are of the split "train" alone, unless the same story of the
    file is held out.

    Raises:
        DataMissingError: the archive is damaged or lacks a file.
        ConfigError: no stories are held out and ``"valid"`` is asked for.
    """
    # Cached, since every update asks which stories are held out.
    part = "test" if split == "test" else "train"
    stories, count, substituted = _load(pool, part)
    if split == "test":
        return Chosen(stories, torch.arange(count), substituted)
    held_out = _held_out(stories.tasks[:count], pool.validation)
    again = [held_out[stories.tasks[:count] == task] for task in pool.asked]
    marks = held_out if split == "valid" else ~torch.cat([held_out, *again])
    places = marks.nonzero().squeeze(1)
    if not len(places):
        raise ConfigError(
            f"validation: expected a fraction that holds stories out for split 'valid', got "
            f"{pool.validation!r} of {count} stories"
        )
    return Chosen(stories, places, substituted)


@functools.lru_cache(maxsize=8)
def buckets(pool: Pool, split: str, size: int) -> tuple[Tensor, Tensor]:
    """Parts the stories of a split into buckets of `size` or more stories of about one length.

    Returns:
        The places of the stories, sorted by their lengths, [n]; and where each bucket ends among
        them, ascending, the last at n.
    """
    stories, places, _ = chosen_stories(pool, split)
    order = places[stories.lengths[places].argsort(stable=True)]
    _, counts = stories.lengths[order].unique_consecutive(return_counts=True)
    ends, begin = [], 0
    for end in counts.cumsum(0).tolist():
        if end - begin >= size:
            ends.append(end)
            begin = end
    # The longest stories of all may be too few for a bucket of their own.
    return order, torch.tensor([*ends[:-1], len(order)] if begin < len(order) else ends)


@functools.lru_cache(maxsize=8)
def shares(pool: Pool, split: str, size: int) -> Tensor:
    """Where each story's share ends, [n] float64 from above 0 to the number of tasks.

    The stories are in the order of `buckets`, or in that of the files where `size` is 0. The
    shares of the stories of a task are alike and make 1 together.
    """
    stories, places, _ = chosen_stories(pool, split)
    of = stories.tasks[buckets(pool, split, size)[0] if size else places]
    return (1.0 / of.bincount().double())[of].cumsum(0)
