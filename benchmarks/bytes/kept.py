"""What a forward pass keeps for the backward pass, piece by piece and operation by operation."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

from torch import Tensor

from benchmarks.bytes.kept_parts import part_name


class Kept(NamedTuple):
    """Storages, or parts of one, that the same operations keep in the same way."""

    saved_by: tuple[str, ...]  # operations or their parts, each with the shape of what it sees
    dtype: str
    storages: float
    bytes: float  # of whole storages, of which a view may be all that is used


class _View(NamedTuple):
    """The part of a storage that an operation keeps."""

    start: int  # its bytes
    stop: int
    label: str
    dtype: str


def kept_by(result: Tensor, length: int, *, apart_from: Iterable[Tensor] = ()) -> list[Kept]:
    """The distinct storages that the graph behind a result keeps; see `saved_bytes`.

    A storage of which operations see separate parts is cut where such a part begins; so all pieces
    together are as large as the storages.

    Args:
        result: of the forward pass.
        length: T; sizes that depend on it are given as such.
        apart_from: tensors that are there anyway, such as parameters.
    """
    known = {tensor.untyped_storage().data_ptr() for tensor in apart_from}
    views: dict[int, list[_View]] = {}
    whole: dict[int, int] = {}
    for name, tensor in _saved(result.grad_fn):
        storage = tensor.untyped_storage()
        if (place := storage.data_ptr()) not in known and tensor.numel():
            whole[place] = storage.nbytes()
            views.setdefault(place, []).append(_view(name, tensor, length))
    counts: Counter[tuple[tuple[str, ...], str]] = Counter()
    sizes: Counter[tuple[tuple[str, ...], str]] = Counter()
    for place, seen in views.items():
        for together, size in _pieces(seen, whole[place]):
            key = tuple(sorted({view.label for view in together})), together[0].dtype
            counts[key] += 1
            sizes[key] += size
    return [Kept(*key, count, sizes[key]) for key, count in counts.items()]


def _view(name: str, tensor: Tensor, length: int) -> _View:
    width = tensor.element_size()
    start = int(tensor.storage_offset()) * width
    last = sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride(), strict=True))
    dtype = str(tensor.dtype).removeprefix("torch.")
    return _View(start, start + (last + 1) * width, f"{name} {_shape(tensor, length)}", dtype)


def _pieces(views: list[_View], size: int) -> Iterator[tuple[list[_View], int]]:
    """Views of a storage that overlap, together, and how many of its bytes are theirs."""
    groups: list[list[_View]] = []
    reached = 0
    for view in sorted(views):
        if not groups or view.start >= reached:
            groups.append([])
        groups[-1].append(view)
        reached = max(reached, view.stop)
    cuts = pairwise([0, *(group[0].start for group in groups[1:]), size])
    for group, (start, stop) in zip(groups, cuts, strict=True):
        yield group, stop - start


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
    # What is kept once, whatever the length, cancels.
    found = (Kept(*key, n / rows, size / rows) for key, (n, size) in counts.items() if n or size)
    return sorted(found, key=lambda one: (-one.bytes, one.saved_by))


def operations(result: Tensor) -> set[str]:
    """Names of the operations in the graph behind a result."""
    return {_name(node) for node in _nodes(result.grad_fn)}


def _name(node: Any) -> str:
    return node.name().rpartition("::")[2].partition("Backward")[0]


def _nodes(root: Any) -> Iterator[Any]:
    """Yields each node of a graph once."""
    # The list keeps the nodes alive: the address of a freed node could be used again.
    seen, waiting = {root}, [root]
    while waiting:
        node = waiting.pop()
        yield node
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                waiting.append(following)


def _saved(root: Any) -> Iterator[tuple[str, Tensor]]:
    """All tensors that the nodes of a graph have saved, each with the name of what saved it."""
    for node in _nodes(root):
        name = _name(node)
        for field in dir(node):
            if field.startswith("_saved_"):
                value = getattr(node, field)
                for tensor in value if isinstance(value, list | tuple) else (value,):
                    if isinstance(tensor, Tensor):
                        yield name, tensor
        for which, tensor in enumerate(getattr(node, "saved_tensors", ())):
            if tensor is not None:
                yield part_name(name, which), tensor


def _shape(tensor: Tensor, length: int) -> str:
    """A shape as text, with T, T + 1 or 4 T where a size follows the length."""
    return f"[{', '.join(_size(size, length) for size in tensor.shape)}]"


def _size(size: int, length: int) -> str:
    if size and size % length == 0:
        return "T" if size == length else f"{size // length} T"
    return {length - 1: "T - 1", length + 1: "T + 1"}.get(size, str(size))
