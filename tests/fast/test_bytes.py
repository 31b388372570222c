"""What a compiled sequence keeps for the backward pass, counted; nothing depends on N."""

import pytest
import torch

from sam import SAM
from sam.train.saved_bytes import bytes_per_step, saved_bytes
from tests.fast.compiled_and_plain import Other, watched

pytest.importorskip("numba")

BATCH, INPUT = 8, 8
MOST = 8_000  # bytes a step and batch row


def standard(memory_size, **options):
    """The standard setting: hidden 100, 4 heads, K 4, W 32, float32; "other" is a stepping GRU."""
    torch.manual_seed(0)
    steps = options.get("controller") == "other"
    model = SAM(
        INPUT, 8, memory_size=memory_size, **options | ({"controller": "gru"} if steps else {})
    )
    if steps:
        model.cell.controller.__class__ = Other
    return model


def saved(model, steps):
    inputs = torch.randn(steps, BATCH, INPUT)
    known = [inputs, *model.parameters()]
    return saved_bytes(lambda: model(inputs)[0].square().sum(), apart_from=known)


def test_bytes_a_step_of_a_sequence():
    results = []
    for memory_size in (2**10, 2**20):
        model = standard(memory_size)
        with watched() as paths:
            whole = saved(model, 20)
            slope = bytes_per_step(lambda n, m=model: saved(m, n), batch_size=BATCH, steps=(10, 20))
        assert paths == {"sequence": 3}
        assert whole / 20 / BATCH <= MOST
        assert 4_000 < slope <= MOST, "less than the words read take cannot be"
        results.append((whole, slope))
    assert results[0] == results[1]


def test_a_sequence_keeps_less_than_steps_do_and_compiled_steps_hardly_more_than_plain_ones():
    kept = {}
    for name, options in (
        ("sequence", {"compiled": True}),
        ("step", {"compiled": True, "controller": "other"}),
        ("plain", {"compiled": False}),
        ("plain step", {"compiled": False, "controller": "other"}),
    ):
        model = standard(2**10, **options)
        kept[name] = bytes_per_step(
            lambda n, m=model: saved(m, n), batch_size=BATCH, steps=(10, 20)
        )
    assert kept["sequence"] < kept["plain"]
    assert kept["step"] < 1.05 * kept["plain step"]


@pytest.mark.parametrize("steps", [1, 20])
def test_only_touched_words_take_space(steps):
    sizes = []
    for memory_size in (2**10, 2**30):
        _, state = standard(memory_size)(torch.randn(steps, BATCH, INPUT))
        assert state.memory.order.handed_out.tolist() == [[4 * steps]] * BATCH
        assert state.memory.words.capacity <= max(128, 2 * 4 * steps)
        sizes.append(state.nbytes)
    assert sizes[0] == sizes[1] < 600_000
