"""The exponential curriculum: difficulty doubles, unless told, once the hard half is solved.

From the SAM paper, section 4.3, which gives neither the threshold nor the number of episodes. The
numbers here are ours. Solved means: the mean cross-entropy per target bit is below `threshold` over
those of the last `window` minibatches whose level is above h/2, if there are `min_hard` of them.
The loss per bit does not grow with the length of a sequence, and easy levels must not hide that a
hard one fails.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch

from sam.errors import ConfigError
from sam.setting_checks import check_between

_MOST_GROWTH = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class CurriculumConfig:
    """Settings of the curriculum.

    Attributes:
        enabled: draw levels from the lowest to a limit that doubles, not from the whole range.
        start: first limit; the task's own start level when not given.
        lowest: lowest level drawn; the task's own when not given. Levels that a controller solves
            without its memory teach it to do without.
        draw: levels up to the limit alike, or the limit alone: where a level is how hard its
            sequences are and not how long, easy ones take as much time and teach little.
        growth: what the limit is multiplied by.
        level_budget: sequences of a batch times their level, at most: batches shrink as levels
            grow, so that an update takes no longer than before. Never when not given.
        threshold: mean loss below which the limit doubles, bits per target bit.
        window: how many of the last minibatches are looked at.
        min_hard: how many of them must be above half the limit.
    """

    enabled: bool = False
    start: int | None = None
    lowest: int | None = None
    draw: Literal["uniform", "highest"] = "uniform"
    growth: float = 2.0
    level_budget: int | None = None
    threshold: float = 0.02
    window: int = 100
    min_hard: int = 10

    def __post_init__(self) -> None:
        if self.start is not None:
            check_between("curriculum.start", self.start, 1)
        for name in ("lowest", "level_budget"):
            if getattr(self, name) is not None:
                check_between(f"curriculum.{name}", getattr(self, name), 1)
        if self.start is not None and self.lowest is not None and self.lowest > self.start:
            raise ConfigError(
                f"curriculum.lowest: expected at most start={self.start}, got {self.lowest}"
            )
        if not 1 < self.growth <= _MOST_GROWTH:
            raise ConfigError(
                f"curriculum.growth: expected above 1, at most {_MOST_GROWTH}, got {self.growth}"
            )
        check_between("curriculum.window", self.window, 1)
        if not self.threshold > 0:
            raise ConfigError(f"curriculum.threshold: expected above 0, got {self.threshold}")
        if not 1 <= self.min_hard <= self.window:
            raise ConfigError(
                f"curriculum.min_hard: expected 1 to window={self.window}, got {self.min_hard}"
            )


class CurriculumState(NamedTuple):
    """State of the curriculum: its limit, and the last minibatches drawn with it, oldest first."""

    limit: int  # h, the highest level drawn
    window: tuple[tuple[int, float], ...] = ()  # (level, loss in bits per target bit)


def first_state(config: CurriculumConfig, start_level: int, highest: int) -> CurriculumState:
    """The state before the first update, its limit no higher than the task's highest level."""
    start = start_level if config.start is None else config.start
    start = max(start, lowest_level(config, start))
    return CurriculumState(limit=min(start, highest))


def lowest_level(config: CurriculumConfig, lowest: int) -> int:
    """The lowest level drawn, where the task's own is `lowest`."""
    return lowest if config.lowest is None else config.lowest


def batch_size_at(config: CurriculumConfig, batch_size: int, level: int | None) -> int:
    """Sequences of a batch at a level, at least one; `batch_size` where no level was drawn."""
    if config.level_budget is None or level is None:
        return batch_size
    return max(1, min(batch_size, config.level_budget // level))


def draw_level(
    config: CurriculumConfig, state: CurriculumState, lowest: int, *, generator: torch.Generator
) -> int:
    """Draws one level from lowest..limit (A18: no level 0, which is an empty task)."""
    if config.draw == "highest":
        return state.limit
    lowest = min(lowest, state.limit)
    return int(torch.randint(lowest, state.limit + 1, (), generator=generator))


def advance(
    state: CurriculumState, level: int, loss: float, config: CurriculumConfig, highest: int
) -> CurriculumState:
    """Adds one minibatch and doubles the limit when its hard half is solved.

    Args:
        state: the state the minibatch was drawn from.
        level: the minibatch's level.
        loss: its mean cross-entropy, bits per target bit.
        config: threshold and window.
        highest: the task's highest level, where the doubling ends.

    Returns:
        The next state; its window is empty after a doubling.

    Cost: O(window) time.
    """
    window = (*state.window, (level, loss))[-config.window :]
    hard = [loss for level, loss in window if level > state.limit / 2]
    solved = len(hard) >= config.min_hard and sum(hard) / len(hard) < config.threshold
    if solved and state.limit < highest:
        limit = max(state.limit + 1, int(config.growth * state.limit))
        return CurriculumState(limit=min(limit, highest))
    return CurriculumState(limit=state.limit, window=window)
