"""Squashing: NumPy loops, the plain form, gradients, and that neighbours share an op."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sam.memory.sam import SAMMemory
from sam.memory.sdnc import SDNCMemory
from sam.ops import squash, squash_plain
from sam.ops.squash import ACTIVATIONS
from tests.reference.finite_differences import check_gradients

MIXED = (
    ((2, 3), "none"),
    ((2,), "sigmoid"),
    ((2,), "oneplus"),
    ((1, 4), "softmax"),
    ((3,), "tanh"),
    ((2,), "softplus"),
)
# Every activation twice in a row, in fields of different shapes, and once more further on.
EACH: Any = tuple(((2,), name) for name in ACTIVATIONS)
NEIGHBOURS: Any = (
    *((shape, name) for name in ACTIVATIONS for shape in ((2, 3), (2,), (1, 4))),
    *EACH,
)
LAYOUTS: dict[str, Any] = {
    "mixed": MIXED,
    "each": EACH,
    "neighbours": NEIGHBOURS,
    "single": (((3, 2), "sigmoid"),),
    "sam": tuple((f.shape, f.activation) for f in SAMMemory(num_heads=2, word_size=3).fields),
    "sdnc": tuple((f.shape, f.activation) for f in SDNCMemory(num_reads=2, word_size=3).fields),
}
layouts = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def width(layout):
    return sum(int(np.prod(shape)) for shape, _ in layout)


def by_hand(numbers, name):
    """One field's squashed numbers, its last dimension being `numbers`."""
    if name == "softmax":
        return np.exp(numbers) / np.exp(numbers).sum()
    formulas = {
        "none": lambda x: x,
        "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
        "oneplus": lambda x: 1 + np.log(1 + np.exp(x)),
        "softplus": lambda x: np.log(1 + np.exp(x)),
        "tanh": lambda x: (np.exp(x) - np.exp(-x)) / (np.exp(x) + np.exp(-x)),
    }
    return np.array([formulas[name](x) for x in numbers])


@layouts
@pytest.mark.parametrize("function", [squash, squash_plain])
def test_fields_follow_the_formulas(function, layout):
    values = normal(3, width(layout))
    fields = function(values, layout)
    assert len(fields) == len(layout)
    for row in range(3):
        place = 0
        for field, (shape, name) in zip(fields, layout, strict=True):
            assert field.shape == (3, *shape)
            found = field[row].reshape(-1, shape[-1]).numpy()
            for line in found:
                expected = by_hand(values[row, place : place + shape[-1]].numpy(), name)
                np.testing.assert_allclose(line, expected, rtol=0, atol=1e-10)
                place += shape[-1]


@layouts
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_values_and_gradients_are_those_of_the_plain_form(layout, dtype):
    values, results = normal(3, width(layout)).to(dtype), []
    for function in (squash, squash_plain):
        leaf = values.clone().requires_grad_()
        fields = function(leaf, layout)
        # Fields a memory makes no use of get no gradient.
        used = [field.square().flatten(1) for field in (*fields[:1], *fields[2:])]
        (torch.cat(used, 1) * normal(3, sum(u.shape[1] for u in used), seed=1)).sum().backward()
        results.append([*(field.detach() for field in fields), leaf.grad])
    for found, wanted in zip(*results, strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=16 * torch.finfo(dtype).eps)


@layouts
def test_gradients_against_finite_differences(layout):
    values = normal(2, width(layout))
    check_gradients(lambda v: torch.cat([t.flatten(1) for t in squash(v, layout)], 1), [values])


def test_large_numbers_stay_finite():
    values = torch.tensor([[-1e4, 1e4] * len(ACTIVATIONS)]).double().requires_grad_()
    fields = squash(values, LAYOUTS["each"])
    torch.cat(fields, 1).sum().backward()
    assert torch.cat(fields, 1).isfinite().all()
    assert values.grad is not None
    assert values.grad.isfinite().all()


class Counted(TorchDispatchMode):
    """Counts the operations made while it is entered."""

    def __init__(self):
        super().__init__()
        self.calls = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.calls[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


def test_neighbours_share_an_op_and_nothing_is_copied():
    values = normal(2, width(NEIGHBOURS))
    with Counted() as counted, torch.no_grad():
        fields = squash(values, NEIGHBOURS)
    # Three neighbours and one apart; a softmax runs over a field of its own.
    assert {name: counted.calls[name] for name in ("sigmoid", "tanh", "softplus", "add")} == {
        "sigmoid": 2,
        "tanh": 2,
        "softplus": 4,
        "add": 2,
    }
    assert sum(counted.calls[name] for name in ("softmax", "_softmax")) == 4
    assert not counted.calls["clone"] and not counted.calls["cat"]
    assert fields[0].untyped_storage().data_ptr() == values.untyped_storage().data_ptr()
