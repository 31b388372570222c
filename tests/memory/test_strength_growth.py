"""Strengths that grow with the words that there are; `test_sam_reference` has the equation."""

import math

import pytest
import torch

from index import BaseMemory
from sam import SAM, load_state
from sam.errors import ConfigError
from sam.memory.sam import SAMMemory
from tests.memory.test_sam_reference import draw_controls, rollout

SIZES = {"memory_size": 40, "word_size": 5, "num_heads": 2, "top_k": 3}
A = 0.8
STEPS, B = 30, 3


def model_of(**options):
    torch.manual_seed(1)
    return SAM(4, 3, **SIZES | {"strength_growth": A} | options).double()


def inputs_of(steps=STEPS, batch=B):
    return torch.randn(steps, batch, 4, generator=torch.Generator().manual_seed(2)).double()


def grown_by_hand(controls, heads):
    """Every write here counts, and each head takes a new word a step until none is left."""
    counts = [min(heads * (step + 1), SIZES["memory_size"]) for step in range(STEPS)]
    factors = torch.tensor([1 + A * math.log(count) for count in counts], dtype=torch.float64)
    return factors[:, None, None] * controls.strengths


@pytest.mark.parametrize("options", [{}, {"similarity": "euclidean"}, {"renormalise": False}])
def test_other_options_grow_too(options):
    controls = draw_controls(STEPS, B, 2, 2, 5, seed=4)
    controls = controls._replace(write_gates=controls.write_gates.clamp(min=0.1))
    controls = controls._replace(interpolation_gates=controls.interpolation_gates.clamp(max=0.9))
    found = rollout(SAMMemory(**SIZES, **options, strength_growth=A), controls)
    by_hand = controls._replace(strengths=grown_by_hand(controls, 2))
    wanted = rollout(SAMMemory(**SIZES, **options), by_hand)
    for one, other in zip(found[:4], wanted[:4], strict=True):
        torch.testing.assert_close(one, other)
    ungrown = rollout(SAMMemory(**SIZES, **options), controls)
    assert not torch.allclose(found[0], ungrown[0])


def test_strengths_of_one_grow_as_well():
    controls = draw_controls(STEPS, B, 2, 2, 5, seed=4)
    ones = controls._replace(strengths=torch.ones_like(controls.strengths))
    wanted = rollout(SAMMemory(**SIZES, strength_growth=A), ones)
    none = SAMMemory(**SIZES, strength="none", strength_growth=A)
    state, reads = none.initial_state(B, dtype=torch.float64), []
    for step in range(STEPS):
        given = type(controls)(*(part[step] for part in controls[:4]))
        read, state = none.step(given, state)
        reads.append(read)
    torch.testing.assert_close(torch.stack(reads), wanted[0])


@pytest.mark.parametrize("compiled", [None, False])
def test_a_row_that_begins_anew_counts_anew(compiled):
    model, inputs = model_of(compiled=compiled), inputs_of()
    starts = torch.zeros(STEPS, B, dtype=torch.bool)
    starts[13, 1] = True
    outputs, _ = model(inputs, starts=starts)
    alone, _ = model(inputs[13:, 1:2])
    torch.testing.assert_close(outputs[13:, 1:2], alone)


def test_a_saved_state_goes_on_with_its_count(tmp_path):
    model, inputs = model_of(), inputs_of()
    wanted, _ = model(inputs)
    _, state = model(inputs[:11])
    state.save(tmp_path / "state")
    outputs, _ = model(inputs[11:], load_state(tmp_path / "state", model))
    torch.testing.assert_close(outputs, wanted[11:])


def test_an_approximate_index_reads_alike():
    """It compares every word while there are so few."""
    inputs = inputs_of()
    wanted, _ = model_of()(inputs)
    found, _ = model_of(index="ivf")(inputs)
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("growth", [-0.1, math.nan, math.inf, 101])
def test_a_growth_out_of_range_is_refused(growth):
    with pytest.raises(ConfigError, match="strength_growth: expected"):
        SAMMemory(**SIZES, strength_growth=growth)


def test_not_over_a_base(tmp_path):
    base = BaseMemory.create(tmp_path / "base", torch.randn(7, 5))
    with pytest.raises(ConfigError, match="expected a memory with strength_growth=0"):
        model_of().float().initial_state(B, base=base)
