"""bAbI: twenty kinds of small reading puzzles, one story a sequence (models.md, section 12)."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from sam.errors import ConfigError, unknown_name
from sam.tasks.babi_archive import FOLDERS, find_source, read_texts
from sam.tasks.babi_stories import (
    Stories,
    join_stories,
    make_batch,
    parse_stories,
    vocabulary,
)
from sam.tasks.levels import check_call
from sam.tasks.task import Batch, Kind


@dataclass(frozen=True, kw_only=True, slots=True)
class BAbI:
    """The 20 question answering tasks of Weston et al., encoded as the DNC paper does.

    A story is one sequence of tokens, each a one-hot input over 156 words, ``.``, ``?`` and the
    answer-now token ``-``. After a question come as many ``-`` as its answer has words; an
    answer is expected and scored only there. There is no curriculum: the only level is 1.

    The archive is read in place when the first batch is drawn, and kept for the life of the
    process. In task 4 of ``en-10k`` 741 of the 1,000 test stories also stand in the training file.

    Args:
        tasks: the task numbers to pool, 1 to 20.
        language: ``"en-10k"`` (10,000 training questions a task; the training file of task 3 may be
            missing), ``"en"`` (1,000) or ``"en-10k-partial"`` (task 3 only, 385 stories). The test
            files are the same for all.
        path: the archive, its folder, or the unpacked folder; see `find_source` when None.
        validation: fraction of each task's training stories held out, in [0, 1). With 0.1 it is
            every tenth story.

    Raises:
        ConfigError: a setting is out of its range.
        UnknownNameError: there is no such language.
    """

    kind: ClassVar[Kind] = "classes"
    # Stories have no difficulty. Without a type these are no settings.
    levels = 1, 1
    start_level = 1

    tasks: tuple[int, ...] = (1,)
    language: str = "en-10k"
    path: str | None = None
    validation: float = 0.1

    def __post_init__(self) -> None:
        # Recipes give lists; the settings must stay hashable.
        if isinstance(self.tasks, list):
            object.__setattr__(self, "tasks", tuple(self.tasks))
        if not (isinstance(self.tasks, tuple) and self.tasks):
            raise ConfigError(f"tasks: expected a list of task numbers, got {self.tasks!r}")
        for task in self.tasks:
            if not isinstance(task, int) or isinstance(task, bool) or not 1 <= task <= 20:
                raise ConfigError(f"tasks: expected numbers from 1 to 20, got {task!r}")
        if len(set(self.tasks)) < len(self.tasks):
            raise ConfigError(f"tasks: expected each number once, got {self.tasks!r}")
        if self.language not in FOLDERS:
            raise unknown_name("language", self.language, FOLDERS)
        if not (isinstance(self.validation, (int, float)) and 0.0 <= self.validation < 1.0):
            raise ConfigError(f"validation: expected a number in [0, 1), got {self.validation!r}")

    @property
    def input_size(self) -> int:
        """The vocabulary, 159."""
        return len(vocabulary())

    @property
    def output_size(self) -> int:
        """One logit per token of the vocabulary, 159."""
        return len(vocabulary())

    def sample(
        self, batch_size: int, *, generator: torch.Generator, level: int | None = None
    ) -> Batch:
        """Draws training stories, each uniformly from the pool of all chosen tasks.

        Args:
            batch_size: stories, at least 1.
            generator: source of all randomness, on the CPU.
            level: None or 1.

        Returns:
            Inputs [T, B, 159], targets [T, B], mask [T, B], T the longest story; see `make_batch`.

        Raises:
            DataMissingError: the archive is absent or damaged, or lacks a file.
            ValueError: `batch_size` or `level` is out of range.
        """
        check_call(batch_size)
        _check_levels(() if level is None else (level,))
        stories, places = self._split("train")
        drawn = torch.randint(len(places), (batch_size,), generator=generator)
        return make_batch(stories, places[drawn])

    def evaluation(
        self,
        batch_size: int,
        *,
        generator: torch.Generator,
        levels: tuple[int, ...] = (),
        count: int = 200,
        split: str = "test",
    ) -> Iterator[Batch]:
        """Yields every story of a split once, shortest first, so that little is padded.

        Args:
            batch_size: most stories in one batch.
            generator: accepted for the protocol; nothing is drawn.
            levels: empty or (1,).
            count: accepted for the protocol; a split is always given whole.
            split: ``"test"``, ``"valid"`` (the held-out training stories) or ``"train"`` (the
                others).

        Raises:
            DataMissingError: the archive is absent or damaged, or lacks a file.
            ConfigError: no stories are held out and ``"valid"`` is asked for.
            ValueError: another argument is not valid. All are raised at the call.
        """
        check_call(batch_size, count=count, split=split)
        _check_levels(levels)
        stories, places = self._split(split)
        order = places[stories.lengths[places].argsort(stable=True)]
        return (make_batch(stories, chosen) for chosen in order.split(batch_size))

    @staticmethod
    def question_ids(batch: Batch) -> Tensor:
        """Numbers the questions of each story from 0; the words of one answer share a number.

        A question is a run of scored steps: the words of one answer are asked for without a break.

        Args:
            batch: a batch of this task.

        Returns:
            The question asked at each step, [T, B] int64; -1 where none is.
        """
        begins = batch.mask.clone()
        begins[1:] &= ~batch.mask[:-1]
        return torch.where(batch.mask, begins.long().cumsum(0) - 1, -1)

    def _split(self, split: str) -> tuple[Stories, Tensor]:
        """All stories of a split's files, and the positions of those that belong to it."""
        source = find_source(self.path)
        return _chosen(source, self.language, self.tasks, self.validation, split)


def _check_levels(levels: tuple[int, ...]) -> None:
    if any(level != 1 for level in levels):
        raise ValueError(f"level: expected 1, the only level of bAbI, got {levels}")


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
def _load(source: Path, language: str, tasks: tuple[int, ...], part: str) -> Stories:
    texts = read_texts(source, language, tasks, part)
    return join_stories(
        [parse_stories(texts[task], task, f"{source}: qa{task} {part}") for task in tasks]
    )


@functools.lru_cache(maxsize=8)
def _chosen(
    source: Path, language: str, tasks: tuple[int, ...], validation: float, split: str
) -> tuple[Stories, Tensor]:
    # Cached, since every update asks which stories are held out.
    part = "test" if split == "test" else "train"
    stories = _load(source, language, tasks, part)
    if split == "test":
        return stories, torch.arange(len(stories.starts))
    held_out = _held_out(stories.tasks, validation)
    places = (held_out if split == "valid" else ~held_out).nonzero().squeeze(1)
    if not len(places):
        raise ConfigError(
            f"validation: expected a fraction that holds stories out for split 'valid', got "
            f"{validation!r} of {len(stories.starts)} stories"
        )
    return stories, places
