"""The parts of a step of SAM and of SDNC, for `benchmarks.step`.

Their memory of 2^20 slots was written to for 40 steps, and they are given what the interface makes
of the next.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor

from benchmarks.step.step_access import (
    Ready,
    chained,
    raw_step,
    sam_at_once,
    sam_op_by_op,
    sdnc_at_once,
    sdnc_op_by_op,
    stepped,
    uncompiled_step,
    write_and_read,
)
from benchmarks.step.step_cells import written
from benchmarks.step.step_ops import Op, Prepare, Run, forms_of, pure
from benchmarks.workload import Workload
from sam.fast.dispatch import compiled_forms
from sam.ops import SparseWeights, content_read, content_read_plain, mix_reads, squash_plain
from sam.ops.mixing import mix_reads_plain

MEMORY_SIZE = 2**20


def sparse_ops(workload: Workload, name: str, calls: int) -> Iterator[Op]:
    """The parts of a step of the model with that name, "sam" or "sdnc"."""
    cell, state, hidden = written(workload, name, MEMORY_SIZE)
    with torch.no_grad():
        controls = cell.interface(hidden)
    order = state.memory.order.clone()
    lru_slots, memory = state.memory.order.lru_slots(), cast(Any, cell.memory)
    ready = Ready(
        cell,
        hidden,
        controls,
        state.memory,
        order,
        lru_slots,
        workload.top_k,
        memory.access_threshold,
    )
    parts = {
        "interface": _interface(ready),
        "order.lru_slots": forms_of(_lru_slots(ready)),
        "order.record_access": forms_of(_record_access(ready)),
        "index.exchange": forms_of(_exchange(ready), compiled=_exchange(ready)),
        **(_of_sam(ready) if name == "sam" else _of_sdnc(ready)),
    }
    for key, forms in parts.items():
        yield Op(name.upper(), key, MEMORY_SIZE, calls, forms)


def _interface(ready: Ready) -> dict[str, Prepare]:
    interface = ready.cell.interface
    layout: Any = tuple((field.shape, field.activation) for field in interface.fields)

    def plain(hidden: Tensor) -> tuple[Tensor, ...]:
        return squash_plain(interface.linear(hidden), layout)

    def prepare(function: Callable[[Tensor], Any], calls: int) -> Run:
        interface.zero_grad(set_to_none=True)
        return pure(function, ready.hidden)(calls)

    return forms_of(partial(prepare, interface), plain=partial(prepare, plain))


def _lru_slots(ready: Ready) -> Prepare:
    def prepare(calls: int) -> Run:
        # As usual, each call finds that all slots handed out before have been accessed.
        orders = [ready.order.clone() for _ in range(calls)]
        return lambda: [order.lru_slots() for order in orders]

    return prepare


def _record_access(ready: Ready) -> Prepare:
    both = ready.state.read_weights, ready.state.write_weights
    slots = torch.cat([weights.slots.flatten(1) for weights in both], 1)
    values = torch.cat([weights.values.flatten(1) for weights in both], 1)

    def prepare(calls: int) -> Run:
        order = ready.order.clone()
        return lambda: [order.record_access(slots, values, ready.threshold) for _ in range(calls)]

    return prepare


def _exchange(ready: Ready) -> Prepare:
    slots = ready.state.write_weights.slots.flatten(1)
    words = ready.state.words.peek(slots)

    def prepare(calls: int) -> Run:
        index, keys = ready.state.index.clone(), ready.controls.keys
        return lambda: [index.exchange(slots, words, keys, ready.top_k) for _ in range(calls)]

    return prepare


def _of_sam(ready: Ready) -> dict[str, dict[str, Prepare]]:
    near, words = _nearest(ready)
    given = ready.controls.keys, ready.controls.strengths, words, near >= 0
    return {
        "sparse_access": forms_of(chained(ready, sam_at_once), plain=chained(ready, sam_op_by_op)),
        "sparse_write, read, sparse_read": forms_of(chained(ready, write_and_read)),
        "content_read": forms_of(
            pure(content_read, *given), plain=pure(content_read_plain, *given)
        ),
        "memory.step": forms_of(stepped(ready, uncompiled_step), compiled=stepped(ready, raw_step)),
    }


def _of_sdnc(ready: Ready) -> dict[str, dict[str, Prepare]]:
    write, read = ready.state.write_weights, ready.state.read_weights
    slots, values = write.slots.squeeze(1), write.values.squeeze(1)

    def update(compiled: bool, calls: int) -> Run:
        links, below = ready.state.links.clone(), ready.state.order.slot_bound

        def run() -> SparseWeights:
            for _ in range(calls):
                if compiled:
                    compiled_links().update(links, slots.numpy(), values.detach().numpy())
                else:
                    links.update(slots, values, slot_bound=below)
            return links.precedence

        return run

    def follow(calls: int) -> Run:
        links, given = ready.state.links, (read.slots, read.values.detach())
        return lambda: [links.follow(*given) for _ in range(calls)]

    near, words = _nearest(ready)
    keys, strengths = ready.controls.keys, ready.controls.strengths
    content = SparseWeights(near, content_read_plain(keys, strengths, words, near >= 0)[1])
    onwards, back = ready.state.links.follow(read.slots, read.values)
    given = ready.controls.modes, back, content, onwards, ready.top_k
    at_once, plain = chained(ready, sdnc_at_once), chained(ready, sdnc_op_by_op)
    return {
        "linked_access": forms_of(plain, compiled=at_once),
        "SparseLinks.update": forms_of(partial(update, False), compiled=partial(update, True)),
        "SparseLinks.follow": forms_of(follow),
        "mix_reads": forms_of(pure(mix_reads, *given), plain=pure(mix_reads_plain, *given)),
    }


def compiled_links() -> Any:
    """The compiled form of the links' update."""
    return compiled_forms().linked_step.compiled_links


def _nearest(ready: Ready) -> tuple[Tensor, Tensor]:
    """The slots nearest to the keys [B, H, K] and their words."""
    slots = ready.state.index.search(ready.controls.keys, ready.top_k).slots
    return slots, ready.state.words.peek(slots)
