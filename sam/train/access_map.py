"""The map of a memory's accesses in one episode: what was written and read where, and when."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sam.errors import ConfigError
from sam.train.drawing import INK, SHADE, new_figure, save_figure
from sam.train.extras import import_extra
from sam.train.strips import Strip, draw_strip

FAINTEST = 0.005  # of dense weights, which are nowhere 0: what counts as an access in the SAM paper
MOST_ROWS = 4096  # of a map; memory touched in a wider range is folded into this many
MOST_COLUMNS = 2048  # likewise of time
MOST_HEADS = 8  # a view each; the others would be too small to see anything


class Accesses(NamedTuple):
    """Words read, or written, in one episode: one entry per head and word, with a weight > 0."""

    steps: list[int]
    heads: list[int]
    slots: list[int]
    weights: list[float]

    def of_head(self, head: int) -> "Accesses":
        """The entries of one head."""
        chosen = [i for i, found in enumerate(self.heads) if found == head]
        steps, heads, slots = ([values[i] for i in chosen] for values in self[:3])
        return Accesses(steps, heads, slots, [self.weights[i] for i in chosen])


def accesses(slots: Tensor | None, weights: Tensor, row: int = 0) -> Accesses:
    """Lists the accesses of one batch row of a trace.

    Args:
        slots: int64 [T, B, H, K], -1 for none; None if the weights are over all words.
        weights: [T, B, H, K], or [T, B, H, N] without slots.
        row: the batch row.

    Returns:
        The entries whose slot exists and whose weight is above 0, or above 0.005 without slots, in
        the order of time.

    Cost: O(T H K), whatever the memory size; O(T H N) without slots.
    """
    weights = weights[:, row].detach().cpu()
    least = 0.0
    if slots is None:
        slots, least = torch.arange(weights.shape[-1]).expand_as(weights), FAINTEST
    else:
        slots = slots[:, row].cpu()
    steps, heads, places = ((slots >= 0) & (weights > least)).nonzero(as_tuple=True)
    chosen = steps, heads, places
    return Accesses(
        steps.tolist(), heads.tolist(), slots[chosen].tolist(), weights[chosen].tolist()
    )


def plot_access_map(
    reads: Accesses,
    writes: Accesses,
    steps: int,
    path: str | Path,
    *,
    title: str = "",
    strips: Sequence[Strip] = (),
    scored: Sequence[bool] = (),
) -> None:
    """Draws writes on the left and reads on the right, a view for each head: slots against time.

    Above them stand the inputs, targets and outputs of the same steps. Dark is a high weight. The
    axis of slots, the same in all views, spans what was touched.

    Args:
        reads: from `accesses`.
        writes: from `accesses`.
        steps: T, length of the episode.
        path: the PNG to write.
        title: above the figure.
        strips: what stands above the views, from `sam.train.strips`.
        scored: whether each step's outputs are scored; such steps are shaded.

    Raises:
        ConfigError: nothing was read or written.
        BackendMissingError: matplotlib is not installed.
        OSError: the figure cannot be written.
    """
    touched = reads.slots + writes.slots
    if not touched:
        raise ConfigError("accesses: expected at least one read or write, got none")
    low, high = min(touched), max(touched)
    heads = 1 + max(reads.heads + writes.heads)
    views = min(heads, MOST_HEADS)
    heights = [0.55] * len(strips) + [1.3 if views > 2 else 2.2] * views
    figure = new_figure(11.0, 1.4 + sum(heights) * 1.05)
    grid = figure.subplots(
        len(heights),
        2,
        sharex=True,
        squeeze=False,
        gridspec_kw={"height_ratios": heights, "hspace": 0.02},
    )
    image, colors = None, _colors()
    for column, (name, entries) in enumerate((("writes", writes), ("reads", reads))):
        for axes, strip in zip(grid[:, column], strips, strict=False):
            draw_strip(axes, strip, labelled=column == 0)
        for head, axes in enumerate(grid[len(strips) :, column]):
            weights = _weights(entries.of_head(head), steps, low, high)
            image = _draw(axes, weights, steps, low, high, colors)
            if head not in entries.heads:
                axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center", color=INK)
            if column == 0:
                axes.set_ylabel(f"head {head + 1}\nslot", color=INK, fontsize=9)
        grid[0, column].set_title(name, color=INK, fontsize=11)
        grid[-1, column].set_xlabel("time step", color=INK)
        for axes in grid[:, column]:
            _shade(axes, scored)
            axes.tick_params(colors=INK, labelsize=8)
    figure.colorbar(image, ax=grid[len(strips) :], label="weight", fraction=0.03, pad=0.01)
    more = f", {views} of {heads} heads" if heads > views else ""
    shaded = "; shaded: scored steps" if any(scored) else ""
    figure.suptitle(f"{title or 'memory accesses in one episode'}{more}{shaded}", color=INK)
    data = {"steps": steps, "reads": reads._asdict(), "writes": writes._asdict()}
    data |= {"scored": [*scored], **{strip.name: strip.numbers() for strip in strips}}
    save_figure(figure, path, data)


def _weights(entries: Accesses, steps: int, low: int, high: int) -> Tensor:
    """The highest weight at each slot and step, as folded; 0 where nothing was touched."""
    fold, times = _fold(low, high), _fold_steps(steps)
    columns = (steps - 1) // times + 1
    weights = torch.zeros((high - low) // fold + 1, columns)
    place = (torch.tensor(entries.slots) - low) // fold * columns
    place += torch.tensor(entries.steps) // times
    weights.view(-1).scatter_reduce_(0, place.long(), torch.tensor(entries.weights), "amax")
    return weights


def _fold(low: int, high: int) -> int:
    """Slots that share a row of the picture."""
    return (high - low) // MOST_ROWS + 1


def _fold_steps(steps: int) -> int:
    """Steps that share a column."""
    return (steps - 1) // MOST_COLUMNS + 1


def _colors() -> Any:
    """Yellow to black, without the palest: a faint access must be seen, too."""
    shades = import_extra("matplotlib").colormaps["magma_r"](torch.linspace(0.12, 1, 256).numpy())
    return import_extra("matplotlib.colors").ListedColormap(shades)


def _draw(axes: Any, weights: Tensor, steps: int, low: int, high: int, colors: Any) -> Any:
    top = low - 0.5 + _fold(low, high) * weights.shape[0]
    right = _fold_steps(steps) * weights.shape[1] - 0.5
    return axes.imshow(
        # What was not touched stays white, apart from what was touched lightly.
        weights.masked_fill(weights == 0, float("nan")).numpy(),
        aspect="auto",
        origin="lower",
        cmap=colors,
        vmin=0,
        vmax=1,
        interpolation="nearest",
        extent=(-0.5, right, low - 0.5, top),
        zorder=1,
    )


def _shade(axes: Any, scored: Sequence[bool]) -> None:
    """A pale ground behind each stretch of scored steps."""
    begin = None
    for step, is_scored in enumerate([*scored, False]):
        if is_scored and begin is None:
            begin = step
        elif not is_scored and begin is not None:
            axes.axvspan(begin - 0.5, step - 0.5, color=SHADE, zorder=0, linewidth=0)
            begin = None
