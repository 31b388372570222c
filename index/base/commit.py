"""A new base with what memories wrote merged in: words streamed, the folder there or as before."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from index.base.diff import BaseDiff
from index.errors import ShapeError

_PIECE = 2**16  # words held at a time


def commit(
    base: Any, changes: Any, path: str | Path | None = None, *, rows: Any = None, **options: Any
) -> Any:
    """Writes a base with the words of a diff in place of its own, and own words behind them.

    Args:
        base: stays open, and as it is.
        changes: a `BaseDiff`, or a state over this base, or what else has a method `diff()`.
        path: the folder; that of this base unless told, which is then replaced as a whole.
        rows: whose changes, integers [n]; of all memories unless told. Where several of them wrote
            to a word of the base the last one counts; their own words follow one after another, at
            slots n, n + 1, ..., in the order of rows and slots.
        options: of `BaseMemory.create`, other ones than this base was made with.

    Returns:
        The new base, opened.

    Raises:
        ShapeError: the changes are of a base of another size.
        TypeError: they are none.
        OSError: there is no space, or something else than a base is at `path`.
        Whatever is raised, `path` is as before.

    Cost: reads and writes each word once, and makes the index; in memory the changes and a piece.
    """
    diff = changes.diff() if hasattr(changes, "diff") else changes
    if not isinstance(diff, BaseDiff):
        raise TypeError(f"changes: expected a BaseDiff or a state, got {type(changes).__name__}")
    if rows is not None:
        diff = diff.rows(rows)
    check_fits(diff, base)
    kind = {"index": base.index, "dtype": base.dtype, "metric": base.metric} | options
    return type(base).create(base.path if path is None else path, _pieces(base, diff), **kind)


def check_fits(diff: BaseDiff, base: Any) -> None:
    """Raises ShapeError unless a diff was made over a base of this size."""
    wanted, given = (base.num_words, base.word_size), (diff.num_base, diff.word_size)
    if wanted != given:
        raise ShapeError(
            f"diff: expected one over a base of {wanted[0]} words of {wanted[1]} numbers, got one "
            f"over {given[0]} of {given[1]}"
        )


def _pieces(base: Any, diff: BaseDiff) -> Iterator[Tensor]:
    """All words, [m, W] at a time."""
    slots, words = _merged(diff)
    for start in range(0, len(base), _PIECE):
        stop = min(start + _PIECE, len(base))
        piece = base.words_at(torch.arange(start, stop))
        first, last = torch.searchsorted(slots, torch.tensor([start, stop])).tolist()
        piece[slots[first:last] - start] = words[first:last].to(piece.dtype)
        yield piece
    own = (diff.slots >= len(base)).cpu()
    for row in range(diff.batch_size):
        order = diff.slots[row].cpu()[own[row]].argsort()
        if len(order):
            yield diff.words[row].cpu()[own[row]][order].float()


def _merged(diff: BaseDiff) -> tuple[Tensor, Tensor]:
    """Slots of the base that were written, ascending, and the words of the last row that did."""
    over = ((diff.slots >= 0) & (diff.slots < diff.num_base)).cpu()
    slots, words = diff.slots.cpu()[over], diff.words.cpu()[over]
    ordered, order = slots.sort(stable=True)
    last = torch.ones_like(ordered, dtype=torch.bool)
    last[:-1] = ordered[1:] != ordered[:-1]
    return ordered[last], words[order[last]]
