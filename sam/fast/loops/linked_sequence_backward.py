"""Backward pass of `sam.fast.loops.linked_sequence_forward`; as `sequence_backward` for SAM."""

from typing import Any, NamedTuple

import numpy as np

from index.compiled import jit, lean_inline
from sam.fast.loops.episode_starts import Borders, end_rows, show_reads
from sam.fast.loops.kernel_arrays import Start, Weights
from sam.fast.loops.layers import Grads, control_backward
from sam.fast.loops.linked_arrays import LinkedSaved, columns
from sam.fast.loops.linked_backward import back_room, read_head_backward, write_row_backward
from sam.fast.loops.numerics import exp, number
from sam.fast.loops.sequence_backward import add_reads


class LinkedRows(NamedTuple):
    """Rows of G for the slots, as `sam.store.gradient_tape.grad_rows` gives them."""

    read: Any  # [T, B, R, K]
    near: Any  # compared by content, [T, B, R, K]
    lru: Any  # [T, B, 1]
    start: Any  # of `Start.slots`, [B, R, K]


class BackScratch(NamedTuple):
    """What the backward pass of a thread works with."""

    head: Any  # see `back_room`
    word: Any  # [W]
    modes: Any  # [3]


@lean_inline
def _read_backward(
    t: int,
    b: int,
    saved: LinkedSaved,
    rows: LinkedRows,
    grads: Grads,
    scratch: BackScratch,
    min_strength: float,
    eps: float,
    sharpening: float,
) -> None:
    """Through the read of a row; its keys, modes and strengths become their gradients."""
    (batch_size, heads), size = saved.values.shape[1:3], saved.words.shape[4]
    p, at, word, grad_modes = (
        saved.controls[t, b],
        columns(heads, size),
        scratch.word,
        scratch.modes,
    )
    one = number(p[0], 1.0)
    for r in range(heads):
        key, strength = p[r * size : (r + 1) * size], one
        modes = p[at.modes + 3 * r : at.modes + 3 * r + 3]
        if at.strengths < len(p):
            strength = p[at.strengths + r]
        grad_strength = read_head_backward(
            *(grads.memory, batch_size, rows.read[t, b, r], rows.near[t, b, r], key, strength),
            *(modes, saved.words[t, b, r], saved.found[t, b, r], saved.cosine[t, b, r]),
            *(saved.content[t, b, r], saved.parts[t, b, r], saved.values[t, b, r]),
            *(grads.both[b, r * size : (r + 1) * size], grads.values[b, r], scratch.head),
            *(word, grad_modes, eps, sharpening),
        )
        for i in range(size):
            key[i] = word[i]
        inner = number(p[0], 0.0)
        for i in range(3):
            inner += modes[i] * grad_modes[i]
        for i in range(3):
            modes[i] *= grad_modes[i] - inner
        if at.strengths < len(p):
            turn = one - exp(number(p[0], min_strength) - strength)
            p[at.strengths + r] = grad_strength * turn


@lean_inline
def _write_backward(
    t: int,
    b: int,
    saved: LinkedSaved,
    rows: LinkedRows,
    prev: Any,
    prev_rows: Any,
    grads: Grads,
    word: Any,
) -> None:
    """Through the write of a row; what it added and its gates become their gradients.

    `prev` and `prev_rows` are w^R_{t-1} and the rows in G of its words, [R, K] each.
    """
    heads, size = saved.values.shape[2], saved.words.shape[4]
    p, at = saved.controls[t, b], columns(heads, size)
    alpha, gamma = p[at.gates], p[at.gates + 1]
    one, add = number(alpha, 1.0), p[at.adds : at.gates]
    grad_alpha, grad_gamma = write_row_backward(
        *(grads.memory, prev_rows, rows.lru[t, b, 0], prev, add, alpha, gamma),
        *(grads.values[b], word),
    )
    for i in range(size):
        add[i] = word[i]
    p[at.gates] = grad_alpha * alpha * (one - alpha)
    p[at.gates + 1] = grad_gamma * gamma * (one - gamma)


@lean_inline
def _memory_backward(
    t: int,
    lo: int,
    hi: int,
    saved: LinkedSaved,
    rows: LinkedRows,
    before: Any,
    grads: Grads,
    scratch: BackScratch,
    settings: Any,
) -> None:
    """Through the memory's part of a step; `before` is w^R_{t-1} and the rows of its words."""
    (prev, prev_rows), (min_strength, eps, sharpening) = before, settings
    for b in range(lo, hi):
        if grads.active[b]:
            _read_backward(t, b, saved, rows, grads, scratch, min_strength, eps, sharpening)
            _write_backward(t, b, saved, rows, prev[b], prev_rows[b], grads, scratch.word)
        else:
            controls = saved.controls[t, b]
            for i in range(len(controls)):
                controls[i] = 0


@jit
def unroll_backward(
    lo: int,
    hi: int,
    saved: LinkedSaved,
    start: Start,
    weights: Weights,
    rows: LinkedRows,
    grads: Grads,
    borders: Borders,
    min_strength: float,
    eps: float,
    sharpening: float,
) -> None:
    """Takes batch rows lo .. hi - 1 from the last step to the first."""
    top_k, size = saved.words.shape[3:]
    scratch = BackScratch(
        back_room(top_k, top_k, saved.values),
        np.empty(size, saved.values.dtype),
        np.empty(3, saved.values.dtype),
    )
    for t in range(len(saved.hidden) - 1, -1, -1):
        show_reads(t, lo, hi, saved, start, rows, borders)
        prev = saved.values[t - 1] if t > 0 else start.values
        prev_rows = rows.read[t - 1] if t > 0 else rows.start
        if len(start.begins) > 0:
            prev, prev_rows = borders.values, borders.rows
        add_reads(t, lo, hi, start, grads)
        before: Any = prev, prev_rows
        settings: Any = min_strength, eps, sharpening
        _memory_backward(t, lo, hi, saved, rows, before, grads, scratch, settings)
        control_backward(t, lo, hi, saved, start, weights, grads)
        end_rows(t, lo, hi, start, grads, borders)
