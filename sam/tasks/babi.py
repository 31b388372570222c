"""bAbI: twenty kinds of small reading puzzles, one story a sequence (models.md, section 12)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from sam.errors import ConfigError, unknown_name
from sam.setting_checks import check_choice
from sam.tasks.babi_archive import FOLDERS, find_source
from sam.tasks.babi_renaming import renamings
from sam.tasks.babi_splits import Chosen, Pool, buckets, chosen_stories, shares
from sam.tasks.babi_stories import make_batch, vocabulary
from sam.tasks.levels import check_call, check_whole
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
        substitute: the language whose training file is taken for a task that `language` has none
            of, as ``en-10k`` has none of task 3: ``"en-10k-partial"`` or ``"en"``; with ``"none"``
            that is an error. Means of an evaluation leave such a task out, see `apart`.
        bucket_size: with b > 0 the stories of a training batch come from one bucket, b or more
            stories that follow one another by length, so that little or nothing is padded. Stories
            of a length are never parted, buckets are drawn in proportion to their sizes, and so
            every story is as likely as without.
        draw: of training stories ``"stories"`` draws all equally often, ``"tasks"`` all tasks.
        rename: whether persons, places and things of stories drawn for training exchange their
            names, and maps are turned; see `sam.tasks.babi_renaming`. Evaluations never do.
        first_steps: whether the training stories of tasks 15, 16, 17 and 19 are told a second time,
            with questions of our own that one sentence answers; see `sam.tasks.babi_first_steps`.
            A result with them is not one of the release alone.
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
    substitute: Literal["en-10k-partial", "en", "none"] = "en-10k-partial"
    bucket_size: int = 0
    draw: Literal["stories", "tasks"] = "stories"
    rename: bool = False
    first_steps: bool = False
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
        check_choice("substitute", self.substitute, ("en-10k-partial", "en", "none"))
        check_whole("bucket_size", self.bucket_size, 0)
        for name in ("rename", "first_steps"):
            if not isinstance(value := getattr(self, name), bool):
                raise ConfigError(f"{name}: expected true or false, got {value!r}")
        check_choice("draw", self.draw, ("stories", "tasks"))
        if not (isinstance(self.validation, (int, float)) and 0.0 <= self.validation < 1.0):
            raise ConfigError(f"validation: expected a number in [0, 1), got {self.validation!r}")

    @property
    def apart(self) -> dict[str, tuple[int, ...]]:
        """The tasks that are trained on another language's file, whose error is told apart."""
        substituted = self._stories("train").substituted
        return {"task": substituted} if 0 < len(substituted) < len(self.tasks) else {}

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
        """Draws training stories from the pool of all chosen tasks; see `draw`.

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
        stories, places, _ = self._stories("train")
        low, high = 0, len(places)
        if self.bucket_size:
            places, ends = buckets(self._pool, "train", self.bucket_size)
            # The bucket of a story drawn from all is one drawn in proportion to its size.
            one = self._drawn(0, high, 1, generator)
            bucket = int(torch.searchsorted(ends, one, right=True))
            low, high = (int(ends[bucket - 1]) if bucket else 0), int(ends[bucket])
        chosen = places[self._drawn(low, high, batch_size, generator)]
        if not self.rename:
            return make_batch(stories, chosen)
        words = renamings(stories.tasks[chosen], generator=generator)
        return make_batch(stories, chosen, words)

    def _drawn(self, low: int, high: int, count: int, generator: torch.Generator) -> Tensor:
        """Which of the training stories low .. high - 1 are drawn, in the order of buckets."""
        if self.draw == "stories":
            return torch.randint(low, high, (count,), generator=generator)
        ends = shares(self._pool, "train", self.bucket_size)
        first = ends[low - 1] if low else 0.0
        drawn = torch.rand(count, generator=generator, dtype=torch.float64)
        found = torch.searchsorted(ends, first + drawn * (ends[high - 1] - first), right=True)
        return found.clamp(low, high - 1)

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
        stories, places, _ = self._stories(split)
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

    @property
    def _pool(self) -> Pool:
        """What decides which stories are of a split."""
        chosen = self.language, self.substitute, self.tasks, self.validation, self.first_steps
        return Pool(find_source(self.path), *chosen)

    def _stories(self, split: str) -> Chosen:
        """All stories of a split's files, and the positions of those that belong to it."""
        return chosen_stories(self._pool, split)


def _check_levels(levels: tuple[int, ...]) -> None:
    if any(level != 1 for level in levels):
        raise ValueError(f"level: expected 1, the only level of bAbI, got {levels}")
