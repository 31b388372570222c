"""Counting the bytes that a forward pass keeps for the backward pass."""

import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


def saved_bytes(forward: Callable[[], Any], *, apart_from: Iterable[Tensor] = ()) -> int:
    """Counts the bytes that a forward pass keeps for the backward pass.

    Autograd hands every tensor it saves to a hook, those that custom functions save included. A
    storage counts once, whole, however many tensors and views of it are saved.

    Args:
        forward: builds a graph and returns what holds it, such as the loss. What only graphs hold
            that are gone by then is not counted.
        apart_from: tensors that are there anyway, such as parameters and inputs.

    Returns:
        Bytes of the distinct storages saved, without those of `apart_from`.
    """
    known = {tensor.untyped_storage().data_ptr() for tensor in apart_from}
    kept: list[weakref.ref[Tensor]] = []

    def pack(tensor: Tensor) -> Tensor:
        saved = tensor.detach()  # the tensor itself would refer to the graph that holds it
        kept.append(weakref.ref(saved))
        return saved

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
        result = forward()
    storages = {}
    for reference in kept:
        if (saved := reference()) is not None:
            storage = saved.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    del result
    return sum(size for address, size in storages.items() if address not in known)


def bytes_per_step(
    saved: Callable[[int], int], *, batch_size: int, steps: tuple[int, int] = (50, 100)
) -> float:
    """Bytes kept per time step and batch row: the slope between two lengths.

    What is kept once, whatever the length, cancels.

    Args:
        saved: bytes kept for a sequence of so many steps.
        batch_size: B.
        steps: the two lengths, the shorter first.

    Raises:
        ValueError: the second length is not the longer one.
    """
    short, long = steps
    if short >= long:
        raise ValueError(f"steps: expected the shorter length first, got {steps}")
    return (saved(long) - saved(short)) / (long - short) / batch_size
