"""The training loop: it learns, it stops when told, and it refuses to go on with NaN."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch

from sam.errors import NonFiniteError
from sam.train.curriculum import CurriculumState
from sam.train.folder import build_model
from sam.train.loop import (
    Progress,
    Update,
    first_progress,
    is_solved,
    updates,
)
from sam.train.optimizer import make_optimizer
from sam.train.train_config import RunConfig

Build = Callable[..., RunConfig]


def run(config: RunConfig, progress: Progress | None = None) -> list[Update]:
    model = build_model(config)
    optimizer = make_optimizer(config.optimizer, model)
    return list(updates(model, optimizer, config, progress or first_progress(config)))


def test_it_does_the_updates_it_is_told_to(tiny: Build) -> None:
    done = run(tiny())
    assert [update.number for update in done] == list(range(1, 13))
    assert done[-1].progress.update == 12
    assert run(tiny(), done[-1].progress) == []
    assert run(tiny(train={"max_updates": 0})) == []


def test_equal_runs_are_equal_and_seeds_are_not(tiny: Build) -> None:
    assert run(tiny()) == run(tiny())
    assert run(tiny()) != run(tiny(train={"seed": 1}))


def test_the_window_mean_is_over_the_last_errors(tiny: Build) -> None:
    done = run(tiny())
    errors = [update.error for update in done]
    assert done[1].window_error == pytest.approx(sum(errors[:2]) / 2)
    assert done[-1].window_error == pytest.approx(sum(errors[-4:]) / 4)
    assert done[-1].progress.errors == tuple(errors[-4:])


@pytest.mark.parametrize("name", ["adam", "rmsprop"])
def test_it_learns(tiny: Build, name: str) -> None:
    config = tiny(
        task={"max_length": 1, "bits": 2},
        train={"max_updates": 300, "window": 20, "stop_below": 0.01, "batch_size": 8},
        optimizer={"name": name, "lr": 0.02},
    )
    done = run(config)
    assert done[0].window_error > 0.5
    assert len(done) < 300
    assert done[-1].window_error < 0.01
    assert is_solved(config, done[-1].progress)
    assert not is_solved(config, done[-2].progress)


def test_a_window_must_be_full_before_it_ends_a_run(tiny: Build) -> None:
    config = tiny(train={"stop_below": 0.5})
    assert not is_solved(config, Progress(3, (0.0,) * 3))
    assert is_solved(config, Progress(4, (0.0,) * 4))
    assert not is_solved(config, Progress(4, (1.0,) * 4))
    assert not is_solved(tiny(), Progress(4, (0.0,) * 4))


def test_a_curriculum_starts_at_its_limit_and_must_reach_the_top(tiny: Build) -> None:
    config = tiny(
        task={"max_length": 6},
        curriculum={"enabled": True, "start": 2},
        train={"stop_below": 0.5},
    )
    done = run(config)
    assert {update.level for update in done} == {1, 2}
    assert len(done) == 12
    solved = Progress(4, (0.0,) * 4, CurriculumState(2))
    assert not is_solved(config, solved)
    assert is_solved(config, solved._replace(curriculum=CurriculumState(6)))


def test_a_harder_level_empties_the_window_of_errors(tiny: Build) -> None:
    config = tiny(
        task={"max_length": 4},
        curriculum={"enabled": True, "start": 1, "threshold": 100.0, "min_hard": 2, "window": 5},
    )
    done = run(config)
    limits = [update.progress.curriculum.limit for update in done if update.progress.curriculum]
    assert limits[0] == 1
    assert limits[1] == 2
    assert limits[-1] == 4
    assert done[1].progress.errors == ()
    assert len(done[2].progress.errors) == 1


def test_every_update_is_made_in_training_mode(tiny: Build) -> None:
    config = tiny()
    model = build_model(config).eval()
    optimizer = make_optimizer(config.optimizer, model)
    modes = []
    model.register_forward_pre_hook(lambda module, inputs: modes.append(module.training))
    for _ in updates(model, optimizer, config, first_progress(config)):
        model.eval()  # as whoever looks at it between two updates may do
    assert modes == [True] * 12


def test_records_hold_no_clock(tiny: Build) -> None:
    first = run(tiny())[0]
    assert list(first.record()) == [
        *("update", "write_gate", "memory_in_use", "learning_rate"),
        *("loss", "error", "gradient_norm", "window_error"),
    ]
    hard = run(tiny(curriculum={"enabled": True}))[0]
    assert hard.record()["level"] == hard.level


def test_gradients_are_clipped_and_reported_before_clipping(tiny: Build) -> None:
    # The first step of RMSProp without averaging is lr * g / |g|; Adam's too. Plain enough is the
    # norm itself: it must not change with the bound.
    free, bound = run(tiny()), run(tiny(optimizer={"clip_norm": 1e-6}))
    assert free[0].gradient_norm == bound[0].gradient_norm > 1e-6
    assert free[5].loss != bound[5].loss
    assert run(tiny(optimizer={"clip_norm": math.inf})) == run(tiny(optimizer={"clip_norm": 1e9}))


def test_a_non_finite_loss_names_the_update_and_changes_nothing(tiny: Build) -> None:
    config = tiny()
    model = build_model(config)
    optimizer = make_optimizer(config.optimizer, model)
    running = updates(model, optimizer, config, first_progress(config))
    for _ in itertools.islice(running, 2):
        pass
    with torch.no_grad():
        model.output.bias[0] = math.nan
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(NonFiniteError, match=r"parameter output\.bias: .* after update 2, got nan"):
        next(running)
    for name, value in model.state_dict().items():
        assert value.numpy().tobytes() == before[name].numpy().tobytes(), name


def test_the_recall_of_an_approximate_index_is_logged(tiny: Build) -> None:
    rough = {"kind": "lsh", "tables": 1, "probes": 1}
    done = run(tiny(index=rough, train={"log_every": 3}))
    told = [update.number for update in done if update.index_recall is not None]
    assert told == [3, 6, 9, 12]
    assert all(0 < update.index_recall < 1 for update in done[2::3])
    assert [("index_recall" in update.record()) for update in done] == [False, False, True] * 4
    assert all(update.index_recall is None for update in run(tiny()))
    # Looking changes nothing.
    apart = run(tiny(index=rough, train={"log_every": 100}))
    # An audit looks at each search, so the steps are made one by one: the same to rounding.
    losses = [update.loss for update in done]
    assert [update.loss for update in apart] == pytest.approx(losses, rel=1e-4)
