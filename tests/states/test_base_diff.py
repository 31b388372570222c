"""What rows wrote over a base: taken out, kept, applied elsewhere, merged into a new base."""

import pytest
import torch

from index import BaseDiff, BaseMemory, FileFormatError
from sam import ConfigError, ShapeError, StaleStateError
from tests.memory.base_episodes import (
    FORMS,
    INPUTS,
    MODELS,
    B,
    W,
    base_words,
    make_base,
    make_model,
    normal,
    run,
)

SHARED, SIZE = 30, 36
models = pytest.mark.parametrize("kind", MODELS)


@pytest.fixture
def base(tmp_path) -> BaseMemory:
    return make_base(tmp_path / "base", base_words(SHARED))


def written(kind, base, steps=20, size=SIZE):
    """A model, and a state that has written."""
    model = make_model(kind, size)
    _, state = model(normal(steps, B, INPUTS, seed=7), model.initial_state(B, base=base))
    return model, state.detach()


@models
@pytest.mark.parametrize("size", [SIZE, 90])
def test_a_diff_holds_what_was_written_and_nothing_else(base, kind, size):
    _, state = written(kind, base, size=size)
    words, diff = state.memory.get(torch.arange(size)), state.diff()
    dense = torch.cat([base_words(SHARED).double(), torch.zeros(size - SHARED, W).double()])
    for row in range(B):
        slots = diff.slots[row][diff.slots[row] >= 0]
        changed = (words[row] != dense).any(1).nonzero()[:, 0]
        assert ({*changed.tolist()} <= {*slots.tolist()} and len(slots) < size) or size == SIZE
        rebuilt = dense.clone()
        rebuilt[slots] = diff.words[row][: len(slots)]
        assert torch.equal(rebuilt, words[row])
    assert len(diff) == int((diff.slots >= 0).sum()) and "words of a base of 30" in repr(diff)


@models
@pytest.mark.parametrize("form", FORMS)
def test_an_applied_diff_is_as_if_the_words_had_been_written_there(base, kind, form, tmp_path):
    _, state = written(kind, base, steps=6, size=60)
    model = make_model(kind, 60, form)
    state.diff().save(tmp_path / "diff")
    fresh = model.initial_state(B, base=base).apply(BaseDiff.load(tmp_path / "diff"))
    every = torch.arange(60)
    assert torch.equal(fresh.memory.get(every), state.memory.get(every))
    assert torch.equal(fresh.memory.words_in_use, state.memory.words_in_use)
    keys = normal(B, 9, W, seed=3)
    ours, theirs = (each.memory.index.search(keys, 4) for each in (fresh, state))
    assert torch.equal(ours.slots, theirs.slots)
    # And it goes on: with the dense copy of the words, in another order of access.
    dense = model.initial_state(
        B, words=state.memory.get(every)[:, : int(state.memory.words_in_use[0])]
    )
    inputs = normal(5, B, INPUTS, seed=8)
    found, expected = run(model, fresh, inputs, form), run(model, dense, inputs, form)
    torch.testing.assert_close(found.outputs, expected.outputs, rtol=0, atol=1e-12)
    for one, other in zip(found.gradients, expected.gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_a_diff_of_one_row_goes_to_all_rows_over_what_they_wrote(base):
    model, state = written("sam", base)
    diff = state.diff().rows([1])
    other = model.initial_state(B, base=base)
    _, other = model(normal(9, B, INPUTS, seed=9), other)
    before = other.memory.get(torch.arange(SIZE))
    after = other.apply(diff).memory.get(torch.arange(SIZE))
    slots = diff.slots[0][diff.slots[0] >= 0]
    for row in range(B):
        before[row, slots] = diff.words[0][: len(slots)]
    assert torch.equal(after, before)
    with pytest.raises(StaleStateError):
        other.diff()


def test_words_of_a_diff_get_no_gradient_and_end_those_of_what_they_replace(base):
    model = make_model("sam", 40)
    state = model.initial_state(1, base=base).memory
    place = state.order.places_of(torch.tensor([[7]]), state.words.buffer)
    added = normal(1, 1, W).requires_grad_()
    state = state._replace(words=state.words.add(place, added))
    words = state.words
    read, words = words.read(place)
    diff = BaseDiff(torch.tensor([[7]]), normal(1, 1, W, seed=2), SHARED)
    from sam.memory.word_changes import apply_diff

    after = apply_diff(state._replace(words=words), diff)
    again, _ = after.words.read(place)
    assert torch.equal(again.detach(), diff.words)
    (read.sum() + 10 * again.sum()).backward()
    assert torch.equal(added.grad, torch.ones_like(added))


@models
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_commit_is_the_base_with_the_words_of_a_row(tmp_path, kind, dtype):
    base = BaseMemory.create(tmp_path / "base", base_words(SHARED), dtype=dtype)
    _, state = written(kind, base, steps=4, size=90)
    merged = base.commit(state, rows=1, path=tmp_path / "merged")
    own = int(state.memory.words_in_use[1])
    expected = state.memory.get(torch.arange(own))[1]
    assert len(merged) == own and merged.dtype == dtype
    rough = {"float32": 1e-6, "float16": 2e-3}[dtype]
    torch.testing.assert_close(
        merged.words_at(torch.arange(own)).double(), expected, rtol=rough, atol=rough
    )
    untouched = [slot for slot in range(SHARED) if slot not in state.diff().rows(1).slots]
    slots = torch.tensor(untouched)
    assert torch.equal(merged.words_at(slots), base.words_at(slots))


def test_several_rows_are_merged_in_their_order(tmp_path, base, monkeypatch):
    monkeypatch.setattr("index.base.commit._PIECE", 7)
    slots = torch.tensor([[3, 30, -1, 31], [29, 3, 30, -1], [-1, -1, 8, 14]])
    words = torch.arange(3 * 4 * W).view(3, 4, W).float() / 100
    merged = base.commit(BaseDiff(slots, words, SHARED), tmp_path / "merged")
    expected = base_words(SHARED)
    expected[[3, 29, 8, 14]] = torch.stack([words[1, 1], words[1, 0], words[2, 2], words[2, 3]])
    expected = torch.cat([expected, words[0, 1:2], words[0, 3:], words[1, 2:3]])
    assert torch.equal(merged.words_at(torch.arange(len(merged))), expected)


def test_a_commit_may_take_the_place_of_its_base_whose_states_go_on(tmp_path, base):
    model, state = written("sam", base)
    identity, before = base.identity, base.words_at(torch.arange(SHARED))
    merged = base.commit(state, rows=[0])
    assert merged.path == base.path and merged.identity != identity
    assert torch.equal(base.words_at(torch.arange(SHARED)), before)
    model(normal(3, B, INPUTS), state)
    assert len(BaseMemory.open(base.path)) == SIZE


def test_what_does_not_fit_is_refused(tmp_path, base):
    model, state = written("sam", base)
    diff = state.diff()
    with pytest.raises(ConfigError, match="diff: expected a state over a base, got a SAMState"):
        model.initial_state(B).diff()
    with pytest.raises(ConfigError, match="apply: expected a state over a base"):
        model.initial_state(B).apply(diff)
    with pytest.raises(ShapeError, match="expected one over a base of 31 words of 6 numbers"):
        other = make_base(tmp_path / "other", base_words(31))
        model.initial_state(B, base=other).apply(diff)
    with pytest.raises(ShapeError, match="expected 1 row or B=2, got 3"):
        model.initial_state(2, base=base).apply(diff)
    with pytest.raises(ShapeError, match="expected slots below N=33"):
        make_model("sam", 33).initial_state(B, base=base).apply(diff)
    with pytest.raises(TypeError, match="changes: expected a BaseDiff or a state, got int"):
        base.commit(3, tmp_path / "merged")
    with pytest.raises(ShapeError, match="rows: expected some of 3, got 5"):
        base.commit(state, tmp_path / "merged", rows=5)
    with pytest.raises(ShapeError, match="at most once a row"):
        BaseDiff(torch.zeros(1, 2, dtype=torch.int64), torch.zeros(1, 2, W), SHARED)
    diff.save(tmp_path / "diff")
    content = bytearray((tmp_path / "diff").read_bytes())
    content[-5] ^= 1
    (tmp_path / "diff").write_bytes(content)
    with pytest.raises(FileFormatError):
        BaseDiff.load(tmp_path / "diff")
    assert not (tmp_path / "merged").exists()
