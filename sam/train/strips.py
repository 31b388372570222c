"""Strips above a map of accesses: inputs, targets and outputs of one episode, channel by time."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from sam.tasks.task import Batch
from sam.train.drawing import INK


class Strip(NamedTuple):
    """A picture of numbers; those that do not count are NaN, and left white."""

    name: str
    values: Tensor  # [channels, T]

    def numbers(self) -> list[list[float | None]]:
        """The values as JSON has them, which has no NaN."""
        return [
            [None if value != value else value for value in row] for row in self.values.tolist()
        ]


def episode_strips(batch: Batch, outputs: Tensor, kind: str, row: int = 0) -> list[Strip]:
    """Inputs, targets and outputs of one batch row, at the same steps.

    Targets and outputs of steps that are not scored are left out. Outputs are shown as what is
    compared with the targets: probabilities of bits or classes, or the values themselves.

    Args:
        batch: of a task.
        outputs: of a model, [T, B, O].
        kind: of the task.
        row: which batch row.
    """
    mask = batch.mask[:, row].cpu()
    shown = outputs[:, row].detach().float().cpu()
    targets = batch.targets[:, row].cpu()
    if targets.dim() == 1:  # the number of a class
        shown = shown.softmax(-1)
        targets = torch.nn.functional.one_hot(targets.clamp(0, shown.shape[-1] - 1), shown.shape[1])
    elif kind == "bits":
        shown = shown.sigmoid()
    parts = [("inputs", batch.inputs[:, row].float().cpu())]
    for name, values in (("targets", targets.float()), ("outputs", shown)):
        parts.append((name, values.masked_fill(~mask[:, None], float("nan"))))
    return [Strip(name, values.T) for name, values in parts]


def draw_strip(axes: Any, strip: Strip, *, labelled: bool) -> None:
    """Draws a strip; the lowest number is white, the highest dark."""
    finite = strip.values[strip.values.isfinite()]
    low, high = (finite.min().item(), finite.max().item()) if len(finite) else (0.0, 1.0)
    axes.imshow(
        strip.values.numpy(),
        aspect="auto",
        origin="lower",
        cmap="Blues",
        vmin=min(low, 0.0),
        vmax=max(high, 1.0) if high > 0 else 1.0,
        interpolation="nearest",
        extent=(-0.5, strip.values.shape[1] - 0.5, -0.5, strip.values.shape[0] - 0.5),
        zorder=1,
    )
    axes.set_yticks([])
    axes.tick_params(bottom=False)
    if labelled:
        axes.set_ylabel(strip.name, color=INK, fontsize=9, rotation=0, ha="right", va="center")
