"""A memory over a base computes what one does that was given a copy of all its words."""

import itertools

import pytest
import torch

from tests.memory.base_episodes import (
    FORMS,
    INPUTS,
    MODELS,
    B,
    Episode,
    W,
    assert_same,
    base_words,
    make_base,
    make_model,
    normal,
    run,
)

STEPS = {FORMS[0]: 30, FORMS[1]: 30, FORMS[2]: 60}
# Seed, words of the base, words in all: few own slots, so that base words are written over; none;
# and so few in all that each is written over repeatedly.
SIZES = [(0, 50, 60), (1, 40, 40), (2, 20, 23)]
models = pytest.mark.parametrize("kind", MODELS)
forms = pytest.mark.parametrize("form", FORMS)


@models
@forms
@pytest.mark.parametrize(("seed", "shared", "memory_size"), SIZES)
def test_values_and_gradients_equal_a_dense_copy(tmp_path, kind, form, seed, shared, memory_size):
    words, inputs = base_words(shared, seed), normal(STEPS[form], B, INPUTS, seed=seed + 1)
    model = make_model(kind, memory_size, form, seed)
    expected = run(model, model.initial_state(B, words=words), inputs, form)
    base = make_base(tmp_path / "base", words)
    found = run(model, model.initial_state(B, base=base), inputs, form)
    assert_same(found, expected)
    assert torch.equal(base.words_at(torch.arange(shared)), words), "the base itself has changed"


# Of other memories and controllers, which take other forms of the step.
OPTIONS = [
    ("sam", {"strength": "none"}),
    ("sam", {"shared_write": True}),
    ("sam", {"similarity": "euclidean"}),
    ("sam", {"controller": "gru", "compiled": True}),
    ("sam", {"controller": "feedforward"}),
    ("sdnc", {"controller": "gru", "compiled": True}),
    ("sdnc", {"decay_sources": True, "compiled": True}),
]


@pytest.mark.parametrize(("kind", "options"), OPTIONS, ids=str)
def test_other_settings_equal_a_dense_copy(tmp_path, kind, options):
    words, inputs = base_words(20), normal(20, B, INPUTS)
    model = make_model(kind, 26, **options)
    expected = run(model, model.initial_state(B, words=words), inputs, FORMS[0])
    base = make_base(tmp_path / "base", words, model.cell.memory.metric)
    found = run(model, model.initial_state(B, base=base), inputs, FORMS[0])
    assert_same(found, expected)


@models
@forms
def test_a_row_that_begins_anew_sees_the_base_again(tmp_path, kind, form):
    words, inputs = base_words(30), normal(40, B, INPUTS)
    model = make_model(kind, 36, form)
    starts = torch.zeros(40, B, dtype=torch.bool)
    starts[25, 1] = starts[11, 2] = starts[30, 2] = True
    base = make_base(tmp_path / "base", words)
    found = run(model, model.initial_state(B, base=base), inputs, form, starts=starts)
    begins = {0: [0, 40], 1: [0, 25, 40], 2: [0, 11, 30, 40]}
    weight, outputs, gradients = normal(40, B, 3, seed=5), torch.zeros(40, B, 3).double(), None
    leaf = inputs.clone().requires_grad_()
    model.zero_grad()
    for row, times in begins.items():
        for begin, end in itertools.pairwise(times):
            alone = leaf[begin:end, row : row + 1]
            part, _ = model(alone, model.initial_state(1, words=words))
            outputs[begin:end, row] = part[:, 0].detach()
            (part[:, 0] * weight[begin:end, row]).square().sum().backward(retain_graph=True)
    gradients = [leaf.grad, *(part.grad for part in model.parameters())]
    expected = Episode(outputs, gradients, found.state, found.slots)
    assert_same(found, expected)


@models
def test_base_words_are_written_over_once_own_slots_are_used_up_slot_zero_first(tmp_path, kind):
    model = make_model(kind, 56)
    base = make_base(tmp_path / "base", base_words(50))
    _, state = model(normal(30, B, INPUTS), model.initial_state(B, base=base), trace=True)
    over = state.trace.write_slots[..., -1].flatten(2)  # [T, B, V]
    own, heads = 6, over.shape[2]
    first = torch.arange(50, 56).view(-1, 1, heads).expand(-1, B, -1)
    assert torch.equal(over[: own // heads], first)
    later = over[own // heads :]
    assert (later < 50).any() and (later[0] < 50).all()
    dense = make_model(kind, 56)
    _, other = dense(
        normal(30, B, INPUTS), dense.initial_state(B, words=base_words(50)), trace=True
    )
    assert torch.equal(state.trace.write_slots, other.trace.write_slots)
    assert torch.equal(state.trace.read_slots, other.trace.read_slots)


@models
@pytest.mark.parametrize("form", FORMS[:2])
def test_without_writes_to_the_base_own_slots_are_used_again(tmp_path, kind, form):
    model = make_model(kind, 58, form)
    base = make_base(tmp_path / "base", base_words(50))
    state = model.initial_state(B, base=base, base_writes=False)
    threshold = model.cell.memory.access_threshold
    # When each own slot was last accessed, by row: the order of access in a few lines.
    last = [{slot: slot - 100 for slot in range(50, 58)} for _ in range(B)]
    for step in range(40):
        _, state = model(normal(1, B, INPUTS, seed=step), state, trace=True)
        trace, memory = state.trace, state.memory
        for row in range(B):
            over = trace.write_slots[0, row, :, -1].tolist()
            oldest = sorted(last[row], key=last[row].get)[: len(over)]
            assert over == oldest, f"step {step}, row {row}"
            slots = torch.cat(
                [trace.read_slots[0, row].flatten(), trace.write_slots[0, row].flatten()]
            )
            weights = torch.cat(
                [trace.read_weights[0, row].flatten(), trace.write_weights[0, row].flatten()]
            )
            seen = set()
            for place, slot in enumerate(slots.tolist()):
                if slot >= 50 and slot not in seen and weights[slots == slot].sum() > threshold:
                    last[row][slot] = 1000 * step - place
                seen.add(slot)
    assert (memory.words_in_use == 58).all()


def test_bytes_follow_the_words_written_and_not_the_base(tmp_path):
    model, found = make_model("sam", 20_000), []
    for count in (100, 10_000):
        base = make_base(tmp_path / str(count), base_words(count))
        state = model.initial_state(B, base=base)
        found.append(state.nbytes)
        _, state = model(normal(20, B, INPUTS), state)
        # Each step reads 4 words a row and hands out 2 slots; tables are at most doubled.
        words = 20 * 6
        assert state.memory.order._named.most <= words
        assert state.memory.order.written_words.max() <= words
        assert state.nbytes - found[0] < 3 * words * B * (2 * 8 * W + 150)
    assert found[0] == found[1] < 20_000


def test_no_gradient_reaches_the_base_and_all_reach_what_was_written(tmp_path):
    """The loss is a base word that was added to: the sum's gradient goes to what was added."""
    model = make_model("sam", 40)
    base = make_base(tmp_path / "base", base_words(30))
    state = model.initial_state(1, base=base).memory
    place = state.order.places_of(torch.tensor([[7]]), state.words.buffer)
    added = normal(1, 1, 6).requires_grad_()
    words = state.words.add(place, added)
    read, _ = words.read(place)
    read.sum().backward()
    torch.testing.assert_close(
        read[0, 0].detach(), base_words(30)[7].double() + added[0, 0].detach()
    )
    assert torch.equal(added.grad, torch.ones_like(added))
