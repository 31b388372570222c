"""`state.record()` and `state.at(step)`: any past state of a rollout, to the last bit."""

import copy
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence

from sam import DAM, SAM, SDNC, CellState, ConfigError, ShapeError, StaleStateError, load_state
from sam.ops.link_table import LinkTable

STEPS, BATCH = 24, 3
CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "sam": (SAM, {"memory_size": 1024}),
    "sam, every slot in use": (SAM, {"memory_size": 14}),
    "sam, one write head": (SAM, {"memory_size": 20, "shared_write": True}),
    "sam, euclidean": (SAM, {"memory_size": 64, "similarity": "euclidean"}),
    "sdnc": (SDNC, {"memory_size": 1024}),
    "sdnc, every slot in use": (SDNC, {"memory_size": 14}),
}
each_case = pytest.mark.parametrize("case", CASES)


def make(case: str, **more: Any) -> Any:
    model, settings = CASES[case]
    sizes = {"hidden_size": 12, "word_size": 6, "top_k": 3}
    return model(4, 2, **sizes, **settings, **more)


def parts(state: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """All that a state holds."""
    if isinstance(state, tuple):
        names = getattr(state, "_fields", None) or map(str, range(len(state)))
        for field, part in zip(names, state, strict=True):
            yield from parts(part, f"{name}.{field}")
    elif hasattr(state, "content"):
        yield from ((f"{name}.{key}", part) for key, part in state.content().items())
    else:
        yield name, state


def assert_equal(found: CellState, expected: CellState, *, tensors_only: bool = False) -> None:
    expected = expected._replace(journal=None, trace=None)
    mine, theirs = dict(parts(found)), dict(parts(expected))
    assert mine.keys() == theirs.keys()
    for name, part in mine.items():
        if isinstance(part, Tensor):
            assert torch.equal(part, theirs[name]), name
        else:
            assert tensors_only or part == theirs[name], name


def assert_same_words(found: Any, expected: Any) -> None:
    """Of two states, whatever room they have beyond the words."""
    short, long = sorted((each.words.words for each in (found, expected)), key=lambda w: w.shape[1])
    assert torch.equal(short, long[:, : short.shape[1]]) and not long[:, short.shape[1] :].any()


class Rollout:
    """Steps with one call each, as an agent takes them, and a copy of each state before them."""

    def __init__(self, model: Any, *, steps: int = STEPS) -> None:
        self.model = model
        self.inputs = torch.randn(steps, BATCH, 4, dtype=model.output.weight.dtype)
        self.starts = torch.rand(steps, BATCH) < 0.08
        _, state = model(self.inputs[:5])
        self.state = state.detach().record()
        self.before, self.outputs = [], []
        for step in range(steps):
            self.before.append(self.state._replace(journal=None).detach().clone())
            outputs, self.state = self.call(self.state, step)
            self.outputs.append(outputs)
        self.before.append(self.state._replace(journal=None).detach().clone())

    def call(self, state: CellState, step: int) -> tuple[Tensor, CellState]:
        of = slice(step, step + 1)
        return self.model(self.inputs[of], state, starts=self.starts[of])


@pytest.mark.parametrize("compiled", [None, False])
@each_case
def test_gives_back_every_state_and_what_follows_from_it(case: str, compiled: bool | None) -> None:
    with torch.no_grad():
        rollout = Rollout(make(case, compiled=compiled))
        assert len(rollout.state.journal) == STEPS
        for step, expected in enumerate(rollout.before):
            assert_equal(rollout.state.at(step), expected)
        for step in (0, 7, STEPS - 1):
            state = rollout.state.at(step)
            for later in range(step, STEPS):
                outputs, state = rollout.call(state, later)
                assert torch.equal(outputs, rollout.outputs[later])


@each_case
def test_many_steps_a_call(case: str) -> None:
    model, inputs = make(case), torch.randn(20, BATCH, 4)
    starts = torch.rand(20, BATCH) < 0.1
    with torch.no_grad():
        single = model.initial_state(BATCH).record()
        whole = single.clone()
        for step in range(20):
            _, single = model(inputs[step : step + 1], single, starts=starts[step : step + 1])
        _, whole = model(inputs, whole, starts=starts)
    assert len(whole.journal) == len(single.journal) == 20
    for step in range(21):
        # A reset of no row, which only single calls make, has the order look for fresh slots again.
        assert_equal(whole.at(step), single.at(step), tensors_only=True)


def test_replays_a_minibatch_with_gradients() -> None:
    with torch.no_grad():
        rollout = Rollout(make("sam"))
    state = rollout.state.at(8, rows=[2, 0])
    outputs, state = rollout.model(
        rollout.inputs[8:, [2, 0]], state, starts=rollout.starts[8:, [2, 0]]
    )
    torch.testing.assert_close(outputs, torch.cat(rollout.outputs)[8:, [2, 0]])
    assert state.journal is None
    outputs.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in rollout.model.parameters())


@each_case
def test_rows_at_a_step_are_those_of_the_state(case: str) -> None:
    with torch.no_grad():
        rollout = Rollout(make(case))
        for step in (0, 9, STEPS):
            some, whole = rollout.state.at(step, rows=[1]), rollout.state.at(step).rows([1])
            inputs = torch.randn(12, 1, 4)
            found, expected = rollout.model(inputs, some)[0], rollout.model(inputs, whole)[0]
            assert torch.equal(found, expected)


def test_acts_in_inference_mode_and_learns_outside() -> None:
    model, inputs = make("sdnc"), torch.randn(10, BATCH, 4)
    with torch.inference_mode():
        state = model.initial_state(BATCH).record()
        outputs = []
        for step in range(10):
            output, state = model(inputs[step : step + 1], state)
            outputs.append(output)
    again, _ = model(inputs[4:], state.at(4))
    torch.testing.assert_close(again, torch.cat(outputs[4:]).clone())
    again.sum().backward()


def test_goes_along_with_gradients_and_detach() -> None:
    model = make("sam")
    state = model.initial_state(BATCH).record()
    copies = []
    for chunk in torch.randn(12, BATCH, 4).split(4):
        copies.append(state._replace(journal=None).clone())
        outputs, state = model(chunk, state)
        outputs.sum().backward()
        state = state.detach()
    for step, before in zip((0, 4, 8), copies, strict=True):
        assert_equal(state.at(step), before)
    assert not state.at(5).reads.requires_grad
    assert "journal=12 steps" in repr(state)


@each_case
def test_knows_of_rows_that_were_reset_between_calls(case: str) -> None:
    model, ended = make(case), torch.tensor([False, True, False])
    with torch.no_grad():
        _, state = model(torch.randn(6, BATCH, 4), model.initial_state(BATCH).record())
        state = state.reset(ended)
        before = state._replace(journal=None).clone()
        _, state = model(torch.randn(6, BATCH, 4), state)
        assert_equal(state.at(6), before)
        some = state.at(6, rows=[1, 2])
        assert_same_words(some.memory, before.rows([1, 2]).memory)
        last = state.reset(ended)
        assert_equal(last.at(12), last)
        _, last = model(torch.randn(1, BATCH, 4), last)
        assert int(last.at(12).memory.order.handed_out[1]) == 0


def test_numbers_that_a_user_puts_in_are_there_again() -> None:
    model = make("sam")
    with torch.no_grad():
        _, state = model(torch.randn(3, BATCH, 4), model.initial_state(BATCH).record())
        state = state._replace(reads=torch.ones_like(state.reads))
        state.controller.hidden.zero_()
        _, state = model(torch.randn(3, BATCH, 4), state)
    assert bool((state.at(3).reads == 1).all())
    assert bool((state.at(3).controller.hidden == 0).all())


@each_case
def test_copies_and_pickles_have_the_past_as_well(case: str) -> None:
    model = make(case)
    with torch.no_grad():
        _, state = model(torch.randn(6, BATCH, 4), model.initial_state(BATCH).record())
        for other in (copy.deepcopy(state), pickle.loads(pickle.dumps(state)), state.to("cpu")):
            assert len(other.journal) == 6
            assert_equal(other.at(3), state.at(3))
            assert_equal(other.at(6), state)


def test_branches_have_a_common_past_and_futures_of_their_own() -> None:
    model = make("sdnc")
    with torch.no_grad():
        _, state = model(torch.randn(4, BATCH, 4), model.initial_state(BATCH).record())
        branch = state.clone()
        _, state = model(torch.randn(2, BATCH, 4), state)
        _, branch = model(torch.randn(3, BATCH, 4), branch)
    assert (len(state.journal), len(branch.journal)) == (6, 7)
    assert_equal(state.at(4), branch.at(4))
    assert not torch.equal(state.at(5).reads, branch.at(5).reads)


@pytest.mark.parametrize("index", ["ivf", "lsh", "product", "faiss"])
def test_approximate_indexes_have_the_same_words(index: str) -> None:
    if index == "faiss":
        pytest.importorskip("faiss", reason="needs faiss")
    model = make("sam", index=index)
    with torch.no_grad():
        rollout = Rollout(model)
        for step in (0, 11, STEPS):
            found, expected = rollout.state.at(step).memory, rollout.before[step].memory
            assert_same_words(found, expected)
            mine, theirs = found.index.content(), expected.index.content()
            assert torch.equal(mine["words"], theirs["words"])


def test_float64() -> None:
    with torch.no_grad():
        rollout = Rollout(make("sam", compiled=True).double())
        for step in (3, STEPS - 1):
            assert_equal(rollout.state.at(step), rollout.before[step])


def test_bytes_of_a_step_do_not_depend_on_the_memory() -> None:
    """At the paper's sizes a step of a batch row takes less than 2 kB, however large the memory."""
    found = []
    for memory_size in (2**16, 2**29):
        torch.manual_seed(0)
        model = SAM(8, 8, memory_size=memory_size)
        with torch.no_grad():
            state = model.initial_state(4).record()
            start = state.journal.nbytes
            _, state = model(torch.randn(50, 4, 8), state)
        assert state.journal.nbytes == start + state.journal.step_bytes
        found.append(state.journal.step_bytes / 50 / 4)
    assert found[0] == found[1] < 2000


def test_a_journal_of_a_full_memory_has_one_copy_of_it() -> None:
    model = SAM(4, 2, memory_size=4096, word_size=16)
    start = model.initial_state(1, words=torch.randn(4096, 16))
    with torch.no_grad():
        _, state = model(torch.randn(30, 1, 4), start.record())
    assert state.journal.nbytes - state.journal.step_bytes < 1.1 * start.nbytes
    assert state.journal.step_bytes < 30 * 2000


def test_a_file_has_no_journal(tmp_path: Any) -> None:
    pytest.importorskip("safetensors", reason="needs the extra train")
    model = make("sam")
    with torch.no_grad():
        _, state = model(torch.randn(4, BATCH, 4), model.initial_state(BATCH).record())
    state.save(tmp_path / "state.safetensors")
    loaded = load_state(tmp_path / "state.safetensors", model)
    assert loaded.journal is None
    assert torch.equal(loaded.reads, state.reads)


def test_a_call_that_was_refused_leaves_no_trace() -> None:
    """What is done between it and the next call is known all the same."""
    model, other = make("sam"), SAM(4, 2, hidden_size=12, word_size=6, top_k=3, num_heads=3)
    with torch.no_grad():
        _, state = model(torch.randn(4, BATCH, 4), model.initial_state(BATCH).record())
        with pytest.raises(ShapeError):
            other(torch.randn(1, BATCH, 4), state)
        mixed = state._replace(memory=state.memory._replace(order=state.memory.order.clone()))
        with pytest.raises(ShapeError, match="order"):
            model(torch.randn(1, BATCH, 4), mixed)
        state = state.reset(torch.tensor([True, False, False]))
        before = state._replace(journal=None).clone()
        _, state = model(torch.randn(2, BATCH, 4), state)
    assert len(state.journal) == 6
    assert_equal(state.at(4), before)


def test_says_what_is_wrong() -> None:
    model = make("sam")
    state = model.initial_state(BATCH)
    with pytest.raises(ConfigError, match=r"at: expected a state with a journal.*got none"):
        state.at(0)
    _, state = model(torch.randn(4, BATCH, 4), state.record())
    for step in (-1, 5, True, 1.0):
        with pytest.raises(ConfigError, match="step: expected 0 to T=4, got"):
            state.at(step)
    with pytest.raises(ShapeError, match="rows: expected"):
        state.at(2, rows=[7])
    with pytest.raises(ConfigError, match="resize: expected a state without a journal"):
        state.resize(2048)
    with pytest.raises(ConfigError, match="inputs: expected a tensor for a state with a journal"):
        model(pack_sequence([torch.randn(2, 4)] * BATCH), state)
    after = model(torch.randn(1, BATCH, 4), state)[1]
    assert torch.equal(state.at(4).reads, after.at(4).reads)  # a consumed state has the same past
    with pytest.raises(StaleStateError):
        state.record()
    with pytest.raises(ConfigError, match="record: expected the state of a sparse memory"):
        DAM(4, 2).initial_state(1).record()


def test_links_are_renewed_by_the_form_that_did_it() -> None:
    """A journal of compiled steps is read in plain form, and the other way round."""
    with torch.no_grad():
        for compiled in (None, False):
            rollout = Rollout(make("sdnc, every slot in use", compiled=compiled))
            found, expected = rollout.state.at(STEPS - 1), rollout.before[STEPS - 1]
            for name in ("values", "incoming", "outgoing"):
                tables: list[LinkTable] = [s.memory.links.table for s in (found, expected)]
                assert torch.equal(*(getattr(table, name) for table in tables))
