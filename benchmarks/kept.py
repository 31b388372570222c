"""What a forward pass keeps for the backward pass, piece by piece and operation by operation."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from torch import Tensor


class Kept(NamedTuple):
    """Storages that the same operations keep in the same way."""

    saved_by: tuple[str, ...]  # operations, each with the shape of what it sees of the storage
    dtype: str
    storages: float
    bytes: float  # of whole storages, of which a view may be all that is used


def kept_by(result: Tensor, length: int, *, apart_from: Iterable[Tensor] = ()) -> list[Kept]:
    """The distinct storages that the graph behind a result keeps; see `saved_bytes`.

    Args:
        result: of the forward pass.
        length: T; sizes that depend on it are given as such.
        apart_from: tensors that are there anyway, such as parameters.
    """
    known = {tensor.untyped_storage().data_ptr() for tensor in apart_from}
    savers: dict[int, set[str]] = {}
    whole: dict[int, tuple[str, int]] = {}
    for name, tensor in _saved(result.grad_fn):
        storage = tensor.untyped_storage()
        if (place := storage.data_ptr()) not in known:
            savers.setdefault(place, set()).add(f"{name} {_shape(tensor, length)}")
            whole[place] = str(tensor.dtype).removeprefix("torch."), storage.nbytes()
    counts: Counter[tuple[tuple[str, ...], str]] = Counter()
    sizes: Counter[tuple[tuple[str, ...], str]] = Counter()
    for place, names in savers.items():
        dtype, size = whole[place]
        key = tuple(sorted(names)), dtype
        counts[key] += 1
        sizes[key] += size
    return [Kept(*key, count, sizes[key]) for key, count in counts.items()]


def kept_per_step(
    forward: Callable[[int], tuple[Tensor, Iterable[Tensor]]],
    *,
    batch_size: int,
    steps: tuple[int, int] = (53, 97),
) -> list[Kept]:
    """What is kept for a time step and batch row: the slope between two lengths, most bytes first.

    The bytes add up to `bytes_per_step` of the same lengths.

    Args:
        forward: from a length to a result and what is not to be counted, such as parameters.
        batch_size: B.
        steps: the two lengths, the shorter first; primes, so that no width of a layer is taken for
            one of them.

    Raises:
        ValueError: the second length is not the longer one.
    """
    short, long = steps
    if short >= long:
        raise ValueError(f"steps: expected the shorter length first, got {steps}")
    counts: dict[tuple[tuple[str, ...], str], list[float]] = {}
    for length, sign in ((short, -1), (long, 1)):
        result, known = forward(length)
        for one in kept_by(result, length, apart_from=known):
            sums = counts.setdefault((one.saved_by, one.dtype), [0, 0])
            sums[0] += sign * one.storages
            sums[1] += sign * one.bytes
    rows = (long - short) * batch_size
    # What is kept once, whatever the length, has cancelled.
    found = (Kept(*key, n / rows, size / rows) for key, (n, size) in counts.items() if n or size)
    return sorted(found, key=lambda one: (-one.bytes, one.saved_by))


def _saved(root: Any) -> Iterator[tuple[str, Tensor]]:
    """All tensors that the nodes of a graph have saved, each with the name of the operation."""
    # Held on to: a node that nobody holds would give its address to the next one.
    seen, waiting = {root}, [root]
    while waiting:
        node = waiting.pop()
        name = node.name().rpartition("::")[2].partition("Backward")[0]
        fields = (getattr(node, field) for field in dir(node) if field.startswith("_saved_"))
        for value in (*fields, *getattr(node, "saved_tensors", ())):
            for tensor in value if isinstance(value, list | tuple) else (value,):
                if isinstance(tensor, Tensor):
                    yield name, tensor
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                waiting.append(following)


def _shape(tensor: Tensor, length: int) -> str:
    """Sizes, those that follow the length as T, T + 1 or 4 T."""
    return f"[{', '.join(_size(size, length) for size in tensor.shape)}]"


def _size(size: int, length: int) -> str:
    if size and size % length == 0:
        return "T" if size == length else f"{size // length} T"
    return {length - 1: "T - 1", length + 1: "T + 1"}.get(size, str(size))
