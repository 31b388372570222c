"""Loss and mistakes of a batch of outputs."""

import math
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional as F

from sam.errors import ShapeError
from sam.shape_checks import check_shape
from sam.tasks.task import Batch, Task


@runtime_checkable
class HasQuestions(Protocol):
    """A task whose answers span several steps: it says which question each step belongs to."""

    def question_ids(self, batch: Batch) -> Tensor:
        """Question of each scored step, [T, B] int64, counted from 0 within each sequence."""
        ...


class Scores(NamedTuple):
    """Loss and mistakes of one batch; "targets" are target bits, or questions for classes."""

    loss: Tensor  # [] cross-entropy of a sequence, mean over the batch, in nats; differentiable
    bits: Tensor  # [B] cross-entropy summed over each sequence, in bits
    wrong: Tensor  # [B] wrong targets of each sequence
    targets: Tensor  # [B] scored targets of each sequence

    def error(self, kind: Literal["bits", "classes"]) -> float:
        """Wrong bits per sequence, or the fraction of questions answered wrongly."""
        if kind == "bits":
            return sum(self.wrong.tolist()) / len(self.wrong)
        return self.wrong.sum().item() / self.targets.sum().item()


def score(outputs: Tensor, batch: Batch, task: Task) -> Scores:
    """Scores the outputs at the steps the batch's mask marks.

        bits:     L = -sum_t,i [ y log p + (1 - y) log(1 - p) ],   p = sigmoid(output)
        classes:  L = -sum_t log softmax(output)[y]

    The sum runs over a sequence's scored bits or answer steps, as the papers report it. The norm of
    the gradients, and so the effect of `optimizer.clip_norm`, depends on that.

    Args:
        outputs: logits, [T, B, O].
        batch: targets [T, B, O] or classes [T, B], and the mask [T, B].
        task: its `kind`, and `question_ids` if it has answers of several words.

    Returns:
        Loss, and per-sequence bits, mistakes and targets. A question is right only if all of its
        steps are.

    Raises:
        ShapeError: outputs and targets disagree, or no step is scored.
    """
    steps, rows = batch.mask.shape
    check_shape("outputs", outputs, "T B O", {"T": steps, "B": rows, "O": task.output_size})
    if not bool(batch.mask.any()):
        raise ShapeError("batch.mask: expected at least one scored step, got none")
    scored = _score_bits if task.kind == "bits" else _score_classes
    nats, wrong, targets = scored(outputs, batch, task)
    return Scores(nats.mean(), nats.detach() / math.log(2), wrong, targets)


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
