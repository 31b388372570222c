"""DAM in plain NumPy loops, written from the paper's equations and not from our code.

One batch row at a time, one word at a time, the usage as the sum over all past accesses.
"""

from typing import NamedTuple

import numpy as np

EPS = 1e-6


class Episode(NamedTuple):
    """What one batch row did in T steps."""

    reads: np.ndarray  # [T, H, W]
    read_weights: np.ndarray  # [T, H, N]
    write_weights: np.ndarray  # [T, V, N]
    chosen: np.ndarray  # [T, V], the slots set to zero
    usage: np.ndarray  # U_t, [T, N]
    memory: np.ndarray  # M_T, [N, W]


def content_weights(
    key: np.ndarray, strength: float, words: np.ndarray, valid: np.ndarray | None = None
) -> np.ndarray:
    """w(i) = exp(beta D(k, M(i))) / sum_j exp(beta D(k, M(j))) over the valid words, [N]."""
    weights = np.zeros(len(words))
    for i, word in enumerate(words):
        if valid is None or valid[i]:
            norms = np.sqrt(key @ key + EPS) * np.sqrt(word @ word + EPS)
            weights[i] = np.exp(strength * (key @ word) / norms)
    return weights / weights.sum() if weights.any() else weights


def usage_after(
    write_weights: np.ndarray, read_weights: np.ndarray, decay: float, time: int
) -> np.ndarray:
    """U_t = sum over tau <= t of lambda^(t - tau) (w^W_tau + w^R_tau), all heads, [N]."""
    usage = np.zeros(read_weights.shape[2])
    for tau in range(time + 1):
        for weights in (*write_weights[tau], *read_weights[tau]):
            usage += decay ** (time - tau) * weights
    return usage


def episode(
    keys: np.ndarray,
    strengths: np.ndarray,
    adds: np.ndarray,
    write_gates: np.ndarray,
    interpolation_gates: np.ndarray,
    *,
    words: np.ndarray,
    decay: float,
    chosen: np.ndarray | None = None,
) -> Episode:
    """Runs one batch row on squashed controls, [T, H, ...]; adds and gates are [T, V, ...].

    `words` are M_0, [N, W]. The slots to write are chosen by the usage, unless they are given:
    words with the same past have the same usage but for rounding.
    """
    steps, heads, size = keys.shape
    writes, memory_size = adds.shape[1], len(words)
    memory = words.copy()
    out = Episode(
        np.zeros((steps, heads, size)),
        np.zeros((steps, heads, memory_size)),
        np.zeros((steps, writes, memory_size)),
        np.zeros((steps, writes), dtype=int),
        np.zeros((steps, memory_size)),
        memory,
    )
    for t in range(steps):
        # I_t: the V words of least usage up to the last step, the lowest slot of equal ones
        usage = out.usage[t - 1] if t else np.zeros(memory_size)
        out.chosen[t] = sorted(range(memory_size), key=lambda i: (usage[i], i))[:writes]
        if chosen is not None:
            out.chosen[t] = chosen[t]
        # w^W = alpha (gamma w^R_{t-1} + (1 - gamma) I)
        for v in range(writes):
            alpha, gamma = write_gates[t, v], interpolation_gates[t, v]
            for i in range(memory_size):
                before = 0.0
                if t:
                    last = out.read_weights[t - 1, :, i]
                    before = last[v] if writes == heads else last.sum() / heads
                mark = 1.0 if i == out.chosen[t, v] else 0.0
                out.write_weights[t, v, i] = alpha * (gamma * before + (1 - gamma) * mark)
        # M_t = (1 - I 1^T) o M_{t-1} + w^W a^T, all erases first
        for slot in out.chosen[t]:
            memory[slot] = 0.0
        for v in range(writes):
            for i in range(memory_size):
                memory[i] += out.write_weights[t, v, i] * adds[t, v]
        # r = sum_i w^R(i) M_t(i)
        for h in range(heads):
            out.read_weights[t, h] = content_weights(keys[t, h], strengths[t, h], memory)
            for i in range(memory_size):
                out.reads[t, h] += out.read_weights[t, h, i] * memory[i]
        out.usage[t] = usage_after(out.write_weights, out.read_weights, decay, t)
    return out
