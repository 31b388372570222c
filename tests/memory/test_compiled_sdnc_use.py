"""What SDNC's compiled step is given: which form is used, tensors with gaps, errors, bytes."""

import pytest
import torch

from index import Neighbors
from index.compiled import use_compiled
from sam import SDNC
from sam.errors import NonFiniteError, ShapeError, StaleStateError
from sam.memory.sdnc import SDNCControls
from tests.memory.sdnc_episodes import draw_controls, leaves_of, memory_of, rollout

pytest.importorskip("numba")


def test_tensors_with_gaps_and_gradients_that_are_expanded():
    controls, results = draw_controls(4, 2, 2, 4, seed=2), []
    for gaps in (False, True):
        memory = memory_of(True, memory_size=9, word_size=4, num_reads=2, top_k=3)
        leaves = leaves_of(controls)
        spread = SDNCControls(*(torch.stack([leaf, leaf], -1)[..., 0] for leaf in leaves))
        assert not any(field.is_contiguous() for field in spread)
        state, outputs = memory.initial_state(2, dtype=torch.float64), []
        for step in range(4):
            now = SDNCControls(*(field[step] for field in (spread if gaps else leaves)))
            reads, state = memory.step(now, state)
            outputs.append(reads)
        ones = torch.ones((), dtype=torch.float64).expand(reads.shape)
        grads = [ones if gaps else ones.contiguous()] * 4
        torch.autograd.backward(outputs, grads)
        results.append([*outputs, *(leaf.grad for leaf in leaves)])
    for found, wanted in zip(*results, strict=True):
        assert torch.equal(found, wanted) and found.abs().max() > 0


@pytest.mark.parametrize("options", [{}, {"decay_sources": True}, {"memory_size": 7, "top_k": 6}])
@pytest.mark.parametrize("history", [2, 6])
def test_negative_read_weights_of_a_state_handed_in(history, options):
    """They count as they are, and alike; what is read then is not negative.

    After few steps there are fewer than K words, and nothing takes the place of negative ones.
    """
    settings = {"memory_size": 24, "word_size": 5, "num_reads": 3, "top_k": 4} | options
    controls, results = draw_controls(12, 3, 3, 5, seed=2), []
    parts = slice(history), slice(history, 12)
    first, rest = (SDNCControls(*(field[part] for field in controls)) for part in parts)
    for compiled in (True, False):
        memory = memory_of(compiled, **settings)
        *_, state = rollout(memory, first)
        before = state.read_weights
        state = state._replace(read_weights=before._replace(values=-before.values))
        *found, state = rollout(memory, rest, state)
        results.append([*found, state.links.to_dense(), *state.links.precedence])
    for found, wanted in zip(*results, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)
    assert (results[0][2] >= 0).all()


@pytest.mark.parametrize("compiled", [True, False])
def test_of_equal_weights_the_lower_slots_are_read(compiled, monkeypatch):
    found = Neighbors(torch.tensor([[[5, 2, -1, 7, 3]]]), torch.full((1, 1, 5), 0.5))
    found.scores[0, 0, 2] = -torch.inf
    memory = memory_of(compiled, memory_size=9, word_size=3, num_reads=1, top_k=3, num_links=2)
    state = memory.initial_state(1, words=torch.ones(8, 3))
    monkeypatch.setattr(type(state.index), "exchange", lambda *given: found)
    controls = SDNCControls(
        keys=torch.ones(1, 1, 3),
        modes=torch.tensor([[[0.2, 0.6, 0.2]]]),
        adds=torch.ones(1, 1, 3),
        write_gates=torch.zeros(1, 1),
        interpolation_gates=torch.zeros(1, 1),
        strengths=torch.ones(1, 1),
    )
    _, state = memory.step(controls, state)
    assert state.read_weights.slots.tolist() == [[[2, 3, 5]]]
    torch.testing.assert_close(state.read_weights.values, torch.full((1, 1, 3), 0.15))


def test_switch(monkeypatch):
    from sam.fast import standard_cell

    calls, step = [], standard_cell.run_step

    def count(*given):
        calls.append(given)
        return step(*given)

    monkeypatch.setattr(standard_cell, "run_step", count)
    monkeypatch.delenv("SPARSE_SAM_COMPILED", raising=False)

    def is_used(compiled, dtype):
        calls.clear()
        sizes = {"memory_size": 9, "word_size": 4, "num_reads": 2, "top_k": 3}
        SDNC(3, 2, **sizes, compiled=compiled).to(dtype)(torch.ones(1, 2, 3, dtype=dtype))
        return bool(calls)

    assert is_used(None, torch.float32) and not is_used(None, torch.float64)
    assert is_used(True, torch.float64) and not is_used(False, torch.float32)
    with use_compiled(False):
        assert not is_used(None, torch.float32) and is_used(True, torch.float32)
    monkeypatch.setenv("SPARSE_SAM_COMPILED", "0")
    assert not is_used(None, torch.float32)


def small(**changes):
    """A memory after three steps, and controls of the next."""
    memory = memory_of(True, memory_size=9, word_size=4, num_reads=2, top_k=3)
    controls = draw_controls(4, 2, 2, 4, seed=6)
    state = rollout(memory, SDNCControls(*(field[:3] for field in controls)))[-1]
    return memory, SDNCControls(*(field[3] for field in controls))._replace(**changes), state


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"keys": torch.zeros(2, 2, 5).double()}, r"keys: .* shape \[2, 2, 4\], got .*\[2, 2, 5\]"),
        ({"modes": torch.zeros(2, 2, 2).double()}, r"modes: .* shape \[2, 2, 3\], got"),
        ({"write_gates": torch.zeros(3, 1).double()}, r"write_gates: .* shape \[2, 1\], got"),
        ({"adds": torch.zeros(2, 1, 4)}, r"adds: expected torch.float64 .* got torch.float32"),
    ],
)
def test_wrong_shapes_are_refused_before_anything_is_written(changes, text):
    memory, controls, state = small(**changes)
    before = state.words.words.clone()
    with pytest.raises(ShapeError, match=text):
        memory.step(controls, state)
    assert torch.equal(state.words.words, before) and before.any()


@pytest.mark.parametrize("slot", [-2, 4, 2**40])
def test_slots_out_of_range_are_refused_before_anything_is_written(slot):
    memory, controls, state = small()
    state.read_weights.slots.data[1, 1, 2] = slot  # behind the back of torch
    before = state.words.words.clone()
    with pytest.raises(ShapeError, match=r"state.read_weights.slots: expected slots in \[-1, 4\)"):
        memory.step(controls, state)
    assert torch.equal(state.words.words, before)


def test_what_an_index_finds_is_looked_at(monkeypatch):
    memory, controls, state = small()
    exchange = type(state.index).exchange

    def wrong(*given):
        found = exchange(*given)
        found.slots[0, 0, 0] = 2**40
        return found

    monkeypatch.setattr(type(state.index), "exchange", wrong)
    with pytest.raises(ShapeError, match="slots found: expected slots in"):
        memory.step(controls, state)


def test_the_usual_errors():
    memory, controls, state = small()
    keys = controls.keys.clone().requires_grad_()
    reads, after = memory.step(controls._replace(keys=keys), state)
    with pytest.raises(StaleStateError, match="has consumed"):
        memory.step(controls, state)
    again = after.clone()
    with pytest.raises(NonFiniteError):
        memory.step(controls._replace(keys=controls.keys * torch.nan), again)
    with pytest.raises(StaleStateError, match="has consumed"):  # it was written to
        memory.step(controls, again)
    reads.sum().backward(retain_graph=True)
    with pytest.raises(StaleStateError, match="expected one backward pass"):
        reads.sum().backward()


def test_bytes_kept_do_not_depend_on_the_memory_size():
    results = []
    for memory_size, compiled in ((2**8, True), (2**30, True), (2**8, False)):
        sizes = {"memory_size": memory_size, "word_size": 8, "num_reads": 2, "top_k": 3}
        saved, controls = [], leaves_of(draw_controls(12, 2, 2, 8, seed=1))

        def keep(tensor, saved=saved):
            saved.append(tensor.untyped_storage().nbytes())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            *_, state = rollout(memory_of(compiled, **sizes), controls)
        results.append((sum(saved), state.nbytes))
    assert results[0] == results[1]
    assert results[0][0] <= results[2][0] and results[0][1] == results[2][1]
