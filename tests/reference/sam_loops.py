"""SAM in plain NumPy loops, written from the paper's equations and not from our code.

One batch row at a time, all N words in an array, time since access in an array, arg-max over N.
"""

from typing import NamedTuple

import numpy as np

EPS = 1e-6


class Episode(NamedTuple):
    """What one batch row did in T steps."""

    reads: np.ndarray  # [T, H, W]
    read_slots: np.ndarray  # [T, H, K], -1 where fewer words were written
    read_weights: np.ndarray  # [T, H, K]
    oldest: np.ndarray  # [T, V]
    memory: np.ndarray  # M_T, [N, W]


def cosine(key: np.ndarray, word: np.ndarray) -> float:
    return float(key @ word) / (np.sqrt(key @ key + EPS) * np.sqrt(word @ word + EPS))


def episode(
    keys: np.ndarray,
    strengths: np.ndarray,
    adds: np.ndarray,
    write_gates: np.ndarray,
    interpolation_gates: np.ndarray,
    *,
    memory_size: int,
    top_k: int,
    delta: float = 0.005,
) -> Episode:
    """Runs one batch row on squashed controls, [T, H, ...]; adds and gates are [T, V, ...]."""
    steps, heads, size = keys.shape
    writes = adds.shape[1]
    memory = np.zeros((memory_size, size))
    written = np.zeros(memory_size, dtype=bool)
    accessed = np.full(memory_size, -1.0)  # last step with w^W + w^R > delta
    place = np.arange(memory_size, dtype=float)  # order inside a step, for exact agreement
    previous: list[dict[int, float]] = [{} for _ in range(heads)]
    out = Episode(
        np.zeros((steps, heads, size)),
        np.full((steps, heads, top_k), -1),
        np.zeros((steps, heads, top_k)),
        np.zeros((steps, writes), dtype=int),
        memory,
    )
    for t in range(steps):
        # l_1 .. l_V: the words whose last access is longest ago
        oldest = np.lexsort((place, accessed))[:writes]
        out.oldest[t] = oldest
        # w^W = alpha (gamma w^R_{t-1} + (1 - gamma) I)
        weights: list[dict[int, float]] = []
        sequence: list[tuple[int, float]] = []
        for v in range(writes):
            alpha, gamma = write_gates[t, v], interpolation_gates[t, v]
            row: dict[int, float] = {}
            group = [previous[v]] if writes == heads else previous
            for reads in group:
                for slot, value in reads.items():
                    share = alpha * gamma * value / len(group)
                    row[slot] = row.get(slot, 0.0) + share
                    sequence.append((slot, share))
            row[oldest[v]] = row.get(oldest[v], 0.0) + alpha * (1 - gamma)
            sequence.append((oldest[v], alpha * (1 - gamma)))
            weights.append(row)
        # M_t = (1 - I 1^T) o M_{t-1} + w^W a^T, all erases first
        for slot in oldest:
            memory[slot] = 0.0
            written[slot] = True
        for v in range(writes):
            for slot, value in weights[v].items():
                memory[slot] += value * adds[t, v]
        # w^R = softmax over the K words most similar to the key
        access: list[tuple[int, float]] = []
        for h in range(heads):
            known = [(cosine(keys[t, h], memory[i]), i) for i in range(memory_size) if written[i]]
            best = sorted(known, key=lambda pair: (-pair[0], pair[1]))[:top_k]
            exps = np.exp(strengths[t, h] * np.array([score for score, _ in best]))
            values = exps / exps.sum()
            previous[h] = {}
            for k, (_, slot) in enumerate(best):
                out.read_slots[t, h, k] = slot
                out.read_weights[t, h, k] = values[k]
                out.reads[t, h] += values[k] * memory[slot]
                previous[h][slot] = float(values[k])
            access += [(slot, float(v)) for (_, slot), v in zip(best, values, strict=True)]
        # U^(2): the sum over heads of w^W + w^R against delta; reads before writes, first is newest
        sequence = [*access, *sequence][::-1]
        for order, (slot, _) in enumerate(sequence):
            total = sum(value for other, value in sequence if other == slot)
            if total > delta:
                accessed[slot], place[slot] = t, order
    return out
