"""The compiled twin of `sam.fast.linked_access`: gives the loops of `sam.fast.loops` their arrays.

Imports numba, so to be imported where it is known that compiled twins are used. The loops do not
look where they read and write: shapes, dtypes and slots are looked at here.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sam.errors import ShapeError
from sam.fast.linked_access import Inputs, Outcome, Request
from sam.fast.loops import linked_backward, linked_forward
from sam.store.gradient_tape import Tape

Shape = tuple[int, ...]


def _packed(name: str, tensor: Tensor, shape: Shape, dtype: torch.dtype) -> Tensor:
    """The same numbers without a graph and without gaps.

    Raises:
        ShapeError: shape or dtype are not these.
    """
    if tensor.shape != shape or tensor.dtype != dtype:
        raise ShapeError(
            f"{name}: expected {dtype} of shape {[*shape]}, "
            f"got {tensor.dtype} of shape {[*tensor.shape]}"
        )
    return tensor.detach().contiguous()


def _check_slots(name: str, right: bool, below: int) -> None:
    if not right:
        raise ShapeError(f"{name}: expected slots in [-1, {below}), got one that is not")


def _cut(block: np.ndarray, shapes: Sequence[Shape]) -> list[np.ndarray]:
    """Arrays of these shapes, one after the other in one piece of memory."""
    cut, start = [], 0
    for shape in shapes:
        stop = start + math.prod(shape)
        cut.append(block[start:stop].reshape(shape))
        start = stop
    return cut


def _kept_shapes(near: Tensor, top_k: int, size: int) -> tuple[Shape, ...]:
    """Of what a read keeps in one piece: words read and compared, cosines, c, and b, c and f."""
    batch_size, heads, width = near.shape
    per_head, found = (batch_size, heads), (batch_size, heads, width)
    return (*per_head, top_k, size), (*found, size), found, found, (*per_head, 3, top_k)


def forward(request: Request, given: Inputs) -> Outcome:
    """Writes, renews links, finds, follows links, mixes, reads.

    Raises:
        ShapeError: a shape or dtype is not as `linked_access` says, or a slot is out of range.
    """
    store, links, find, read_slots, oldest, slots, below, top_k, _ = request
    store.check()
    if below > store.capacity:
        store.buffer.grow(below, store.memory_size)
    links.reserve(below)
    below, memory = min(below, store.capacity), store.buffer.flat()
    batch_size, dtype, size = store.batch_size, memory.dtype, memory.shape[1]
    heads, count = given.before.shape[1:]
    width, gate, per_head = heads * count + 1, (batch_size, 1), (batch_size, heads)
    before = *per_head, count
    shapes = before, gate, gate, (*gate, size), (*per_head, size), per_head, (*per_head, 3)
    named = zip(Inputs._fields, given, shapes, strict=True)
    given = Inputs(*[_packed(name, value, shape, dtype) for name, value, shape in named])
    values, alpha, gamma, adds, _, strengths, modes = (tensor.numpy() for tensor in given)
    read_slots = _packed("slots of before", read_slots, before, torch.int64).numpy()
    oldest = _packed("oldest", oldest, gate, torch.int64).numpy()
    words, real, whole = memory.numpy(), values.dtype, read_slots.dtype

    write_values, write_rows = np.empty((*gate, width), real), np.empty(batch_size * width, whole)
    written, write_slots = np.empty((batch_size, width, size), real), slots.numpy()
    right = linked_forward.write(
        *(words, below, values, read_slots, oldest, alpha, gamma, adds),
        *(write_slots, write_values, write_rows, written),
    )
    _check_slots("before, oldest", right, below)
    links.update_arrays(write_slots[:, 0], write_values[:, 0])
    along = links.follow_arrays(read_slots, values)

    with store.buffer.changing():
        near, cosine = find(slots.squeeze(1), torch.from_numpy(written))
    found = *per_head, near.shape[-1]
    near = _packed("slots found", near, found, torch.int64)
    cosine = _packed("cosines found", cosine, found, dtype).numpy()
    shapes = _kept_shapes(near, top_k, size)
    kept = np.empty(sum(map(math.prod, shapes)), real)
    rows = np.empty(batch_size * heads * (top_k + found[2]), whole)
    reads, read = np.empty((*per_head, size), real), np.empty((*per_head, top_k), real)
    chosen = np.empty(read.shape, whole)
    right = linked_forward.read(
        *(
            *(words, below, near.numpy(), cosine, strengths, modes, *along),
            *_cut(rows, [(chosen.size,), (near.numel(),)]),
            *(*_cut(kept, shapes), reads, read, chosen),
        )
    )
    _check_slots("slots found", right, below)
    results = torch.from_numpy(read), torch.from_numpy(chosen), torch.from_numpy(write_values)
    return Outcome(
        torch.from_numpy(reads),
        *results,
        rows=(torch.from_numpy(write_rows), torch.from_numpy(rows)),
        saved=(*given, near, torch.from_numpy(kept), *results),
    )


def backward(
    tape: Tape,
    rows: Sequence[Tensor],
    saved: Sequence[Tensor],
    grad_reads: Tensor | None,
    grad_values: Tensor | None,
) -> tuple[Tensor | None, ...]:
    """Gradients of the inputs, in their order; arguments as those of the torch form."""
    grad_memory = tape.begin()[0].numpy()
    write_rows, rows_read = (part.numpy() for part in rows)
    values, alpha, gamma, adds, *controls = (tensor.numpy() for tensor in saved[:7])
    near, kept, read, chosen, write_values = saved[7:]
    grad_controls: tuple[Tensor | None, ...] = (None, None, None)
    if grad_reads is not None or grad_values is not None:
        grad_reads = torch.zeros_like(saved[4]) if grad_reads is None else grad_reads
        grad_values = torch.zeros_like(read) if grad_values is None else grad_values
        made = [np.empty_like(array) for array in controls]
        shapes = _kept_shapes(near, read.shape[2], adds.shape[2])
        linked_backward.read_backward(
            *(
                *(grad_memory, *_cut(rows_read, [(read.numel(),), (near.numel(),)]), *controls),
                *(near.numpy(), *_cut(kept.numpy(), shapes), read.numpy(), chosen.numpy()),
                *(grad_reads.contiguous().numpy(), grad_values.contiguous().numpy(), *made),
            )
        )
        grad_controls = tuple(map(torch.from_numpy, made))
    made = [np.empty_like(array) for array in (values, alpha, gamma, adds)]
    linked_backward.write_backward(
        *(grad_memory, write_rows, values, alpha, gamma, adds, write_values.numpy(), *made)
    )
    return (*map(torch.from_numpy, made), *grad_controls)
