"""Checks of a checkpoint's content: a file can be undamaged and still be wrong.

The functions raise ConfigError; the caller adds the name of the file.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

import torch
from torch import Tensor, nn

from sam.errors import ConfigError
from sam.train.coerce import shown
from sam.train.fall_back import FallBackState
from sam.train.names import METRICS, TIMING

# The state that an optimizer keeps for each parameter, besides the number of steps.
_AVERAGES = {
    torch.optim.Adam: ("exp_avg", "exp_avg_sq"),
    torch.optim.AdamW: ("exp_avg", "exp_avg_sq"),
    torch.optim.RMSprop: ("square_avg", "momentum_buffer"),
}


class ProgressContent(TypedDict):
    """See `sam.train.loop.Progress`."""

    update: int
    errors: tuple[float, ...]
    curriculum: tuple[int, tuple[tuple[int, float], ...]] | None
    best: NotRequired[tuple[float, int, int] | tuple[float, int, int, float]]


class OptimizerContent(TypedDict):
    """What `Optimizer.state_dict` returns."""

    state: dict[int, dict[str, Any]]
    param_groups: tuple[dict[str, Any], ...]


class FallBackContent(TypedDict):
    """See `sam.train.fall_back.FallBackState`."""

    losses: tuple[float, ...]
    lowest: float | None
    scale: float
    kept: tuple[dict[str, Tensor], ...]


class Content(TypedDict):
    """See `sam.train.checkpoint.Checkpoint`."""

    config: str
    progress: ProgressContent
    model: dict[str, Tensor]
    optimizer: OptimizerContent
    rng: Tensor
    logs: dict[str, tuple[int, int]]
    seconds: float
    average: NotRequired[dict[str, Tensor]]
    best: NotRequired[dict[str, Tensor]]
    carried: NotRequired[tuple[dict[str, Any], ...]]
    device_rng: NotRequired[Tensor]
    fall_back: NotRequired[FallBackContent]


def check_progress(
    update: int, errors: tuple[float, ...], curriculum: Any, best: Any, config: Any
) -> None:
    """Raises ConfigError unless a run with these settings can have this progress.

    Args:
        update: updates done.
        errors: of the last updates.
        curriculum: a `CurriculumState`, or None.
        best: a `Best`, or None.
        config: the run's `RunConfig`.
    """
    if not 0 <= update < 2**63:
        raise ConfigError(f"progress.update: expected at least 0, got {shown(update)}")
    _check_window("progress.errors", errors, min(update, config.train.window))
    if best is not None and not (
        math.isfinite(best.loss)
        and math.isfinite(best.then)
        and 0 < best.update <= update
        and 0 <= best.waited < 2**63
    ):
        raise ConfigError(f"progress.best: expected loss, update and count, got {shown([*best])}")
    if (curriculum is not None) != config.curriculum.enabled:
        raise ConfigError("progress.curriculum: expected what the run's settings say, got another")
    if curriculum is None:
        return
    highest = config.task.levels[1]
    if not 1 <= curriculum.limit <= highest:
        raise ConfigError(
            f"progress.curriculum: expected a limit of 1 to {highest}, "
            f"got {shown(curriculum.limit)}"
        )
    most = min(update, config.curriculum.window)
    _check_window("progress.curriculum", [loss for _, loss in curriculum.window], most)
    for level, _ in curriculum.window:
        if not 1 <= level <= curriculum.limit:
            raise ConfigError(
                f"progress.curriculum: expected levels of 1 to {curriculum.limit}, "
                f"got {shown(level)}"
            )


def check_fall_back(state: FallBackState, model: nn.Module) -> None:
    """Raises ConfigError unless a run of this model can have come to this."""
    _check_window("fall_back.losses", state.losses, len(state.losses))
    if state.lowest is not None and not (math.isfinite(state.lowest) and state.lowest >= 0):
        raise ConfigError(f"fall_back.lowest: expected at least 0, got {shown(state.lowest)}")
    if not 0 < state.scale <= 1:
        raise ConfigError(f"fall_back.scale: expected above 0, at most 1, got {shown(state.scale)}")
    if state.lowest is not None and not state.kept:
        raise ConfigError("fall_back.kept: expected parameters, got none")
    for parameters in state.kept:
        check_model(parameters, model)


def _check_window(what: str, values: Sequence[float], most: int) -> None:
    if len(values) > most or not all(math.isfinite(value) and value >= 0 for value in values):
        raise ConfigError(
            f"{what}: expected at most {most} numbers, each at least 0, got {shown(values)}"
        )


def check_records(seconds: float, logs: Mapping[str, tuple[int, int]]) -> None:
    """Raises ConfigError unless these can be the seconds and the log sizes of a run."""
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ConfigError(f"seconds: expected at least 0, got {shown(seconds)}")
    if logs.keys() != {METRICS, TIMING}:
        raise ConfigError(f"logs: expected {METRICS}, {TIMING}, got {shown([*logs])}")
    for name, (length, crc32) in logs.items():
        if not (0 <= length < 2**63 and 0 <= crc32 < 2**32):
            raise ConfigError(
                f"logs.{name}: expected a length and a CRC-32, got {shown((length, crc32))}"
            )


def check_model(found: Mapping[str, Tensor], model: nn.Module) -> None:
    """Raises ConfigError unless the tensors are the parameters of such a model, and finite."""
    expected = model.state_dict()
    different = sorted(expected.keys() ^ found.keys())
    if different:
        raise ConfigError(
            f"model: expected the parameters of this run's model, got others: {different[0]!r} is "
            f"in one of both only"
        )
    for name, tensor in expected.items():
        _check_like(f"model.{name}", found[name], tensor)


def check_optimizer(found: Any, optimizer: torch.optim.Optimizer, update: int) -> None:
    """Raises ConfigError unless this is the state of such an optimizer after so many updates."""
    expected = optimizer.state_dict()["param_groups"]
    groups = found["param_groups"]
    if len(groups) != len(expected):
        raise ConfigError(f"optimizer: expected {len(expected)} param_groups, got {len(groups)}")
    for given, group in zip(groups, expected, strict=True):
        if "initial_lr" in given:  # a schedule has changed the other one
            given = {**given, "lr": given["initial_lr"]}
        for key in group.keys() & given.keys():  # other versions of torch have other keys
            if not _is_same(given[key], group[key]):
                raise ConfigError(
                    f"optimizer.{key}: expected {shown(group[key])} as in the run's settings, "
                    f"got {shown(given[key])}"
                )
    if update and not found["state"]:
        raise ConfigError(f"optimizer.state: expected that after {update} updates, got none")
    for number, state in found["state"].items():
        _check_state(f"optimizer.state.{number}", number, state, optimizer, update)


def check_rng(found: Tensor) -> None:
    """Raises ConfigError unless this is a state of torch's generator."""
    expected = torch.get_rng_state()
    if found.dtype != expected.dtype or found.shape != expected.shape:
        raise ConfigError(
            f"rng: expected the {expected.numel()} bytes of torch's generator, "
            f"got {found.dtype} {list(found.shape)}"
        )
    try:
        torch.Generator().set_state(found)
    except RuntimeError as error:
        raise ConfigError("rng: expected a state of torch's generator, got other bytes") from error


def _is_same(found: Any, expected: Any) -> bool:
    """Whether a setting equals the expected one in value and type; a tensor never does."""
    if type(found) is not type(expected):
        return False
    if isinstance(expected, list | tuple):
        return len(found) == len(expected) and all(map(_is_same, found, expected))
    return found == expected


def _check_state(
    what: str, number: int, state: dict[str, Any], optimizer: torch.optim.Optimizer, update: int
) -> None:
    """Raises ConfigError unless this is the optimizer's state of one parameter."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    if not 0 <= number < len(parameters):
        raise ConfigError(f"{what}: expected one of {len(parameters)} parameters, got another")
    names = next(names for kind, names in _AVERAGES.items() if isinstance(optimizer, kind))
    if optimizer.defaults.get("momentum") == 0:
        names = names[:1]
    if state.keys() != {"step", *names}:
        raise ConfigError(f"{what}: expected step, {', '.join(names)}, got {shown([*state])}")
    for name in names:
        _check_like(f"{what}.{name}", state[name], parameters[number])
    step = state["step"]
    if not isinstance(step, Tensor) or step.shape != () or not step.is_floating_point():
        raise ConfigError(f"{what}.step: expected a number as a tensor, got {shown(step)}")
    if not 0 <= step.item() <= update:
        raise ConfigError(
            f"{what}.step: expected at most the {update} updates done, got {step.item():g}"
        )


def _check_like(what: str, found: Any, expected: Tensor) -> None:
    if not isinstance(found, Tensor):
        raise ConfigError(f"{what}: expected a tensor, got {shown(found)}")
    same = (
        found.shape == expected.shape
        and found.dtype == expected.dtype
        and found.layout == expected.layout
    )
    if not same:
        raise ConfigError(
            f"{what}: expected {expected.dtype} {list(expected.shape)} as of this run's model, "
            f"got {found.dtype} {list(found.shape)}"
        )
    if found.is_floating_point() and not bool(found.isfinite().all()):
        raise ConfigError(f"{what}: expected finite numbers, got NaN or infinity")
