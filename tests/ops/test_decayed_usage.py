"""DAM's usage against the sum over all past accesses, and the choice of the least used slots."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sam.errors import ShapeError
from sam.ops.decayed_usage import decayed_usage, least_used
from tests.reference import dam_loops


def accesses(steps, batch, heads, count, seed):
    generator = torch.Generator().manual_seed(seed)
    weights = torch.rand(steps, batch, heads, count, generator=generator, dtype=torch.float64)
    return weights / weights.sum(-1, keepdim=True)


@given(
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 9),
    st.sampled_from([0.0, 0.5, 0.95, 0.99, 1.0]),
    st.integers(0, 99),
)
def test_usage_is_the_decayed_sum_of_all_accesses(reads, writes, count, decay, seed):
    steps, batch = 7, 2
    read = accesses(steps, batch, reads, count, seed)
    write = accesses(steps, batch, writes, count, seed + 1)
    usage = torch.zeros(batch, count, dtype=torch.float64)
    for step in range(steps):
        before = usage.clone()
        found = decayed_usage(usage, write[step], read[step], decay)
        assert torch.equal(usage, before), "what went in must stay as it was"
        usage = found
        for row in range(batch):
            expected = dam_loops.usage_after(
                write[:, row].numpy(), read[:, row].numpy(), decay, step
            )
            np.testing.assert_allclose(usage[row].numpy(), expected, atol=1e-10)
    assert (usage >= 0).all()
    if decay < 1:
        assert usage.sum(1).max() <= (reads + writes) / (1 - decay) + 1e-9


def test_no_gradient_flows_through_usage_and_choice():
    weights = accesses(2, 1, 2, 5, 0).requires_grad_()
    usage = decayed_usage(torch.rand(1, 5).double(), weights[0], weights[1], 0.9)
    assert not usage.requires_grad and not least_used(usage, 2).requires_grad


@given(st.integers(1, 12), st.data())
def test_least_used_are_the_lowest_of_equal_ones_the_lower_slot(count, data):
    """Of a few values only, so that most examples have ties."""
    values = st.lists(st.sampled_from([0.0, 0.25, 0.5, 2.0]), min_size=count, max_size=count)
    rows = data.draw(st.lists(values, min_size=1, max_size=3))
    taken = data.draw(st.integers(1, count))
    usage = torch.tensor(rows)
    found = least_used(usage, taken)
    assert found.dtype == torch.int64
    for row, slots in zip(rows, found.tolist(), strict=True):
        assert slots == sorted(range(count), key=lambda i: (row[i], i))[:taken]
    assert torch.equal(usage, torch.tensor(rows)), "the usage must stay as it was"


def test_ties_go_to_the_lowest_slot_in_a_large_memory():
    usage = torch.ones(2, 5000)
    usage[0, [77, 4000, 4999]] = 0.5
    assert least_used(usage, 5).tolist() == [[77, 4000, 4999, 0, 1], [0, 1, 2, 3, 4]]


def test_shapes_are_checked():
    usage = torch.zeros(2, 5)
    with pytest.raises(ShapeError, match=r"expected at least count=6 slots, got shape \[2, 5\]"):
        least_used(usage, 6)
    with pytest.raises(ShapeError, match=r"write_weights: expected shape \[B=2, V, N=5\]"):
        decayed_usage(usage, torch.zeros(2, 1, 4), torch.zeros(2, 1, 5), 0.9)
    with pytest.raises(ShapeError, match=r"read_weights: expected shape \[B=2, R, N=5\]"):
        decayed_usage(usage, torch.zeros(2, 1, 5), torch.zeros(1, 1, 5), 0.9)
