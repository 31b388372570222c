"""The memory access of SAM and of SDNC, whole and op by op, for `benchmarks.step`.

What hands the memory on from step to step does so here as well.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.step.step_ops import Prepare, Run, fresh
from index import Neighbors
from sam.cell import MemoryCell
from sam.fast.fused_access import sparse_access
from sam.fast.linked_access import linked_access
from sam.memory.together import join
from sam.ops import (
    SparseWeights,
    WordStore,
    content_read_plain,
    sparse_read,
    sparse_write,
    write_values,
)
from sam.ops.mixing import mix_reads_plain


class Ready(NamedTuple):
    """A memory between two steps, and what comes next."""

    cell: MemoryCell
    hidden: Tensor  # h, [B, C]
    controls: Any  # that the interface makes of it
    state: Any  # of the memory; the slots to write over have been handed out
    order: Any  # before they were
    oldest: Tensor  # these slots, [B, V]
    top_k: int
    threshold: float  # delta


# Takes controls, a state of the memory and what is ready; returns what was read, with which weights
# and the words after it.
Access = Callable[[Any, Any, Ready], tuple[Tensor, SparseWeights, WordStore]]


def chained(ready: Ready, access: Access) -> Prepare:
    """Calls that pass words and read weights on, each with controls of its own.

    All write over the same least recently accessed words: no call has more to search than another.
    """

    def prepare(calls: int) -> Run:
        start, controls = ready.state.clone(), [fresh(ready.controls) for _ in range(calls)]

        def run() -> list[Tensor]:
            state, results = start, []
            for given in controls:
                reads, read, words = access(given, state, ready)
                state = state._replace(words=words, read_weights=read)
                results.append(reads)
            return results

        return run

    return prepare


def _find(given: Any, state: Any, ready: Ready, slots: Tensor, words: Tensor) -> Neighbors:
    state.index.reserve(state.order.high)
    return state.index.exchange(slots, words, given.keys, ready.top_k)


def _request(given: Any, state: Any, ready: Ready) -> dict[str, Any]:
    """The keyword arguments that `sparse_access` and `linked_access` have in common."""
    return {
        "find": partial(_find, given, state, ready),
        "before": state.read_weights,
        "oldest": ready.oldest,
        "below": state.order.high,
        "alpha": given.write_gates,
        "gamma": given.interpolation_gates,
        "adds": given.adds,
        "keys": given.keys,
        "strengths": given.strengths,
    }


# Takes what the interface's linear layer put out, a state of the memory and the cell.
Step = Callable[[Tensor, Any, MemoryCell], tuple[Tensor, Any]]


def stepped(ready: Ready, step: Step) -> Prepare:
    """Steps of a memory, one after the other, each with what the interface says of its own."""
    with torch.no_grad():
        values = ready.cell.interface.linear(ready.hidden)

    def prepare(calls: int) -> Run:
        start = join(ready.state.clone()._replace(order=ready.order.clone()))
        # Copies: the compiled step uses up what it is given.
        inputs = [values.clone().requires_grad_() for _ in range(calls)]

        def run() -> list[Tensor]:
            state, results = start, []
            for given in inputs:
                reads, state = step(given, state, ready.cell)
                results.append(reads)
            return results

        return run

    return prepare


def lean_step(values: Tensor, state: Any, cell: MemoryCell) -> tuple[Tensor, Any]:
    """Squashes, then takes a step."""
    return cell.memory.step(cell.interface.squashed(values), state)


def raw_step(values: Tensor, state: Any, cell: MemoryCell) -> tuple[Tensor, Any]:
    """Both in one."""
    memory: Any = cell.memory
    return memory.step_raw(values, state, None)


def sam_at_once(given: Any, state: Any, ready: Ready) -> tuple[Tensor, SparseWeights, WordStore]:
    reads, read, _, words = sparse_access(state.words, **_request(given, state, ready))
    return reads, read, words


def sdnc_at_once(given: Any, state: Any, ready: Ready) -> tuple[Tensor, SparseWeights, WordStore]:
    request = _request(given, state, ready) | {"modes": given.modes, "top_k": ready.top_k}
    reads, read, _, words = linked_access(state.words, state.links, **request)
    return reads, read, words


def write_and_read(given: Any, state: Any, ready: Ready) -> tuple[Tensor, SparseWeights, WordStore]:
    """Without a search: a step reads with the weights, and from the slots, of the one before."""
    below, write, read = state.order.high, state.write_weights, state.read_weights
    words = sparse_write(state.words, write, given.adds, erase=ready.oldest, below=below)
    gathered, words = words.read(read.slots, below=below)
    return sparse_read(gathered, read.values), read, words


def sam_op_by_op(given: Any, state: Any, ready: Ready) -> tuple[Tensor, SparseWeights, WordStore]:
    below, before = state.order.high, state.read_weights
    slots = torch.cat([before.slots, ready.oldest.unsqueeze(2)], 2)
    values = write_values(before.values, given.write_gates, given.interpolation_gates)
    words, near = _write_and_find(given, state, ready, SparseWeights(slots, values))
    gathered, words = words.read(near, below=below)
    reads, values = content_read_plain(given.keys, given.strengths, gathered, near >= 0)
    return reads, SparseWeights(near, values), words


def sdnc_op_by_op(given: Any, state: Any, ready: Ready) -> tuple[Tensor, SparseWeights, WordStore]:
    below, before = state.order.high, state.read_weights
    slots = torch.cat([before.slots.flatten(1), ready.oldest], 1)
    mean = before.values.flatten(1).unsqueeze(1) / before.values.shape[1]
    values = write_values(mean, given.write_gates, given.interpolation_gates)
    words, near = _write_and_find(given, state, ready, SparseWeights(slots.unsqueeze(1), values))
    state.links.update(slots, values.detach().squeeze(1), below=below)
    onwards, back = state.links.follow(before.slots, before.values.detach())
    gathered, words = words.read(near, below=below)
    values = content_read_plain(given.keys, given.strengths, gathered, near >= 0)[1]
    content = SparseWeights(near, values)
    read = mix_reads_plain(given.modes, back, content, onwards, ready.top_k)
    gathered, words = words.read(read.slots, below=below)
    return sparse_read(gathered, read.values), read, words


def _write_and_find(
    given: Any, state: Any, ready: Ready, write: SparseWeights
) -> tuple[WordStore, Tensor]:
    """The words after a write, and the slots nearest to the keys."""
    below, slots = state.order.high, write.slots.flatten(1)
    words = sparse_write(state.words, write, given.adds, erase=ready.oldest, below=below)
    return words, _find(given, state, ready, slots, words.peek(slots, below=below)).slots
