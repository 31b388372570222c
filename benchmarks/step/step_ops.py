"""What `benchmarks.step` times: a part of a step, ready to be called many times.

This file has the parts of the dense memories. Those of the sparse ones are in `step_sparse`, cells
and networks in `step_cells`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.harness import Lap
from benchmarks.workload import Workload
from index.compiled import is_compiled, use_compiled
from sam.ops import (
    allocation_weights,
    content_weights,
    content_weights_plain,
    dense_access,
    dense_access_plain,
    directional_weights,
    dnc_usage,
    erase_add,
    erase_add_plain,
    ntm_weights,
    ntm_weights_plain,
    read_words,
    update_links,
)
from sam.ops.allocation import allocation_weights_plain, dnc_usage_plain
from sam.ops.linkage import directional_weights_plain, update_links_plain

PHASES = ("forward", "backward", "total")

Run = Callable[[], Any]
"""Makes all calls; returns their results, in which the tensors with a gradient are the outputs."""
Prepare = Callable[[int], Run]
"""Gets everything ready for so many calls."""


class Op(NamedTuple):
    """A part of a step, in one or more forms that give the same results."""

    part: str  # the model it belongs to, "dense", "cell" or "network"
    name: str
    memory_size: int  # N
    calls: int  # in a turn
    forms: dict[str, Prepare]  # see `forms_of`

    @property
    def key(self) -> str:
        return f"{self.part} {self.name} {self.memory_size}"


def forms_of(
    uncompiled: Prepare, *, plain: Prepare | None = None, compiled: Prepare | None = None
) -> dict[str, Prepare]:
    """The forms of a part, by name.

    Args:
        uncompiled: what the library runs where there are no compiled forms; timed with them off.
        plain: the readable form of it, where there is one; with compiled forms off as well.
        compiled: what the library runs with compiled forms, where there is one; it is left out
            where they are not to be had or not wanted.
    """
    forms = {"uncompiled": _with_compiled(False, uncompiled)}
    if plain is not None:
        forms["plain"] = _with_compiled(False, plain)
    if compiled is not None and is_compiled(None, torch.device("cpu"), torch.float32):
        forms["compiled"] = _with_compiled(True, compiled)
    return forms


def _with_compiled(on: bool, prepare: Prepare) -> Prepare:
    """All of it with compiled forms, or without."""

    def prepared(calls: int) -> Run:
        with use_compiled(on):
            run = prepare(calls)

        def running() -> Any:
            with use_compiled(on):
                return run()

        return running

    return prepared


def timed(prepare: Prepare, calls: int, lap: Lap) -> None:
    """Makes the calls, then takes all gradients at once: phases "forward" and "backward".

    What has to be there first goes to a phase "prepare". Where no result has a gradient there is no
    "backward". The gradients of the outputs are ones.
    """
    run = prepare(calls)
    lap("prepare")
    results = run()
    lap("forward")
    outputs = [*outputs_of(results)]
    if outputs:
        grads = [torch.ones_like(output) for output in outputs]
        lap("prepare")
        torch.autograd.backward(outputs, grads)
        lap("backward")


def per_call(phases: Mapping[str, Sequence[float]], calls: int) -> dict[str, list[float]]:
    """Seconds of a call per phase and round, without what was only preparation."""
    found = {name: [s / calls for s in phases[name]] for name in PHASES[:2] if name in phases}
    total = [sum(both, 0.0) for both in zip(*found.values(), strict=True)]
    return found | {"total": total}


def outputs_of(results: Any) -> Iterator[Tensor]:
    """The tensors with a gradient, in lists and tuples of any depth."""
    if isinstance(results, Tensor) and results.requires_grad:
        yield results
    elif isinstance(results, list | tuple):
        for result in results:
            yield from outputs_of(result)


def fresh(value: Any) -> Any:
    """Inputs of one call: the same numbers, not copied, with gradients of their own."""
    if isinstance(value, Tensor):
        return value.detach().requires_grad_(value.is_floating_point())
    if isinstance(value, tuple):
        fields = [fresh(field) for field in value]
        return type(value)(*fields) if hasattr(value, "_fields") else tuple(fields)
    return value


def pure(function: Callable[..., Any], *given: Any) -> Prepare:
    """Calls of a function that do not depend on each other."""

    def prepare(calls: int) -> Run:
        inputs = [fresh(given) for _ in range(calls)]
        return lambda: [function(*values) for values in inputs]

    return prepare


def fewer(calls: int, memory_size: int) -> int:
    """How many calls over N words take about as long as `calls` over 64."""
    return max(2, calls * 64 // memory_size)


def dense_ops(workload: Workload, memory_size: int, calls: int) -> Iterator[Op]:
    """The parts of NTM, DAM and DNC, on random inputs of H heads, as many of them as SAM has."""
    batch_size, heads, size = workload.batch_size, workload.num_heads, workload.word_size
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(batch_size, *shape, generator=generator)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(batch_size, *shape, generator=generator)

    def weights(*shape: int) -> Tensor:
        return normal(*shape).softmax(-1)

    words, keys, strengths = normal(memory_size, size), normal(heads, size), 1 + uniform(heads)
    read, write, before = weights(heads, memory_size), weights(1, memory_size), weights(memory_size)
    links = uniform(memory_size, memory_size) / memory_size
    links.diagonal(dim1=1, dim2=2).zero_()
    lru_slots = torch.arange(heads).repeat(batch_size, 1)
    alpha, gamma, adds = uniform(heads), uniform(heads), normal(heads, size)
    lookup, gates = (keys, strengths), (uniform(heads), weights(heads, 3), 1 + uniform(heads))
    used, freed = uniform(memory_size), uniform(heads)

    # Of a step's write weights no gradient is asked for.
    def access(*given: Tensor) -> tuple[Tensor, ...]:
        found = dense_access(*given)
        return found.reads, found.read_weights, found.words

    def access_plain(*given: Tensor) -> tuple[Tensor, ...]:
        found = dense_access_plain(*given)
        return found.reads, found.read_weights, found.words

    both: dict[str, tuple[Callable[..., Any], Callable[..., Any] | None, tuple[Tensor, ...]]] = {
        "content_weights": (content_weights, content_weights_plain, (*lookup, words)),
        "ntm_weights": (ntm_weights, ntm_weights_plain, (*lookup, *gates, read, words)),
        "erase_add": (erase_add, erase_add_plain, (words, read, uniform(heads, size), adds)),
        "read_words": (read_words, None, (words, read)),
        "dense_access": (
            access,
            access_plain,
            (words, read, lru_slots, alpha, gamma, adds, *lookup),
        ),
        "allocation_weights": (allocation_weights, allocation_weights_plain, (used,)),
        "dnc_usage": (dnc_usage, dnc_usage_plain, (used, write, read, freed)),
        "update_links": (update_links, update_links_plain, (links, before, write.squeeze(1))),
        "directional_weights": (directional_weights, directional_weights_plain, (links, read)),
    }
    for name, (uncompiled, plain, given) in both.items():
        forms = forms_of(
            pure(uncompiled, *given), plain=None if plain is None else pure(plain, *given)
        )
        yield Op("dense", name, memory_size, fewer(calls, memory_size), forms)
