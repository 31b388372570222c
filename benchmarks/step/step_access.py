"""The memory access of SAM and of SDNC, whole and op by op, for `benchmarks.step`.

What hands the memory on from step to step does so here as well.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from benchmarks.step.step_ops import Prepare, Run, fresh
from sam.cell import MemoryCell
from sam.fast.dispatch import compiled_forms
from sam.fast.fused_access import fused_access, fused_step
from sam.memory.sam import SAMMemory
from sam.memory.sparse_steps import StepStart, find_nearest
from sam.ops import (
    SparseWeights,
    WordStore,
    content_read_plain,
    sparse_read,
    sparse_write,
    write_values,
)
from sam.ops.mixing import mix_reads_plain
from sam.store.companions import join


class Ready(NamedTuple):
    """A memory between two steps, and what comes next."""

    cell: MemoryCell
    hidden: Tensor  # h, [B, C]
    controls: Any  # that the interface makes of it
    state: Any  # of the memory; the slots to write over have been handed out
    order: Any  # before they were
    lru_slots: Tensor  # these slots, [B, V]
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


def uncompiled_step(values: Tensor, state: Any, cell: MemoryCell) -> tuple[Tensor, Any]:
    """Squashes, then takes a step."""
    return fused_step(cast(SAMMemory, cell.memory), cell.interface.squashed(values), state)


def raw_step(values: Tensor, state: Any, cell: MemoryCell) -> tuple[Tensor, Any]:
    """Both in one."""
    memory: Any = cell.memory
    memory.check_state(state, values)
    return compiled_forms().memory_step.compiled_step(memory, values, state, None)


def sam_at_once(given: Any, state: Any, ready: Ready) -> tuple[Tensor, SparseWeights, WordStore]:
    start = StepStart(state.read_weights, ready.lru_slots, given.write_gates)
    memory = cast(SAMMemory, ready.cell.memory)
    reads, read, _, words = fused_access(memory, given, state, start)
    return reads, read, words


def sdnc_at_once(given: Any, state: Any, ready: Ready) -> tuple[Tensor, SparseWeights, WordStore]:
    start = StepStart(state.read_weights, ready.lru_slots, given.write_gates)
    access = compiled_forms().linked_step.linked_access
    reads, read, _, words = access(ready.cell.memory, given, state, start)
    return reads, read, words


def write_and_read(given: Any, state: Any, ready: Ready) -> tuple[Tensor, SparseWeights, WordStore]:
    """Without a search: a step reads with the weights, and from the slots, of the one before."""
    below, write, read = state.order.slot_bound, state.write_weights, state.read_weights
    words = sparse_write(state.words, write, given.adds, erase=ready.lru_slots, slot_bound=below)
    gathered, words = words.read(read.slots, slot_bound=below)
    return sparse_read(gathered, read.values), read, words


def sam_op_by_op(given: Any, state: Any, ready: Ready) -> tuple[Tensor, SparseWeights, WordStore]:
    below, before = state.order.slot_bound, state.read_weights
    slots = torch.cat([before.slots, ready.lru_slots.unsqueeze(2)], 2)
    values = write_values(before.values, given.write_gates, given.interpolation_gates)
    words, near = _write_and_find(given, state, ready, SparseWeights(slots, values))
    gathered, words = words.read(near, slot_bound=below)
    reads, values = content_read_plain(given.keys, given.strengths, gathered, near >= 0)
    return reads, SparseWeights(near, values), words


def sdnc_op_by_op(given: Any, state: Any, ready: Ready) -> tuple[Tensor, SparseWeights, WordStore]:
    below, before = state.order.slot_bound, state.read_weights
    slots = torch.cat([before.slots.flatten(1), ready.lru_slots], 1)
    mean = before.values.flatten(1).unsqueeze(1) / before.values.shape[1]
    values = write_values(mean, given.write_gates, given.interpolation_gates)
    words, near = _write_and_find(given, state, ready, SparseWeights(slots.unsqueeze(1), values))
    state.links.update(slots, values.detach().squeeze(1), slot_bound=below)
    onwards, back = state.links.follow(before.slots, before.values.detach())
    gathered, words = words.read(near, slot_bound=below)
    values = content_read_plain(given.keys, given.strengths, gathered, near >= 0)[1]
    content = SparseWeights(near, values)
    read = mix_reads_plain(given.modes, back, content, onwards, ready.top_k)
    gathered, words = words.read(read.slots, slot_bound=below)
    return sparse_read(gathered, read.values), read, words


def _write_and_find(
    given: Any, state: Any, ready: Ready, write: SparseWeights
) -> tuple[WordStore, Tensor]:
    """The words after a write, and the slots nearest to the keys."""
    below, slots = state.order.slot_bound, write.slots.flatten(1)
    words = sparse_write(state.words, write, given.adds, erase=ready.lru_slots, slot_bound=below)
    return words, find_nearest(
        state, slots, words.peek(slots, slot_bound=below), given.keys, ready.top_k
    ).slots
