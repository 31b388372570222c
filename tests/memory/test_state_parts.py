"""The parts of a sparse memory's state belong together; what does not is refused, not computed."""

import copy
import importlib.util
import pickle

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from index import IndexConfig, Neighbors
from sam import ShapeError, StaleStateError
from sam.models import make_model
from sam.store.companions import join
from tests.models.cases import IN, OUT, SETTINGS, B, draw

FORMS = (False, True) if importlib.util.find_spec("numba") else (False,)
sparse = pytest.mark.parametrize("name", ["sam", "sdnc"])
forms = pytest.mark.parametrize("compiled", FORMS)
lengths = pytest.mark.parametrize("steps", [1, 9])


def build(name, compiled, **options):
    torch.manual_seed(3)
    return make_model(name, IN, OUT, compiled=compiled, **SETTINGS[name], **options).double()


def of_rows(state, rows):
    return tree_map(lambda part: part[rows] if isinstance(part, Tensor) else part, state)


@lengths
@forms
@sparse
def test_rows_picked_from_a_state_are_refused(name, compiled, steps):
    model, inputs = build(name, compiled), draw(9, 50 * B, IN)
    _, state = model(inputs[:5, :B])
    for rows in ([2, 0], [1, 0, 3, 2], list(range(B)) * 50):
        with pytest.raises(ShapeError, match="state"):
            model(inputs[:steps, : len(rows)], of_rows(state.clone(), rows))


@sparse
def test_rows_that_are_equal_are_told_apart(name):
    """At the start all slots are alike, but the loaded words are not."""
    model = build(name, None)
    state = model.initial_state(B, words=draw(B, 9, 6))
    with pytest.raises(ShapeError, match=r"read_weights.slots"):
        model(draw(3, B, IN), of_rows(state, [1, 0, 3, 2]))


@lengths
@forms
@sparse
def test_a_mixture_is_refused_and_harms_neither_state(name, compiled, steps):
    model, inputs = build(name, compiled), draw(9, B, IN)
    _, state = model(inputs[:5])
    _, other = model(inputs[4:])
    expected = model(inputs[5:], state.clone())[0]
    for field in state.memory._fields:
        if field == "words":
            continue
        memory = state.memory._replace(**{field: getattr(other.memory, field)})
        with pytest.raises(ShapeError, match=rf"state.{field}"):
            model(inputs[:steps], state._replace(memory=memory))
        with pytest.raises(ShapeError, match=rf"state.{field}"):
            state._replace(memory=memory).clone()
    torch.testing.assert_close(model(inputs[5:], state)[0], expected, rtol=0, atol=1e-12)


@sparse
def test_words_on_their_own_are_refused(name):
    model, inputs = build(name, None), draw(9, B, IN)
    _, state = model(inputs[:5])
    for words in (state.memory.words.clone(), copy.deepcopy(state.memory.words)):
        mixed = state._replace(memory=state.memory._replace(words=words))
        with pytest.raises(ShapeError, match=r"state\."):
            model(inputs, mixed)
    same = state._replace(memory=state.memory._replace(words=copy.copy(state.memory.words)))
    model(inputs, same)
    with pytest.raises(StaleStateError):
        model(inputs, state)


@lengths
@forms
@sparse
def test_weights_without_values_are_refused(name, compiled, steps):
    model, inputs = build(name, compiled), draw(9, B, IN)
    _, state = model(inputs)
    for part in ("read_weights", "write_weights"):
        weights = getattr(state.memory, part)
        for wrong in (None, weights.values[:-1], weights.values.float(), weights.values.tolist()):
            memory = state.memory._replace(**{part: weights._replace(values=wrong)})
            with pytest.raises(ShapeError, match=f"state.{part}.values: expected"):
                model(inputs[:steps], state._replace(memory=memory))


@sparse
def test_copies_keep_what_belongs_together_and_what_does_not(name):
    model, inputs = build(name, None), draw(9, B, IN)
    state = model(inputs[:5])[1].detach()
    mixed = state._replace(memory=of_rows(state.memory, [1, 0, 3, 2]))
    changed = copy.deepcopy(state)
    changed.memory.read_weights.slots.add_(1)
    for copier in (copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))):
        for wrong in (mixed, changed):
            with pytest.raises(ShapeError, match="state"):
                model(inputs, copier(wrong))
        model(inputs, copier(state))


@sparse
def test_a_state_that_was_put_together_is_taken_once_it_is_joined(name):
    model, inputs = build(name, None), draw(9, B, IN)
    _, state = model(inputs[:5])
    index = state.memory.index.clone()
    memory = join(state.memory._replace(index=index))
    model(inputs, state._replace(memory=memory))


@pytest.mark.parametrize("controller", ["lstm", "gru"])
@pytest.mark.parametrize("kind", ["exact", "lsh"])
@lengths
def test_loops_look_where_they_write(kind, steps, controller):
    """Behind the back of torch, so that nothing in Python notices."""
    pytest.importorskip("numba")
    model = build("sam", True, index=IndexConfig(kind=kind), controller=controller)
    inputs = draw(9, B, IN)
    for wrong in (10**9, -2, 64):
        _, state = model(inputs[:5])
        state.memory.read_weights.slots.data[1, 0, 1] = wrong
        with pytest.raises(ShapeError, match=r"read_weights.slots: expected values in \[-1, "):
            model(inputs[:steps], state)
        with pytest.raises(StaleStateError):
            model(inputs[:steps], state)


@pytest.mark.parametrize("controller", ["lstm", "gru"])
@lengths
def test_an_index_that_finds_no_slots_is_refused(steps, controller, monkeypatch):
    pytest.importorskip("numba")
    model = build("sam", True, index=IndexConfig(kind="lsh", exact_below=0), controller=controller)
    _, state = model(draw(5, B, IN))

    def exchange(self, slots, words, queries, k):
        return Neighbors(torch.full((B, 2, k), 10**8), torch.zeros(B, 2, k).double())

    monkeypatch.setattr(type(state.memory.index), "exchange", exchange)
    with pytest.raises(ShapeError, match="LSHIndex: expected to find slots that were handed out"):
        model(draw(steps, B, IN), state)
