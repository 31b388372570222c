"""DNC in plain NumPy loops, written from the papers' equations and not from our code.

One batch row at a time, one word at a time. The options are those of Csordas and Schmidhuber (2019)
and the several write heads of the DNC authors' code.
"""

from typing import Any, NamedTuple

import numpy as np

EPS = 1e-6  # of norms and of sharpening


class Episode(NamedTuple):
    """What one batch row did in T steps: after each step, the last state of all."""

    reads: np.ndarray  # [T, R, W]
    read_weights: np.ndarray  # [T, R, N]
    write_weights: np.ndarray  # [T, V, N]
    usage: np.ndarray  # [T, N]
    words: np.ndarray  # M_T, [N, W]
    links: np.ndarray  # L_T, [V, N, N]
    precedence: np.ndarray  # p_T, [V, N]


def content(key: np.ndarray, strength: float, words: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """softmax_i(beta D(k o m, M(i) o m))."""
    seen = key * mask
    powers = np.zeros(len(words))
    for i in range(len(words)):
        word = words[i] * mask
        norms = np.sqrt(seen @ seen + EPS) * np.sqrt(word @ word + EPS)
        powers[i] = np.exp(strength * (seen @ word) / norms)
    return powers / powers.sum()


def retention(read_weights: np.ndarray, free_gates: np.ndarray) -> np.ndarray:
    """psi(n) = prod_i (1 - f^i w^{r,i}(n))."""
    kept = np.ones(read_weights.shape[1])
    for n in range(len(kept)):
        for i in range(len(read_weights)):
            kept[n] *= 1 - free_gates[i] * read_weights[i, n]
    return kept


def usage(
    before: np.ndarray, write_weights: np.ndarray, read_weights: np.ndarray, free_gates: np.ndarray
) -> np.ndarray:
    """u_t from u_{t-1} and the weights of step t - 1."""
    kept = retention(read_weights, free_gates)
    after = np.zeros(len(before))
    for n in range(len(before)):
        untouched = 1.0
        for head in range(len(write_weights)):
            untouched *= 1 - write_weights[head, n]
        written = 1 - untouched
        after[n] = (before[n] + written - before[n] * written) * kept[n]
    return after


def allocation(used: np.ndarray, eps: float = 0.0) -> np.ndarray:
    """a(phi_j) = (1 - u(phi_j)) prod_{i<j} u(phi_i), phi by ascending usage."""
    weights = np.zeros(len(used))
    product = 1.0
    for n in sorted(range(len(used)), key=lambda n: used[n]):
        squeezed = eps + (1 - eps) * used[n]
        weights[n] = (1 - squeezed) * product
        product *= squeezed
    return weights


def links(before: np.ndarray, precedence: np.ndarray, write: np.ndarray) -> np.ndarray:
    """L_t from L_{t-1}, p_{t-1} and w^w_t."""
    after = np.zeros_like(before)
    for i in range(len(write)):
        for j in range(len(write)):
            if i != j:
                after[i, j] = (1 - write[i] - write[j]) * before[i, j] + write[i] * precedence[j]
    return after


def sharpen(weights: np.ndarray, power: float) -> np.ndarray:
    """S(d, s) of equation 2."""
    raised = ((weights + EPS) / (weights + EPS).max()) ** power
    return raised / raised.sum()


def write_weights_of(
    controls: Any, words: np.ndarray, used: np.ndarray, masks: np.ndarray
) -> np.ndarray:
    """w^w_t = g^w (g^a a + (1 - g^a) c), one head after the other."""
    used = used.copy()
    heads = []
    for v in range(len(controls.write_keys)):
        allocated = allocation(used)
        gate, choice = controls.write_gates[v], controls.allocation_gates[v]
        alike = content(controls.write_keys[v], controls.write_strengths[v], words, masks[v])
        heads.append(gate * (choice * allocated + (1 - choice) * alike))
        used = used + (1 - used) * gate * choice * allocated
    return np.array(heads)


def episode(
    controls: Any,
    start: Any,
    *,
    mask_floor: float = 0.0,
    deallocate: bool = False,
    sharpen_links: bool = False,
) -> Episode:
    """Runs one batch row on squashed controls [T, ...] from a state; both have arrays by name.

    Without masks every component is compared.
    """
    steps, reads, size = controls.read_keys.shape
    writes = controls.write_keys.shape[1]
    words, used, link, last = start.words, start.usage, start.links.copy(), start.precedence.copy()
    read, write = start.read_weights, start.write_weights
    words, memory_size = words.copy(), len(words)
    history: list[tuple[np.ndarray, ...]] = []
    for t in range(steps):
        now = type(controls)(*(None if field is None else field[t] for field in controls))
        write_masks, read_masks = np.ones((writes, size)), np.ones((reads, size))
        if now.read_masks is not None:
            write_masks = now.write_masks * (1 - mask_floor) + mask_floor
            read_masks = now.read_masks * (1 - mask_floor) + mask_floor
        kept = retention(read, now.free_gates)
        used = usage(used, write, read, now.free_gates)
        write = write_weights_of(now, words, used, write_masks)
        if deallocate:
            for n in range(memory_size):
                words[n] = words[n] * kept[n]
        for n in range(memory_size):  # all erases, then all adds
            for v in range(writes):
                words[n] = words[n] * (1 - write[v, n] * now.erases[v])
            for v in range(writes):
                words[n] = words[n] + write[v, n] * now.adds[v]
        for v in range(writes):
            link[v] = links(link[v], last[v], write[v])
            last[v] = (1 - write[v].sum()) * last[v] + write[v]
        previous, read = read, np.zeros((reads, memory_size))
        out = np.zeros((reads, size))
        for i in range(reads):
            pi = now.read_modes[i]
            alike = content(now.read_keys[i], now.read_strengths[i], words, read_masks[i])
            read[i] = pi[writes] * alike
            for v in range(writes):
                back, on = link[v].T @ previous[i], link[v] @ previous[i]
                if sharpen_links:
                    back = sharpen(back, now.backward_sharpness[i])
                    on = sharpen(on, now.forward_sharpness[i])
                read[i] += pi[v] * back + pi[writes + 1 + v] * on
            for n in range(memory_size):
                out[i] += read[i, n] * words[n]
        history.append((out, read, write, used))
    outs, read_history, write_history, usages = (
        np.array(part) for part in zip(*history, strict=True)
    )
    return Episode(outs, read_history, write_history, usages, words, link, last)
