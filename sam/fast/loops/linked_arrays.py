"""What compiled loops over SDNC's steps are given, as `kernel_arrays` for SAM's.

The controls of a row stand in one array p [P]: keys [R W], modes [R 3], what to add [W], write
gate, interpolation gate, strengths [R] or none.
"""

from typing import Any, NamedTuple

from index.compiled import lean_inline
from sam.fast.loops.kernel_arrays import KernelParams, Memory, Scratch, Start, Weights


class LinkedSaved(NamedTuple):
    """What the forward pass fills in and the backward pass uses, [T, B, ...] each."""

    gates: Any  # as in `SavedForBackward`, [L G]
    cells: Any  # likewise, [L C]
    hidden: Any  # h, [L C]
    controls: Any  # squashed; then the gradients of what was squashed, [P]
    lru_slots: Any  # slots written over, -1 where a row has ended, [1]
    slots: Any  # read, [R, K]
    values: Any  # w^R, [R, K]
    words: Any  # read, [R, K, W]
    reads: Any  # r, [R W]
    near: Any  # slots compared by content, [R, K]
    cosine: Any  # D, [R, K]
    content: Any  # c, [R, K]
    parts: Any  # b, c and f of the words read, [R, 3, K]
    found: Any  # words compared, [R, K, W]


class Links(NamedTuple):
    """What the steps change in place beside the memory."""

    values: Any  # of the table, [rows, K_L]
    incoming: Any
    outgoing: Any
    recent: Any  # slots of p, [B, 1, K_L]
    shares: Any  # values of p, [B, 1, K_L]
    decay_sources: bool
    sharpening: float  # what the read weights are sharpened by, 0 for nothing


class LinkedSequence(NamedTuple):
    """All that the loops over a sequence work on."""

    saved: LinkedSaved
    start: Start
    weights: Weights
    scratch: Scratch
    memory: Memory
    params: KernelParams
    links: Links


class Columns(NamedTuple):
    """Where the controls of a row begin, but for the keys, which come first."""

    modes: int
    adds: int
    gates: int  # alpha, then gamma
    strengths: int


@lean_inline
def columns(heads: int, size: int) -> Columns:
    """The columns for so many heads and so many numbers in a word."""
    modes = heads * size
    adds = modes + 3 * heads
    return Columns(modes, adds, adds + size, adds + size + 2)
