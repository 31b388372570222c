"""The exponential curriculum, by hand."""

from collections import Counter

import pytest
import torch

from sam.errors import ConfigError
from sam.train.curriculum import (
    CurriculumConfig,
    CurriculumState,
    advance,
    draw_level,
    first_state,
)

CONFIG = CurriculumConfig(enabled=True)  # threshold 0.02, window 100, at least 10 hard ones


def run(state: CurriculumState, entries: list[tuple[int, float]]) -> CurriculumState:
    for level, loss in entries:
        state = advance(state, level, loss, CONFIG, highest=64)
    return state


def test_it_starts_where_the_task_says_unless_told() -> None:
    assert first_state(CONFIG, 4, 20) == CurriculumState(4)
    assert first_state(CurriculumConfig(start=7), 4, 20) == CurriculumState(7)
    assert first_state(CONFIG, 4, 3) == CurriculumState(3)


def test_levels_are_uniform_from_the_lowest_to_the_limit() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = Counter(draw_level(CurriculumState(4), 1, generator=generator) for _ in range(4000))
    assert sorted(drawn) == [1, 2, 3, 4]
    assert all(abs(count - 1000) < 150 for count in drawn.values())
    drawn = Counter(draw_level(CurriculumState(4), 3, generator=generator) for _ in range(50))
    assert sorted(drawn) == [3, 4]
    assert draw_level(CurriculumState(2), 5, generator=generator) == 2


def test_nine_solved_hard_minibatches_are_too_few_and_ten_are_enough() -> None:
    state = run(CurriculumState(4), [(3, 0.0)] * 9)
    assert state.limit == 4
    assert len(state.window) == 9
    assert run(state, [(4, 0.0)]) == CurriculumState(8, ())


def test_half_the_limit_counts_as_easy() -> None:
    assert run(CurriculumState(4), [(2, 0.0)] * 100).limit == 4
    assert run(CurriculumState(5), [(3, 0.0)] * 10).limit == 10  # 3 > 2.5


def test_easy_levels_neither_hide_nor_spoil_hard_ones() -> None:
    failing = [(4, 0.5)] * 10 + [(1, 0.0)] * 80
    assert run(CurriculumState(4), failing).limit == 4
    spoilt = [(1, 9.0)] * 80 + [(4, 0.0)] * 10
    assert run(CurriculumState(4), spoilt).limit == 8


def test_the_threshold_is_a_mean_and_must_be_undercut() -> None:
    config = CurriculumConfig(threshold=0.25)  # a power of two, so that the means are exact
    ends = []
    for losses in ([0.25] * 50, [0.0, 0.49] * 5, [0.0, 0.51] * 5):
        state = CurriculumState(4)
        for loss in losses:
            state = advance(state, 4, loss, config, highest=64)
        ends.append(state.limit)
    assert ends == [4, 8, 4]


def test_the_window_forgets_what_is_older_than_its_length() -> None:
    state = run(CurriculumState(4), [(4, 9.0)] * 5 + [(1, 0.0)] * 90 + [(4, 0.0)] * 5)
    assert len(state.window) == 100
    # Ten hard ones, but five of them failed. Five more push those out.
    assert state.limit == 4
    assert run(state, [(4, 0.0)] * 5).limit == 8


def test_it_ends_at_the_highest_level() -> None:
    state = CurriculumState(40)
    state = run(state, [(40, 0.0)] * 10)
    assert state.limit == 64
    state = run(state, [(64, 0.0)] * 200)
    assert state.limit == 64
    assert len(state.window) == 100


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"start": 0}, "start: expected at least 1, got 0"),
        ({"threshold": 0.0}, "threshold: expected above 0, got 0.0"),
        ({"min_hard": 0}, "min_hard: expected 1 to window=100, got 0"),
        ({"min_hard": 11, "window": 10}, "min_hard: expected 1 to window=10, got 11"),
    ],
)
def test_settings_out_of_range(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CurriculumConfig(**settings)
