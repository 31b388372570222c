"""Loss and mistakes of a batch of outputs."""

import math
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional as F

from sam.errors import ConfigError, ShapeError
from sam.shape_checks import check_shape
from sam.tasks.task import Batch, Kind, Task
from sam.train.kinds import KINDS


@runtime_checkable
class HasQuestions(Protocol):
    """A task whose answers span several steps: it says which question each step belongs to."""

    def question_ids(self, batch: Batch) -> Tensor:
        """Question of each scored step, [T, B] int64, counted from 0 within each sequence."""
        ...


class Scores(NamedTuple):
    """Loss and mistakes of one batch; "targets" are target bits, questions, tokens or values."""

    loss: Tensor  # [] what is differentiated, mean over the batch, of a sequence; in nats mostly
    bits: Tensor  # [B] loss of each sequence, in the unit of `sam.train.kinds`: mostly bits
    wrong: Tensor  # [B] wrong targets of each sequence; of values, the sum of squared errors
    targets: Tensor  # [B] scored targets of each sequence

    def error(self, kind: Kind) -> float:
        """The batch's error, in the unit of `sam.train.kinds`."""
        if kind == "bits":
            return sum(self.wrong.tolist()) / len(self.wrong)
        if kind == "tokens":
            return sum(self.bits.tolist()) / len(self.bits)
        share = self.wrong.sum().item() / self.targets.sum().item()
        return math.sqrt(share) if kind == "values" else share

    def per_target(self, kind: Kind) -> float:
        """The loss for each target."""
        if KINDS[kind].is_mean:
            return self.bits.mean().item()
        return (self.bits.sum() / self.targets.sum()).item()


def score(outputs: Tensor, batch: Batch, task: Task, *, per_target: bool = False) -> Scores:
    """Scores the outputs at the steps the batch's mask marks.

        bits:     L = -sum_t,i [ y log p + (1 - y) log(1 - p) ],   p = sigmoid(output)
        classes:  L = -sum_t log softmax(output)[y]
        tokens:   L = -mean_t log softmax(output)[y]
        values:   L = mean_t,i (output - y)^2, or the Huber loss

    The sum runs over a sequence's scored bits or answer steps, as the papers report it. The norm of
    the gradients, and so the effect of `optimizer.clip_norm`, grows with their number, unless
    `per_target` divides L by it.

    Args:
        outputs: logits or values, [T, B, O].
        batch: targets [T, B, O] or classes [T, B], and the mask [T, B].
        task: its `kind`, `question_ids` if it has answers of several words, and of values `loss`.
        per_target: the loss is each sequence's mean over its targets, not its sum; only where that
            is not so already. Nothing else of the scores changes.

    Returns:
        Loss, and per-sequence loss, mistakes and targets. A question is right only if all of its
        steps are.

    Raises:
        ShapeError: outputs and targets disagree, or no step is scored.
        ConfigError: the task has another kind or loss than there are.
    """
    steps, rows = batch.mask.shape
    check_shape("outputs", outputs, "T B O", {"T": steps, "B": rows, "O": task.output_size})
    if not bool(batch.mask.any()):
        raise ShapeError("batch.mask: expected at least one scored step, got none")
    if task.kind not in _SCORED:
        raise ConfigError(f"task.kind: expected one of {', '.join(_SCORED)}, got {task.kind!r}")
    nats, wrong, targets = _SCORED[task.kind](outputs, batch, task)
    is_sum = per_target and not KINDS[task.kind].is_mean
    loss = (nats / targets.clamp(min=1) if is_sum else nats).mean()
    if task.kind == "values":
        return Scores(loss, nats.detach(), wrong, targets)
    return Scores(loss, nats.detach() / math.log(2), wrong, targets)


def _score_bits(outputs: Tensor, batch: Batch, task: Task) -> tuple[Tensor, Tensor, Tensor]:
    """Cross-entropy, wrong bits and scored bits of each sequence, [B] each."""
    mask = batch.mask.unsqueeze(-1)
    nats = F.binary_cross_entropy_with_logits(outputs, batch.targets, reduction="none")
    nats = torch.where(mask, nats, 0).sum(dim=(0, 2))
    # A logit of exactly 0 says nothing; it counts as a 0, as a threshold at one half does.
    wrong = ((outputs.detach() > 0) != (batch.targets > 0.5)) & mask
    return nats, wrong.sum(dim=(0, 2)), batch.mask.sum(dim=0) * outputs.shape[-1]


def _score_classes(outputs: Tensor, batch: Batch, task: Task) -> tuple[Tensor, Tensor, Tensor]:
    """Cross-entropy, wrong questions and all questions of each sequence, [B] each."""
    # Unscored steps may hold any number as their class; 0 is always a class.
    classes = batch.targets.masked_fill(~batch.mask, 0)
    nats = F.cross_entropy(outputs.flatten(0, 1), classes.flatten(), reduction="none")
    nats = torch.where(batch.mask, nats.view_as(batch.mask), 0).sum(dim=0)
    missed = (outputs.detach().argmax(dim=-1) != classes) & batch.mask
    return nats, *_questions(missed, batch, task)


def _questions(missed: Tensor, batch: Batch, task: Task) -> tuple[Tensor, Tensor]:
    """Wrong questions and all questions of each sequence, [B] each, from missed steps [T, B]."""
    if not isinstance(task, HasQuestions):
        return missed.sum(dim=0), batch.mask.sum(dim=0)
    ids = task.question_ids(batch).masked_fill(~batch.mask, 0)
    asked = torch.zeros(int(ids.max()) + 1, ids.shape[1], dtype=torch.int64, device=ids.device)
    failed = asked.scatter_add(0, ids, missed.long())
    asked = asked.scatter_add(0, ids, batch.mask.long())
    return (failed > 0).sum(dim=0), (asked > 0).sum(dim=0)


def _score_tokens(outputs: Tensor, batch: Batch, task: Task) -> tuple[Tensor, Tensor, Tensor]:
    """Mean cross-entropy, wrong tokens and all tokens of each sequence, [B] each."""
    nats, wrong, tokens = _score_classes(outputs, batch, task)
    return nats / tokens.clamp(min=1), wrong, tokens


def _score_values(outputs: Tensor, batch: Batch, task: Task) -> tuple[Tensor, Tensor, Tensor]:
    """Mean loss, summed squared errors, and number of the values of each sequence, [B] each."""
    loss = getattr(task, "loss", "mse")
    if loss not in ("mse", "huber"):
        raise ConfigError(f"task.loss: expected 'mse' or 'huber', got {loss!r}")
    # Unscored steps may hold any number as their target.
    targets = torch.where(batch.mask[..., None], batch.targets, outputs.detach())
    squares = F.mse_loss(outputs, targets, reduction="none")
    each = squares
    if loss == "huber":
        each = F.huber_loss(
            outputs, targets, reduction="none", delta=getattr(task, "huber_delta", 1.0)
        )
    count = batch.mask.sum(dim=0) * outputs.shape[-1]
    return each.sum(dim=(0, 2)) / count.clamp(min=1), squares.detach().sum(dim=(0, 2)), count


_SCORED = {
    "bits": _score_bits,
    "classes": _score_classes,
    "tokens": _score_tokens,
    "values": _score_values,
}
