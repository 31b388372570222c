"""Omniglot episodes: name each drawing, shown the name of the one before (SAM paper, sec. 4.5)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from sam.errors import ConfigError
from sam.setting_checks import check_choice
from sam.tasks.counting import counts_before
from sam.tasks.drawing import distinct_numbers, permutations
from sam.tasks.levels import RangeTask, check_whole
from sam.tasks.omniglot_images import SIZE, find_source
from sam.tasks.omniglot_pixels import TURNS, Pixels, read_pixels, source_pixels
from sam.tasks.task import Batch, Kind

STAGES = 10  # of the matching curriculum, before the whole task


@dataclass(frozen=True, kw_only=True, slots=True)
class Omniglot(RangeTask):
    """Drawings of C characters that get random labels for an episode; the label of each is asked.

    Each character is shown `presentations` times, in random order, as one of its drawings, none
    twice before all have been shown, moved by up to `shift` pixels. A character is turned by a
    multiple of 90 degrees, the same one for the whole episode; turned otherwise it counts as
    another one. With P presentations there are ``T = P C`` steps; at step t are shown

        20 x 20 pixels of drawing t (ink 1, paper 0) and label t - 1 one-hot, no label at step 0

    and the target is label t. Every step is scored; on a character's first presentation nobody can
    do better than to guess a label that has not been used. An evaluation tells the percentage right
    by presentation.

    The level is the number of characters C, unless the curriculum is "matching". Then a level l of
    training, from 1 to 11, has `max_classes` characters; with probability ``1 - (l - 1) / 10`` all
    presentations of a character are the same drawing at the same place. At level 1 labels have to
    be stored and found by an image that comes again exactly, at level 11 the task is the whole one.
    Evaluations are of the whole task, and their levels are numbers of characters, in both cases.

    Args:
        min_classes: fewest characters in an episode of training.
        max_classes: most of them.
        presentations: of each character.
        labels: width of labels and classes, so the most characters that can be evaluated;
            `max_classes` when None.
        curriculum: what levels of training mean: ``"classes"`` or ``"matching"``.
        characters: ``"random"`` trains on 1,200 of the 1,623 characters, drawn once for all, and
            tests on the others; ``"background"`` on the background set, and tests on the
            evaluation set. Every twelfth of those for training is held out for validation.
        rotate: turn characters, in all splits.
        shift: pixels of 20 that a drawing is moved by, at most, in each direction.
        path: folder of ``images_background.zip`` and ``images_evaluation.zip``; when None the
            environment variable ``SPARSE_SAM_OMNIGLOT``, then ``../shared/data/omniglot``.

    Raises:
        ConfigError: a setting is out of its range.
    """

    kind: ClassVar[Kind] = "classes"
    level_settings: ClassVar[tuple[str, str]] = "min_classes", "max_classes"
    slice_name: ClassVar[str] = "classes"

    min_classes: int = 5
    max_classes: int = 5
    presentations: int = 10
    labels: int | None = None
    curriculum: Literal["classes", "matching"] = "classes"
    characters: Literal["random", "background"] = "random"
    rotate: bool = True
    shift: int = 2
    path: str | None = None

    def __post_init__(self) -> None:
        RangeTask.__post_init__(self)
        check_whole("presentations", self.presentations, 1)
        check_whole("shift", self.shift, 0)
        if self.shift >= SIZE:
            raise ConfigError(f"shift: expected below {SIZE}, got {self.shift}")
        if self.labels is not None:
            check_whole("labels", self.labels, self.max_classes)
        check_choice("curriculum", self.curriculum, ("classes", "matching"))
        check_choice("characters", self.characters, ("random", "background"))

    @property
    def levels(self) -> tuple[int, int]:
        """Numbers of characters, or the stages of the matching curriculum."""
        if self.curriculum == "matching":
            return 1, STAGES + 1
        return self.evaluation_levels

    @property
    def evaluation_levels(self) -> tuple[int, int]:
        """Numbers of characters."""
        return self.min_classes, self.max_classes

    @property
    def start_level(self) -> int:
        """The lowest level."""
        return self.levels[0]

    @property
    def input_size(self) -> int:
        """The pixels, and one channel a label."""
        return SIZE**2 + self.output_size

    @property
    def output_size(self) -> int:
        """One logit per label."""
        return self.max_classes if self.labels is None else self.labels

    def evaluation(
        self,
        batch_size: int,
        *,
        generator: torch.Generator,
        levels: tuple[int, ...] = (),
        count: int = 200,
        split: str = "test",
    ) -> Iterator[Batch]:
        """Yields `count` episodes of characters of a split for each number of characters.

        Args:
            batch_size: most episodes in one batch.
            generator: source of all randomness, on the CPU.
            levels: numbers of characters; the task's range when empty.
            count: episodes of each number.
            split: ``"test"``, ``"valid"`` or ``"train"``.

        Raises:
            DataMissingError: the images are not there, or damaged.
            ValueError: at the call, if an argument is not valid.
        """
        low, high = self.evaluation_levels
        levels = levels or tuple(range(low, high + 1))
        batches = RangeTask.evaluation(
            self, batch_size, generator=generator, levels=levels, count=count, split=split
        )
        self._check_classes(max(levels), split)
        return batches

    def _draw(self, batch_size: int, level: int, generator: torch.Generator) -> Batch:
        classes, matched = level, 0.0
        if self.curriculum == "matching":
            classes, matched = self.max_classes, max(0.0, 1 - (level - 1) / STAGES)
        self._check_classes(classes, "train")
        return self._episodes(batch_size, classes, matched, generator, "train")

    def _draw_held_out(
        self, batch_size: int, level: int, generator: torch.Generator, split: str
    ) -> Iterator[Batch]:
        yield self._episodes(batch_size, level, 0.0, generator, split)

    def _check_classes(self, classes: int, split: str) -> None:
        if classes > self.output_size:
            raise ConfigError(
                f"level: expected at most labels={self.output_size} characters, got {classes}"
            )
        known = len(self._pixels().characters[split]) * (TURNS if self.rotate else 1)
        if classes > known:
            raise ConfigError(
                f"level: expected at most {known} characters, those of split {split!r}, got "
                f"{classes}"
            )

    def _episodes(
        self, batch_size: int, classes: int, matched: float, generator: torch.Generator, split: str
    ) -> Batch:
        pixels = self._pixels()
        known, turns = pixels.characters[split], TURNS if self.rotate else 1
        drawn = distinct_numbers(classes, batch_size, len(known) * turns, generator)
        labels = permutations(self.output_size, batch_size, generator)[:classes]
        # Of each step: which of the classes, and which of its presentations.
        order = permutations(classes * self.presentations, batch_size, generator)
        shown, number = order % classes, order // classes
        drawing = torch.rand(classes, batch_size, pixels.drawings, generator=generator).argsort(2)
        moves = torch.randint(
            (2 * self.shift + 1) ** 2,
            (classes, batch_size, self.presentations),
            generator=generator,
        )
        same = torch.rand(classes, batch_size, generator=generator) < matched
        number = torch.where(same.gather(0, shown), 0, number)
        rows = torch.arange(batch_size)

        which = drawing[shown, rows, number % pixels.drawings]
        place = known[drawn // turns].gather(0, shown) * pixels.drawings + which
        turn, move = (drawn % turns).gather(0, shown), moves[shown, rows, number]
        # Whole rows are copied much faster by `index_select` than by indexing.
        table = source_pixels(self.shift)
        look = table.flatten(0, 1).index_select(0, (turn * table.shape[1] + move).flatten())
        images = pixels.images.index_select(0, place.flatten()).gather(1, look)

        targets = labels.gather(0, shown)
        inputs = torch.zeros(*targets.shape, self.input_size, dtype=torch.float32)
        inputs[:, :, : SIZE**2] = images.view(*targets.shape, -1)
        inputs[:, :, : SIZE**2] /= 255
        inputs[1:].scatter_(2, SIZE**2 + targets[:-1].unsqueeze(2), 1.0)
        mask = torch.ones(targets.shape, dtype=torch.bool)
        return Batch(inputs, targets, mask, self._slices(batch_size, classes))

    def measures(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Percent right of the first, second, ... presentations of an episode's characters."""
        right = (outputs.argmax(dim=2) == batch.targets).double()
        before, _ = counts_before(batch.targets, torch.zeros_like(batch.targets))
        presented = ((number, before == number) for number in range(int(before.max()) + 1))
        return {
            f"{_ordinal(number + 1)} right %": 100 * (right * among).sum(0) / among.sum(0)
            for number, among in presented
        }

    def _pixels(self) -> Pixels:
        return read_pixels(find_source(self.path), self.characters)


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10)
    return f"{number}{ending or 'th'}"
