"""Words are written and read once more to the last bit, however a step has rounded."""

import pytest
import torch
from torch import Tensor

from sam.memory.word_journal import (
    PastWrite,
    expanded,
    note_reads,
    note_writes,
    read_again,
    write_again,
)
from sam.ops.sparse import SparseWeights
from sam.store.word_store import WordStore

B, V, J, W, N = 3, 2, 4, 5, 9


def written(store: WordStore, write: SparseWeights, adds: Tensor, once: bool) -> WordStore:
    """The write, as loops do it that may round product and sum together."""
    erased = write.slots[:, :, -1]
    if not once:
        return store.write(write.slots, write.values, adds, erase=erased)
    store = store.erase(erased)
    rows = store.buffer.rows
    for b in range(B):
        for v in range(V):
            for j in range(J):
                place = 1 + int(write.slots[b, v, j])
                if place:
                    both = (
                        rows[place, b].double()
                        + write.values[b, v, j].double() * adds[b, v].double()
                    )
                    rows[place, b] = both.to(rows.dtype)
    return store


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("once", [False, True])
@pytest.mark.parametrize("slots", ["all over", "a few", "with none"])
def test_writes(dtype: torch.dtype, once: bool, slots: str) -> None:
    """Slots come to several heads, repeatedly to one, and are written over where they were read."""
    low, high = (-1 if slots == "with none" else 0), (3 if slots == "a few" else N)
    store = WordStore(B, N, W, dtype=dtype, words=torch.randn(B, N, W, dtype=dtype))
    copy, noted = store.clone(), []
    for step in range(6):
        write = SparseWeights(torch.randint(low, high, (B, V, J)), torch.rand(B, V, J, dtype=dtype))
        write.slots[:, :, -1] = torch.stack([torch.randperm(N)[:V] for _ in range(B)])
        adds = torch.randn(B, V, W, dtype=dtype)
        told = torch.zeros_like(adds) if step == 3 else adds  # as a form that says nothing of it
        before = store.peek(write.slots[:, :, :-1].flatten(1))
        store = written(store, write, adds, once)
        after = store.peek(write.slots.flatten(1))
        writes = note_writes(before, write, told, after, like=False)
        if step != 3 and dtype == torch.float32:
            assert writes.digits is None, "the words added suffice"
        noted.append((write, writes))
    rows = [copy.rows_of(write.slots, N).view_as(write.slots) for write, _ in noted]
    again = [
        PastWrite(
            write.slots,
            place,
            write.values,
            writes.adds,
            writes.once,
            None if writes.digits is None else expanded(writes.digits),
        )
        for place, (write, writes) in zip(rows, noted, strict=True)
    ]
    write_again(copy.buffer.flat(), again)
    assert torch.equal(copy.buffer.rows, store.buffer.rows)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_reads(dtype: torch.dtype) -> None:
    words, values = torch.randn(B, V, J, W, dtype=dtype), torch.rand(B, V, J, dtype=dtype)
    for reads in (
        torch.matmul(values[:, :, None], words)[:, :, 0].flatten(1),
        (values.double()[..., None] * words.double()).sum(2).to(dtype).flatten(1),
        torch.randn(B, V * W, dtype=dtype),
    ):
        noted = note_reads(words, values, reads, like=True)
        assert torch.equal(read_again(words, values, noted, None), reads)
        picked = torch.tensor([2, 0, 2])
        some = read_again(words[picked], values[picked], noted, picked)
        assert torch.equal(some, reads[picked])
