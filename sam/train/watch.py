"""Numbers observed at logged updates, and the checks that end a diverging run."""

import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from index import Audit
from sam.errors import DivergedError, NonFiniteError
from sam.memory.dnc import DNCState
from sam.monitor import GateWatch
from sam.train.kinds import KINDS
from sam.train.losses import Scores
from sam.train.processes import Processes
from sam.train.train_config import RunConfig


class Watched(NamedTuple):
    """Numbers that are computed at logged updates only; None where they do not apply.

    The names are those of the lines of metrics.jsonl.
    """

    index_recall: float | None = None  # of the searches of an approximate index
    write_gate: float | None = None  # mean over steps and heads: 0 never writes, 1 always does
    memory_in_use: float | None = None  # share of the words that have been written to
    learning_rate: float | None = None

    def of_all(self, processes: Processes, batch_size: int) -> "Watched":
        """Means over the whole batch, from the means over the share of each process."""
        names = "index_recall", "write_gate", "memory_in_use"
        means = {name: processes.mean(getattr(self, name), batch_size) for name in names}
        return self._replace(**means)


def watched_forward(
    model: nn.Module,
    forward: Callable[[], tuple[Tensor, Any]],
    config: RunConfig,
    number: int,
    learning_rate: float,
    *,
    look: bool = True,
) -> tuple[Tensor, Any, Watched]:
    """Runs the model, and observes it if the update is logged.

    The audit of an approximate index makes the model run step by step, which is slower.

    Args:
        model: whose parameters are to be named if they are not finite.
        forward: runs it, and returns outputs and state.
        config: of the run.
        number: of the update.
        learning_rate: to be told.
        look: False for the later batches of an update.

    Returns:
        Outputs, state, and what was observed.

    Raises:
        DivergedError: a parameter is not finite.
        NonFiniteError: the parameters are finite, but an input or a word is not.
    """
    try:
        if not look or number % config.train.log_every:
            return *forward(), Watched()
        approximate = config.index is not None and config.index.kind != "exact"
        with GateWatch() as gates, Audit() if approximate else nullcontext() as audit:
            outputs, state = forward()
    except NonFiniteError:
        check_parameters(model, number - 1)
        raise
    recall = None if audit is None else audit.recall
    return outputs, state, Watched(recall, gates.mean, memory_in_use(state), learning_rate)


def memory_in_use(state: Any) -> float | None:
    """Share of the words in use, mean over the batch; None if the memory does not count them."""
    memory = getattr(state, "memory", None)
    if isinstance(memory, DNCState):
        return memory.usage.detach().mean(dtype=torch.float64).item()
    order = getattr(memory, "order", None)
    handed_out = getattr(order, "handed_out", None)
    if handed_out is None or order is None:
        return None
    return handed_out.double().mean().item() / order.memory_size


def check_loss(
    model: nn.Module,
    inputs: Tensor,
    outputs: Tensor,
    scores: Scores,
    number: int,
    config: RunConfig,
) -> None:
    """Raises DivergedError if the loss of a batch is not finite or too high.

    The error names the first of parameters, inputs, outputs and loss that is not finite.
    """
    loss = scores.loss.item()
    if not math.isfinite(loss):
        check_parameters(model, number - 1)
        for what, values in (("inputs", inputs), ("outputs", outputs)):
            if not _is_finite(values):
                raise _diverged(what, _first_wrong(values), number)
        raise _diverged("loss", loss, number)
    most = config.train.max_loss
    if most is None:
        return
    unit, told = KINDS[config.task.kind], scores.bits.double().mean().item()
    if told > most:
        raise _diverged("loss", told, number, f"at most train.max_loss = {most:g} {unit.short}")


def check_gradients(model: nn.Module, norm: float, number: int, config: RunConfig) -> None:
    """Raises DivergedError if the length of an update's gradient is not finite or too long."""
    if not math.isfinite(norm):
        for name, parameter in model.named_parameters():
            if parameter.grad is not None and not _is_finite(parameter.grad):
                # Clipping has changed it: NaN and infinity can no longer be told apart.
                raise _diverged(f"gradient of {name}", "NaN or infinity", number)
        raise _diverged("gradient norm", norm, number)
    most = config.train.max_gradient_norm
    if most is not None and norm > most:
        expected = f"at most train.max_gradient_norm = {most:g}"
        raise _diverged("gradient norm", norm, number, expected)


def check_parameters(model: nn.Module, number: int) -> None:
    """Raises DivergedError unless all parameters are finite after so many updates."""
    for name, parameter in model.named_parameters():
        if not _is_finite(parameter):
            raise DivergedError(
                f"parameter {name}: expected finite values after update {number}, got "
                f"{_first_wrong(parameter)}; the last checkpoint is kept. A lower optimizer.lr may "
                f"help"
            )


def _diverged(
    what: str, value: float | str, number: int, expected: str = "a finite value"
) -> DivergedError:
    got = value if isinstance(value, str) else f"{value:g}"
    return DivergedError(
        f"{what}: expected {expected}, got {got} at update {number}; the parameters are those of "
        f"update {number - 1}, and the last checkpoint is kept. A lower optimizer.lr or clip_norm "
        f"may help"
    )


def _is_finite(values: Tensor) -> bool:
    return not values.is_floating_point() or bool(values.detach().isfinite().all())


def _first_wrong(values: Tensor) -> float:
    values = values.detach()
    return values[~values.isfinite()][0].item()
