"""What compiled loops over SAM's steps are given: arrays by name, settings, and why they stop."""

from typing import Any, NamedTuple

# What a loop stopped for, beside the batch rows.
FINISHED, NOT_FINITE, OUTSIDE = -1, -2, -3
LSTM, GRU, FEEDFORWARD = 0, 1, 2  # kinds of layers


class SavedForBackward(NamedTuple):
    """What the forward pass fills in and the backward pass uses, [T, B, ...] each."""

    gates: Any  # what the inputs contribute; then the gates' values; then their gradients, [L G]
    cells: Any  # c, [L C]; of layers without it h, the same array
    hidden: Any  # h, [L C]
    controls: Any  # squashed; then the gradients of what was squashed, [P]
    lru_slots: Any  # slots written over, -1 where a row has ended, [V]
    slots: Any  # read, [H, K]
    cosine: Any  # D, [H, K]
    values: Any  # w^R, [H, K]
    words: Any  # read, [H, K, W]
    reads: Any  # r, [H W]


class Start(NamedTuple):
    """The state before the first step, how many steps each batch row takes, where it is reset."""

    cell: Any  # what `SavedForBackward.cells` would hold, [B, L C]
    slots: Any  # read at the last step, [B, H, K]
    values: Any  # their weights, [B, H, K]
    lengths: Any  # int64 [B]
    begins: Any  # rows that begin a new episode with a step, bool [T, B]; [0, B] if none does
    nothing: Any  # what `cell` is in such a row, zeros [L C]


class Weights(NamedTuple):
    """Of the controller's L layers and of the interface, laid out for one direction.

    Matrices are packed as `sam.fast.packing` does. A layer has C units and G gates, of which some
    take what comes from outside of it, M, and as many its own last output: of an LSTM all, of a GRU
    the first and the last three quarters.
    """

    kind: int  # LSTM, GRU or FEEDFORWARD

    reads: Any  # of r, [L, H W, M]; of [r ; h] in a single LSTM layer, whose h comes right behind
    below: Any  # of what the layer below puts out at the same step, [L - 1, C, M]
    own: Any  # of h_{t-1}, [L, C, M]; none where `reads` has it, or there is no such thing
    columns: int  # of the matrices in `reads`
    interface: Any  # [L C, P]
    bias: Any  # of the interface, [P]


class Memory(NamedTuple):
    """What the steps change in place: the store, an exact index, the order of access."""

    store: Any  # [1 + C, B, W]
    units: Any  # [B, 1 + room, W]
    penalty: Any  # [B, 1 + room]
    stamps: Any  # [B, 1 + C]
    total: Any  # [B, 1 + C]
    queue: Any  # [B, N], or [B, 0]
    head: Any  # [B, 1]
    end: Any  # [B, 1]
    epoch: Any  # [B, 1]
    pending: Any  # [B, V]
    scores: Any  # room for some while an exact index is searched, [B, KEYS BLOCK]


class Scratch(NamedTuple):
    """Room for one step."""

    both: Any  # [r ; h] of the last step, [B, H W + L C]; r alone where h does not come back
    write_slots: Any  # [B, V, J]
    write_values: Any  # w^W, [B, V, J]
    active: Any  # rows that take the step, bool [B]
    prev_slots: Any  # with starts: what was read at the last step, [B, H, K]; else [0, H, K]
    prev_values: Any  # their weights
    held: Any  # no slot from here on held anything before the loop; 0 once emptied, int64 [B]


class KernelParams(NamedTuple):
    """Settings."""

    size: int  # N
    clock: int  # of the order, before the first step
    threshold: float  # delta
    min_strength: float  # of the strengths' activation
    eps: float  # of lengths


class Sequence(NamedTuple):
    """All that the loops over a sequence work on."""

    saved: SavedForBackward
    start: Start
    weights: Weights
    scratch: Scratch
    memory: Memory
    params: KernelParams
