"""The NTM in plain NumPy loops, written from the paper's equations and not from our code.

One batch row at a time; a head's controls come as a dictionary of what it emits at one step.
"""

from typing import Any, NamedTuple

import numpy as np

EPS = 1e-6
FLOOR = 1e-12


class Episode(NamedTuple):
    """What one batch row did in T steps."""

    reads: np.ndarray  # [T, H, W]
    read_weights: np.ndarray  # [T, H, N]
    write_weights: np.ndarray  # [T, H, N]
    memory: np.ndarray  # M_T, [N, W]


def content(key: np.ndarray, strength: float, memory: np.ndarray) -> np.ndarray:
    """Equations 5 and 6, epsilon in both norms."""
    scores = np.zeros(len(memory))
    for i, word in enumerate(memory):
        norms = np.sqrt(np.sum(key**2) + EPS) * np.sqrt(np.sum(word**2) + EPS)
        scores[i] = np.exp(strength * (key @ word) / norms)
    return scores / scores.sum()


def convolve(weights: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Equation 8: every slot sends its weight on, by every shift d in -S .. S."""
    moved, reach = np.zeros(len(weights)), len(kernel) // 2
    for slot, weight in enumerate(weights):
        for d in range(-reach, reach + 1):
            moved[(slot + d) % len(weights)] += kernel[d + reach] * weight
    return moved


def sharpened(weights: np.ndarray, gamma: float) -> np.ndarray:
    """Equation 9."""
    powers = np.maximum(weights, FLOOR) ** gamma
    return powers / powers.sum()


def address(head: dict[str, Any], previous: np.ndarray, memory: np.ndarray) -> np.ndarray:
    """Equations 5 to 9; a head without a gate takes the content weights as they are."""
    found = content(head["key"], head["strength"], memory)
    if "gate" not in head:
        return found
    mixed = head["gate"] * found + (1 - head["gate"]) * previous
    return sharpened(convolve(mixed, head["shift"]), head["gamma"])


def written(
    memory: np.ndarray, weights: np.ndarray, erases: np.ndarray, adds: np.ndarray
) -> np.ndarray:
    """Equations 3 and 4 with several heads: all erases, then all adds."""
    memory = memory.copy()
    heads = list(zip(weights, erases, adds, strict=True))
    for weight, erase, _ in heads:
        for i, j in np.ndindex(*memory.shape):
            memory[i, j] *= 1 - weight[i] * erase[j]
    for weight, _, add in heads:
        for i, j in np.ndindex(*memory.shape):
            memory[i, j] += weight[i] * add[j]
    return memory


def episode(
    steps: list[tuple[list[dict[str, Any]], list[dict[str, Any]]]],
    first: np.ndarray,
    memory: np.ndarray,
) -> Episode:
    """Runs one batch row on the controls (write heads, read heads) of each step.

    A write head also has `erase` and `add`. `first` is every head's w_0, `memory` is M_0.
    """
    write_weights = [first] * len(steps[0][0])
    read_weights = [first] * len(steps[0][1])
    reads, read_log, write_log = [], [], []
    for writers, readers in steps:
        write_weights = [
            address(head, before, memory)
            for head, before in zip(writers, write_weights, strict=True)
        ]
        memory = written(
            memory,
            np.array(write_weights),
            np.array([head["erase"] for head in writers]),
            np.array([head["add"] for head in writers]),
        )
        read_weights = [
            address(head, before, memory)
            for head, before in zip(readers, read_weights, strict=True)
        ]
        reads.append(
            [sum(w * word for w, word in zip(ws, memory, strict=True)) for ws in read_weights]
        )
        read_log.append(read_weights)
        write_log.append(write_weights)
    return Episode(np.array(reads), np.array(read_log), np.array(write_log), memory)
