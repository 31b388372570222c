"""Operations on states over a base give what they give with a dense copy of its words."""

import copy
import pickle

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence

import sam
from index import BaseMemory
from sam import CellState, CheckpointError, ConfigError, ShapeError, StaleStateError
from tests.memory.base_episodes import (
    FORMS,
    INPUTS,
    MODELS,
    B,
    W,
    assert_same,
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


def through_file(state, model, tmp_path, base):
    state.save(tmp_path / "state")
    return model.load_state(tmp_path / "state", **({} if base is None else {"base": base}))


def through_dict(state, model, tmp_path, base):
    return model.load_state(state.state_dict(), **({} if base is None else {"base": base}))


def put(state, model, tmp_path, base):
    other = fresh(model, base)
    _, other = model(normal(3, B, INPUTS, seed=40), other)
    return state.put([2, 0], other[[1, 1]].detach())


def resized(state, model, tmp_path, base):
    return state.resize(SIZE + 7)


OPERATIONS = {
    "clone": lambda state, *_: state.clone(),
    "detach": lambda state, *_: state.detach(),
    "rows": lambda state, *_: state.rows([2, 0, 0]),
    "mask": lambda state, *_: state[torch.tensor([True, False, True])],
    "cat": lambda state, *_: CellState.cat([state[[1]], state, state[[2]]]),
    "put": put,
    "resize": resized,
    "deepcopy": lambda state, *_: copy.deepcopy(state.detach()),
    "pickle": lambda state, *_: pickle.loads(pickle.dumps(state.detach())),
    "file": through_file,
    "state_dict": through_dict,
}


def fresh(model, base):
    if base is None:
        return model.initial_state(B, words=base_words(SHARED))
    return model.initial_state(B, base=base)


# After 2 steps rows have own slots left, after 25 base words are written over.
CASES = [
    *(("sam", operation, 25) for operation in OPERATIONS),
    *(("sam", operation, 2) for operation in ("put", "cat", "resize", "file")),
    *(("sdnc", operation, 25) for operation in ("clone", "rows", "put", "cat", "resize", "file")),
]


@pytest.mark.parametrize(("kind", "operation", "steps"), CASES)
def test_episodes_go_on_as_with_a_dense_copy(tmp_path, base, kind, operation, steps):
    model, form = make_model(kind, SIZE), FORMS[0]
    episodes = []
    for begun in (fresh(model, None), fresh(model, base)):
        _, state = model(normal(steps, B, INPUTS, seed=7), begun)
        over = None if begun.memory.order.base is None else base
        state = OPERATIONS[operation](state, model, tmp_path, over)
        inputs = normal(22, state.batch_size, INPUTS, seed=8)
        episodes.append(run(model, state, inputs, form))
    assert_same(episodes[1], episodes[0])


def test_the_base_is_shared_and_never_copied(tmp_path, base):
    model = make_model("sam", SIZE)
    _, state = model(normal(4, B, INPUTS), fresh(model, base))
    for operation in OPERATIONS.values():
        after = operation(state.clone().detach(), model, tmp_path, base).memory
        assert after.order.base.identity == base.identity
        assert after.index.base.identity == base.identity
    assert copy.deepcopy(state.detach()).memory.order.base is base


@models
def test_rows_are_joined_and_put_whatever_the_memory_size(base, kind):
    """No table of 2^40 numbers could be made."""
    model, inputs = make_model(kind, 2**40), normal(3, B, INPUTS)
    _, state = model(inputs, model.initial_state(B, base=base))
    fresh = model.initial_state(1, base=base)
    joined = CellState.cat([state, fresh]).put([0], state[[2]])
    found, _ = model(inputs[:, :2], joined[[1, 0]].put([0], joined[[3]]))
    expected, _ = model(inputs[:, :2], CellState.cat([fresh, state[[2]]]))
    torch.testing.assert_close(found, expected)


def test_reset_rows_see_the_base_and_the_others_their_words(base):
    model = make_model("sam", SIZE)
    _, state = model(normal(25, B, INPUTS), fresh(model, base))
    slots = torch.arange(SIZE)
    before = state.memory.get(slots)
    state = state.reset([True, False, False])
    after = state.memory.get(slots)
    assert torch.equal(after[1:], before[1:])
    assert (
        torch.equal(after[0, :SHARED].float(), base_words(SHARED)) and not after[0, SHARED:].any()
    )
    assert state.memory.words_in_use.tolist() == [SHARED, SIZE, SIZE]
    keys = torch.nn.functional.normalize(base_words(SHARED).double(), dim=1)
    found = state.memory.index.search(keys.expand(B, -1, -1), 1).slots[..., 0]
    assert torch.equal(found[0], slots[:SHARED])


def test_words_of_any_slot(base):
    model = make_model("sam", 100)
    _, state = model(normal(2, B, INPUTS), fresh(model, base))
    words = state.memory.get([[29, -1, 30, 99], [0, 1, 33, 34], [2, 3, 4, 5]])
    assert torch.equal(words[0, 0].float(), base_words(SHARED)[29])
    assert not words[0, 1].any() and not words[0, 3].any() and words[0, 2].any()
    assert words[1, 2].any() and not words[1, 3].any(), "2 steps have handed out 30 .. 33"


def test_text_of_a_state(base):
    model = make_model("sdnc", SIZE)
    assert "words written=0 a row, over 30 of a base, of 36, each of 6 numbers" in repr(
        fresh(model, base)
    )


def test_a_state_of_one_base_takes_no_rows_of_another(tmp_path, base):
    model = make_model("sam", SIZE)
    other = make_base(tmp_path / "other", base_words(SHARED))
    with pytest.raises(ShapeError, match="expected base"):
        CellState.cat([fresh(model, base), fresh(model, other)])
    with pytest.raises(ShapeError, match=r"expected (Over|Acc|Lay|Exact)"):
        CellState.cat([fresh(model, base), fresh(model, None)])


def test_a_file_of_a_state_names_its_base(tmp_path, base):
    model = make_model("sam", SIZE)
    _, state = model(normal(4, B, INPUTS), fresh(model, base))
    state.save(tmp_path / "state")
    with pytest.raises(CheckpointError, match=r"expected the base .* got none; load_state takes"):
        model.load_state(tmp_path / "state")
    other = make_base(tmp_path / "other", base_words(SHARED))
    with pytest.raises(CheckpointError, match="expected the base"):
        sam.load_state(tmp_path / "state", model, base=other)
    model.initial_state(B).save(tmp_path / "without")
    with pytest.raises(CheckpointError, match="got a state without one"):
        sam.load_state(tmp_path / "without", model, base=base)


def test_rows_that_wrote_least_come_back_from_a_file(base):
    """The index of picked rows has room for what the others had written."""
    model = make_model("sam", SIZE)
    given = pack_padded_sequence(normal(6, B, INPUTS), [6, 4, 1])
    _, state = model(given, fresh(model, base))
    for picked in (state.rows([2]), state.clone().put([0, 1], state.rows([2, 2]))):
        picked = picked.detach()
        again = model.load_state(picked.state_dict(), base=base)
        inputs = normal(5, len(picked.reads), INPUTS, seed=2)
        assert torch.equal(model(inputs, again)[0], model(inputs, picked)[0])


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("slots", lambda part: part.fill_(3)),
        ("slots", lambda part: part.fill_(SHARED + 5)),
        ("written", lambda part: part.fill_(True)),
        ("head", lambda part: part.add_(1)),
        ("queue", lambda part: part.fill_(10**6)),
        ("pending", lambda part: part.fill_(10**6)),
    ],
)
def test_a_forged_state_is_refused(base, name, change):
    model = make_model("sam", SIZE + 20)
    _, state = model(normal(2, B, INPUTS), fresh(model, base))
    parts = state.rows([0, 1]).state_dict()
    change(parts[f"memory.order.{name}"])
    if not parts[f"memory.order.{name}"].numel():
        parts[f"memory.order.{name}"] = torch.full((2, 3), 10**6)
    with pytest.raises(CheckpointError, match=f"order.({name}|slots|written|head|queue|pending)"):
        model.load_state(parts, base=base)


def test_what_does_not_go_with_a_base_is_refused(tmp_path, base):
    model = make_model("sam", SIZE)
    start = model.initial_state
    with pytest.raises(TypeError, match="base: expected a BaseMemory, got str"):
        start(B, base="a path")
    with pytest.raises(ConfigError, match="words: expected None with a base"):
        start(B, base=base, words=base_words(3))
    with pytest.raises(ShapeError, match="base: expected words of word_size=6 numbers, got 5"):
        start(B, base=make_base(tmp_path / "narrow", normal(4, W - 1)))
    with pytest.raises(ShapeError, match="base: expected at most memory_size=36 words, got 37"):
        start(B, base=make_base(tmp_path / "large", normal(37, W)))
    with pytest.raises(ConfigError, match="base_writes: expected True with 1 slots beside"):
        start(B, base=make_base(tmp_path / "full", normal(35, W)), base_writes=False)
    with pytest.raises(ConfigError, match="base: expected metric 'l2', got 'cosine'"):
        make_model("sam", SIZE, similarity="euclidean").initial_state(B, base=base)
    with pytest.raises(ConfigError, match="base: expected a memory with renormalise=True"):
        make_model("sam", SIZE, renormalise=False).initial_state(B, base=base)
    with pytest.raises(ConfigError, match="base: expected a memory whose initial_state takes"):
        sam.DAM(INPUTS, 2, memory_size=SIZE, word_size=W).initial_state(B, base=base)
    with pytest.raises(ConfigError, match="record: expected a state without a base"):
        fresh(model, base).record()


def test_a_consumed_state_is_noticed(base):
    model = make_model("sam", SIZE)
    state = fresh(model, base)
    model(normal(2, B, INPUTS), state)
    with pytest.raises(StaleStateError):
        model(normal(2, B, INPUTS), state)


def test_sequences_of_different_lengths(base):
    model = make_model("sdnc", SIZE, FORMS[2])
    lengths = torch.tensor([20, 7, 13])
    inputs = pack_padded_sequence(normal(20, B, INPUTS), lengths, enforce_sorted=False)
    episodes = []
    for begun in (fresh(model, None), fresh(model, base)):
        outputs, state = model(inputs, begun)
        episodes.append((outputs.data, run(model, state.detach(), normal(8, B, INPUTS), FORMS[2])))
    torch.testing.assert_close(episodes[1][0], episodes[0][0], rtol=0, atol=1e-12)
    assert_same(episodes[1][1], episodes[0][1])


def test_a_state_of_the_inference_mode_gives_ordinary_ones(base):
    model = make_model("sam", SIZE)
    with torch.inference_mode():
        _, state = model(normal(5, B, INPUTS), fresh(model, base))
    for ordinary in (state.clone(), state.rows([0, 1, 2]), CellState.cat([state])):
        outputs, _ = model(normal(5, B, INPUTS), ordinary)
        outputs.sum().backward()


def test_a_state_of_no_rows(base):
    model = make_model("sam", SIZE)
    outputs, state = model(normal(3, 0, INPUTS), model.initial_state(0, base=base))
    assert outputs.shape[1] == 0 and state.diff().batch_size == 0
    joined = CellState.cat([state.detach(), fresh(model, base)])
    assert joined.batch_size == B and joined.memory.words_in_use.tolist() == [SHARED] * B
