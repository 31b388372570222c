"""The operations one by one on a device that has to be waited for: the CPU's results, at once."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from sam import ops
from sam.ops import SparseLinks, SparseWeights, WordStore

B, H, N, W, K = 2, 3, 8, 5, 4
LAYOUT = (((2,), "none"), ((2, 2), "sigmoid"), ((3,), "oneplus"), ((1, 3), "softmax"))


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def fraction(*shape: int) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64)


def weights(*shape: int) -> Tensor:
    return normal(*shape).softmax(-1)


def slots(*shape: int) -> Tensor:
    """Different ones for each head, some of them missing."""
    chosen = torch.rand(*shape[:-1], N).argsort(-1)[..., : shape[-1]]
    return chosen.masked_fill(torch.rand(shape) < 0.2, -1)


def sparse(*shape: int) -> SparseWeights:
    chosen = slots(*shape)
    return SparseWeights(chosen, weights(*shape).masked_fill(chosen < 0, 0.0))


def links(read: SparseWeights, *written: SparseWeights) -> Any:
    """Links made by some writes, followed, with some of them dropped in between."""
    made = SparseLinks(B, N, 2, device=read.slots.device, dtype=read.values.dtype)
    for step in written:
        made.update(step.slots[:, 0], step.values[:, 0].detach(), slot_bound=N)
    onwards = made.follow(read.slots, read.values.detach())
    made.reset(read.slots[:, 0, 0] >= 0)
    return onwards, made.follow(read.slots, read.values.detach())


def store(
    first: Tensor, second: Tensor, add: Tensor, values: Tensor, mask: Tensor, loaded: int = 0
) -> Any:
    """Writes, erases, resets and reads of a store and of a copy, which grow on the way."""
    words = torch.ones(loaded, W, device=first.device, dtype=add.dtype) if loaded else None
    made = WordStore(B, 1000, W, device=first.device, dtype=add.dtype, words=words)
    made = made.write(first, values, add, erase=second.flatten(1)[:, :2], slot_bound=20)
    before, made = made.read(second, slot_bound=20)
    copy = made.clone()
    made = made.reset(mask).write(second, values, add, slot_bound=60)
    copy = copy.write(first, values, add * 2, slot_bound=60)
    return before, made.read(first, slot_bound=60)[0], copy.read(second, slot_bound=60)[0]


def content(*more: Tensor) -> tuple[Any, ...]:
    return normal(B, H, W), 1 + fraction(B, H), normal(B, N, W), *more


def gathered() -> tuple[Any, ...]:
    return normal(B, H, W), 1 + fraction(B, H), normal(B, H, K, W), slots(B, H, K) >= 0


def dense() -> tuple[Any, ...]:
    new = torch.tensor([[0, 3, 6], [7, 2, 1]])
    gates = fraction(B, H), fraction(B, H)
    return normal(B, N, W), weights(B, H, N), new, *gates, normal(B, H, W), *content()[:2]


def mixed() -> tuple[Any, ...]:
    return weights(B, H, 3), sparse(B, H, 6), sparse(B, H, K), sparse(B, H, 6), K


def erasing() -> tuple[Any, ...]:
    return normal(B, N, W), weights(B, H, N), fraction(B, H, W), normal(B, H, W)


def storing() -> tuple[Any, ...]:
    mask = torch.tensor([True, False])
    return slots(B, H, K), slots(B, H, K), normal(B, H, W), fraction(B, H, K), mask


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "SparseLinks": links,
    "WordStore": store,
    "WordStore of many words": partial(store, loaded=900),
}
CASES: dict[str, Callable[[], tuple[Any, ...]]] = {
    "SparseLinks": lambda: tuple(sparse(B, H, K) for _ in range(4)),
    "WordStore": storing,
    "WordStore of many words": storing,
    "allocation_weights": lambda: (fraction(B, N),),
    "content_read": gathered,
    "content_read_plain": gathered,
    "content_weights": content,
    "content_weights_plain": content,
    "cosine_similarity": lambda: (normal(B, H, W), normal(B, N, W)),
    "decayed_usage": lambda: (fraction(B, N), weights(B, H, N), weights(B, H, N), 0.9),
    "dense_access": dense,
    "dense_access_plain": dense,
    "directional_weights": lambda: (fraction(B, N, N), weights(B, H, N)),
    "dnc_usage": lambda: (fraction(B, N), weights(B, 2, N), weights(B, H, N), fraction(B, H)),
    "erase_add": erasing,
    "erase_add_plain": erasing,
    "erase_add_subtractive": erasing,
    "gathered_cosine": lambda: (normal(B, H, W), normal(B, H, K, W)),
    "gathered_distance": lambda: (normal(B, H, W), normal(B, H, K, W)),
    "interpolate": lambda: (weights(B, H, N), weights(B, H, N), fraction(B, H)),
    "least_used": lambda: (fraction(B, N), 3),
    "masked_content_weights": lambda: content(fraction(B, H, W)),
    "mix_reads": mixed,
    "ntm_weights": lambda: (
        *content()[:2],
        *(fraction(B, H), weights(B, H, 3), 1 + fraction(B, H), weights(B, H, N)),
        normal(B, N, W),
    ),
    "read_words": lambda: (normal(B, N, W), weights(B, H, N)),
    "retention": lambda: (weights(B, H, N), fraction(B, H)),
    "sharpen": lambda: (weights(B, H, N), 1 + fraction(B, H)),
    "sharpen_reads": lambda: (sparse(B, H, K), 2.0),
    "sharpened": lambda: (weights(B, H, N), 1 + fraction(B, H)),
    "shift": lambda: (weights(B, H, N), weights(B, H, 3)),
    "sparse_read": lambda: (normal(B, H, K, W), fraction(B, H, K)),
    "squash": lambda: (normal(B, 12), LAYOUT),
    "squash_plain": lambda: (normal(B, 12), LAYOUT),
    "update_links": lambda: (fraction(B, N, N), weights(B, N), weights(B, N)),
    "update_precedence": lambda: (weights(B, N), weights(B, N)),
    "write_values": lambda: (fraction(B, H, K), fraction(B, H), fraction(B, H)),
}
# Run by the models' tests, where their many arguments fit together; or they only make zeros.
ELSEWHERE = {"AccessOrder", "no_weights", "sparse_write"}
INSIDE = {"SparseWeights", "dense_write", "dense_write_weights", "ntm_weights_plain"}


def tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from tensors(part)


def moved(value: Any, put: Callable[[Tensor], Tensor]) -> Any:
    """Arguments of a function, the floats among them as leaves."""
    if isinstance(value, Tensor):
        return put(value).requires_grad_(value.is_floating_point())
    if isinstance(value, SparseWeights):
        return SparseWeights(*(moved(part, put) for part in value))
    return value


def run(name: str, given: tuple[Any, ...]) -> tuple[list[Tensor], list[Tensor | None]]:
    """What a function returns, and the gradients of what it was given."""
    function = FUNCTIONS.get(name) or getattr(ops, name)
    results = [*tensors(function(*given))]
    scored = [result for result in results if result.requires_grad]
    if scored:
        torch.stack([(result * (result + 1)).sum() for result in scored]).sum().backward()
    return results, [leaf.grad for leaf in tensors(given) if leaf.requires_grad]


def test_every_operation_is_here() -> None:
    assert ({*CASES} & {*ops.__all__}) | ELSEWHERE | INSIDE == {*ops.__all__}
    assert {*CASES} - {*FUNCTIONS} <= {*ops.__all__}


@pytest.mark.parametrize("name", CASES)
def test_results_and_gradients_are_those_of_the_cpu(name: str, place: Any) -> None:
    given = CASES[name]()
    expected, expected_grads = run(name, tuple(moved(value, torch.clone) for value in given))
    arguments = tuple(moved(value, place.put) for value in given)
    if place.device.type == "cuda":  # what is set up when it is first used may wait
        run(name, tuple(moved(value, place.put) for value in given))
    with place.without_waiting(["given_words"] if "many words" in name else []):
        results, grads = run(name, arguments)
    assert len(results) == len(expected) > 0 and len(grads) == len(expected_grads)
    for found, wanted in zip(results + grads, expected + expected_grads, strict=True):
        assert (found is None) == (wanted is None)
        if found is not None:
            found = place.fetch(found)
            torch.testing.assert_close(found, wanted.detach(), rtol=1e-10, atol=1e-10)
