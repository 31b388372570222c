"""SDNC in plain NumPy loops, written from the paper's equations and not from our code.

One batch row at a time, links as a dense N x N array of which all but a few entries are zero.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tests.reference.sam_loops import cosine


class Links:
    """N and p of supplement D.1, pruned to K_L a row of N, a row of P = N^T, and in p.

    The orders say which of equal values goes first: what is not written now, as it stood, then what
    is written now, as it was given.
    """

    def __init__(self, memory_size: int, num_links: int, *, decay_sources: bool = False) -> None:
        self.num_links, self.decay_sources = num_links, decay_sources
        self.incoming = np.zeros((memory_size, memory_size))  # N
        self.precedence = np.zeros(memory_size)  # p
        self.row_orders: list[list[int]] = [[] for _ in range(memory_size)]
        self.column_orders: list[list[int]] = [[] for _ in range(memory_size)]
        self.order: list[int] = []

    def update(self, slots: Sequence[int], weights: Sequence[float]) -> None:
        """Eq. 19-20, prune, then p; slots may repeat, -1 is none."""
        size = len(self.precedence)
        written = np.zeros(size)
        given: list[int] = []
        for slot, weight in zip(slots, weights, strict=True):
            if slot >= 0:
                written[slot] += weight
                if slot not in given:
                    given.append(slot)
        for i in range(size):
            for j in range(size):
                self.incoming[i, j] *= 1 - written[i]
                if self.decay_sources:
                    self.incoming[i, j] *= 1 - written[j]
                if i != j:
                    self.incoming[i, j] += written[i] * self.precedence[j]
        for i in given:
            rows = self.row_orders
            rows[i] = self._prune(self.incoming[i], rows[i], self.order)
        for j in self.order:
            columns = self.column_orders
            columns[j] = self._prune(self.incoming[:, j], columns[j], given)
        self.precedence = (1 - written.sum()) * self.precedence + written
        self.order = self._prune(self.precedence, self.order, given)

    def _prune(self, values: np.ndarray, old: list[int], new: list[int]) -> list[int]:
        """Zeroes, in place, all but the K_L largest; returns the others from the largest on."""
        candidates = [slot for slot in old if slot not in new] + new
        assert set(np.flatnonzero(values)) <= set(candidates)
        kept = sorted(candidates, key=lambda slot: -values[slot])[: self.num_links]
        values[[slot for slot in range(len(values)) if slot not in kept]] = 0.0
        return [slot for slot in kept if values[slot] > 0]

    def forward(self, weights: np.ndarray) -> np.ndarray:
        """f = N w (eq. 21)."""
        return self.incoming @ weights

    def backward(self, weights: np.ndarray) -> np.ndarray:
        """b = P w (eq. 22)."""
        return self.incoming.T @ weights


class Episode(NamedTuple):
    """What one batch row did in T steps."""

    reads: np.ndarray  # [T, R, W]
    read_slots: np.ndarray  # [T, R, K], -1 where fewer words had weight
    read_weights: np.ndarray  # [T, R, K]
    oldest: np.ndarray  # [T]
    memory: np.ndarray  # M_T, [N, W]
    links: Links


def episode(
    keys: np.ndarray,
    strengths: np.ndarray,
    modes: np.ndarray,
    adds: np.ndarray,
    write_gates: np.ndarray,
    interpolation_gates: np.ndarray,
    *,
    memory_size: int,
    top_k: int,
    num_links: int,
    decay_sources: bool = False,
    delta: float = 0.005,
    gamma: float | None = None,
) -> Episode:
    """Runs one batch row on squashed controls, [T, R, ...]; adds [T, W] and gates [T].

    `gamma` sharpens the read weights: w^gamma / sum w^gamma of the K that are kept.
    """
    steps, heads, size = keys.shape
    memory = np.zeros((memory_size, size))
    written = np.zeros(memory_size, dtype=bool)
    accessed = np.full(memory_size, -1.0)  # last step with w^W + w^R > delta
    place = np.arange(memory_size, dtype=float)  # order inside a step, for exact agreement
    previous: list[dict[int, float]] = [{} for _ in range(heads)]
    out = Episode(
        np.zeros((steps, heads, size)),
        np.full((steps, heads, top_k), -1),
        np.zeros((steps, heads, top_k)),
        np.zeros(steps, dtype=int),
        memory,
        Links(memory_size, num_links, decay_sources=decay_sources),
    )
    for t in range(steps):
        alpha, again = write_gates[t], interpolation_gates[t]
        oldest = int(np.lexsort((place, accessed))[0])
        out.oldest[t] = oldest
        # w^W = alpha (again mean_r w^R_{t-1} + (1 - again) I)
        sequence = [
            (slot, alpha * again * value / heads)
            for reads in previous
            for slot, value in reads.items()
        ]
        sequence.append((oldest, alpha * (1 - again)))
        memory[oldest] = 0.0
        written[oldest] = True
        for slot, value in sequence:
            memory[slot] += value * adds[t]
        out.links.update([slot for slot, _ in sequence], [value for _, value in sequence])
        access: list[tuple[int, float]] = []
        for r in range(heads):
            before = np.zeros(memory_size)
            for slot, value in previous[r].items():
                before[slot] = value
            # c over the K words most similar to the key
            known = [(cosine(keys[t, r], memory[i]), i) for i in range(memory_size) if written[i]]
            best = sorted(known, key=lambda pair: (-pair[0], pair[1]))[:top_k]
            exps = np.exp(strengths[t, r] * np.array([score for score, _ in best]))
            content = np.zeros(memory_size)
            content[[slot for _, slot in best]] = exps / exps.sum()
            mixed = (
                modes[t, r, 0] * out.links.backward(before)
                + modes[t, r, 1] * content
                + modes[t, r, 2] * out.links.forward(before)
            )
            kept = np.lexsort((np.arange(memory_size), -mixed))[:top_k]
            previous[r] = {int(slot): float(mixed[slot]) for slot in kept if mixed[slot] > 0}
            if gamma is not None:
                total = sum(value**gamma for value in previous[r].values())
                previous[r] = {slot: v**gamma / total for slot, v in previous[r].items()}
            for k, (slot, value) in enumerate(previous[r].items()):
                out.read_slots[t, r, k] = slot
                out.read_weights[t, r, k] = value
                out.reads[t, r] += value * memory[slot]
                access.append((slot, value))
        # U^(2): the sum over heads of w^W + w^R against delta; reads before writes, first is newest
        for order, (slot, _) in enumerate(events := [*access, *sequence][::-1]):
            if sum(value for other, value in events if other == slot) > delta:
                accessed[slot], place[slot] = t, order
    return out
