"""The exponential curriculum, by hand."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch

from sam.errors import ConfigError
from sam.train import finish
from sam.train.curriculum import (
    CurriculumConfig,
    CurriculumState,
    advance,
    batch_size_at,
    draw_level,
    first_state,
    lowest_level,
)
from sam.train.folder import build_model
from sam.train.loop import first_progress, updates
from sam.train.optimizer import make_optimizer
from sam.train.train_config import RunConfig

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
    drawn = Counter(
        draw_level(CONFIG, CurriculumState(4), 1, generator=generator) for _ in range(4000)
    )
    assert sorted(drawn) == [1, 2, 3, 4]
    assert all(abs(count - 1000) < 150 for count in drawn.values())
    drawn = Counter(
        draw_level(CONFIG, CurriculumState(4), 3, generator=generator) for _ in range(50)
    )
    assert sorted(drawn) == [3, 4]
    assert draw_level(CONFIG, CurriculumState(2), 5, generator=generator) == 2


def test_the_limit_alone_is_drawn_where_that_is_asked() -> None:
    generator, config = torch.Generator().manual_seed(0), CurriculumConfig(draw="highest")
    assert {draw_level(config, CurriculumState(7), 1, generator=generator) for _ in range(9)} == {7}


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


def test_the_lowest_level_and_the_growth_can_be_set() -> None:
    config = CurriculumConfig(lowest=5, growth=1.5)
    assert first_state(config, 3, 64) == CurriculumState(5)
    assert first_state(CurriculumConfig(lowest=5, start=6), 3, 64) == CurriculumState(6)
    assert (lowest_level(config, 1), lowest_level(CONFIG, 1)) == (5, 1)
    limits = []
    state = CurriculumState(5)
    while state.limit < 20:
        for _ in range(10):
            state = advance(state, state.limit, 0.0, config, highest=20)
        limits.append(state.limit)
    assert limits == [7, 10, 15, 20]
    slow = CurriculumConfig(growth=1.01)
    for _ in range(10):
        state = advance(state, 20, 0.0, slow, highest=64)
    assert state.limit == 21


def test_batches_shrink_as_levels_grow() -> None:
    config = CurriculumConfig(level_budget=64)
    assert [batch_size_at(config, 8, level) for level in (1, 8, 9, 32, 64, 999)] == [
        8,
        8,
        7,
        2,
        1,
        1,
    ]
    assert batch_size_at(config, 8, None) == batch_size_at(CONFIG, 8, 999) == 8


@pytest.mark.parametrize(
    "wrong",
    [{"lowest": 0}, {"level_budget": 0}, {"growth": 1.0}, {"growth": float("nan")}],
)
def test_settings_of_levels_are_checked(wrong: dict[str, float]) -> None:
    (name,) = wrong
    with pytest.raises(ConfigError, match=f"curriculum.{name}: expected"):
        CurriculumConfig(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"curriculum\.lowest: expected at most start=4, got 5"):
        CurriculumConfig(lowest=5, start=4)


def test_a_run_draws_batches_of_these_sizes(tiny: Callable[..., RunConfig]) -> None:
    config = tiny(
        task={"max_length": 12},
        train={"batch_size": 6},
        curriculum={"enabled": True, "start": 9, "lowest": 7, "level_budget": 20},
    )
    model: Any = build_model(config)
    sizes = []
    model.register_forward_hook(lambda _, given, __: sizes.append(tuple(given[0].shape[:2])))
    optimizer = make_optimizer(config.optimizer, model)
    done = list(updates(model, optimizer, config, first_progress(config)))
    assert {one.level for one in done} == {7, 8, 9}
    assert sizes == [(2 * (one.level or 0) + 1, 2) for one in done]


def test_what_a_step_costs_is_measured_at_the_level_reached(
    tiny: Callable[..., RunConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not at one that would take minutes, and that nobody came to."""
    config = tiny(
        task={"max_length": 10**6},
        train={"batch_size": 6},
        curriculum={"enabled": True, "start": 9, "level_budget": 20},
    )
    shapes = []
    monkeypatch.setattr(finish, "measure_step", lambda _, inputs: shapes.append(inputs.shape[:2]))
    finish.cost_of(config, build_model(config), first_progress(config))
    assert [tuple(shape) for shape in shapes] == [(19, 2)]
