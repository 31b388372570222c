"""Words of the next batch row are asked for while a row is at work.

A step of many rows touches more than a core's cache holds: each word that it writes or reads, and
each row of G in the backward pass, has left the cache since the last step. Prefetched one row ahead
they arrive in the meantime. Nothing is computed.
"""

from typing import Any

from index.compiled import lean_inline
from index.llvm.prefetch import prefetch_numbers
from sam.fast.loops.kernel_arrays import Memory


@lean_inline
def expect_words(slots: Any, words: Any, first: int) -> None:
    """Asks the processor for words that come next, in case they have left its cache.

    Args:
        slots: which, -1 for none, [n, m].
        words: by place, 1 + slot; [places, W], or wider.
        first: column in which a word begins.
    """
    size = words.shape[words.ndim - 1]
    for i in range(slots.shape[0]):
        for j in range(slots.shape[1]):
            prefetch_numbers(words, 1 + slots[i, j], first, size)


@lean_inline
def expect_written(b: int, lo: int, hi: int, step: Any, memory: Memory, exact: bool) -> None:
    """The words that batch row b will write, while those before it do; nothing behind the last."""
    if lo < b < hi:
        first, last = b * memory.store.shape[2], step.lru_slots[b : b + 1]
        expect_words(step.prev_slots[b], memory.store, first)
        expect_words(last, memory.store, first)
        if exact:
            expect_words(step.prev_slots[b], memory.units[b], 0)
            expect_words(last, memory.units[b], 0)


@lean_inline
def expect_grads(rows: Any, b: int, grad: Any) -> None:
    """Asks for the rows of G of a batch row, as `expect_words` does for words."""
    width = grad.shape[1]
    for head in range(rows.read.shape[1]):
        for k in range(rows.read.shape[2]):
            prefetch_numbers(grad, rows.read[b, head, k], 0, width)
            prefetch_numbers(grad, rows.prev[b, head, k], 0, width)
    for v in range(rows.lru.shape[1]):
        prefetch_numbers(grad, rows.lru[b, v], 0, width)
