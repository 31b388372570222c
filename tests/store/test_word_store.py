"""WordStore: values and gradients against an out-of-place form, consumption, growth, bytes."""

import copy
import pickle

import pytest
import torch

from sam.errors import ShapeError, StaleStateError
from sam.models import make_model
from sam.ops import WordStore
from tests.reference.dense_store import DenseStore

B, N, W = 2, 70, 3


def draw_program(seed, steps=12):
    """Random operations on slots that overlap a lot, grow the store and include the pad."""
    generator = torch.Generator().manual_seed(seed)
    program = []
    for step in range(steps):
        high = 5 if step < steps // 2 else N
        slots = torch.randint(-1, high, (B, 2, 3), generator=generator)
        erase = torch.randint(0, 5, (B, 2), generator=generator) if step % 3 else None
        look = torch.randint(-1, high, (B, 4), generator=generator)
        program.append((slots, erase, look))
    return program


def draw_leaves(program, seed):
    generator = torch.Generator().manual_seed(seed)
    leaves = []
    for slots, *_ in program:
        values = torch.randn(slots.shape, generator=generator, dtype=torch.float64)
        words = torch.randn(B, 2, W, generator=generator, dtype=torch.float64)
        leaves += [values.requires_grad_(), words.requires_grad_()]
    return leaves


def run(store, program, leaves):
    reads = []
    for step, (slots, erase, look) in enumerate(program):
        values, words = leaves[2 * step : 2 * step + 2]
        if isinstance(store, DenseStore):
            store.write(slots, values, words, erase)
            reads.append(store.read(look))
        else:
            store = store.write(slots, values, words, erase=erase)
            read, store = store.read(look)
            reads.append(read)
    return torch.stack(reads), store


@pytest.mark.parametrize("seed", range(4))
def test_values_and_gradients_equal_the_dense_store(seed):
    program = draw_program(seed)
    ours, theirs = draw_leaves(program, seed), draw_leaves(program, seed)
    found, store = run(WordStore(B, N, W, dtype=torch.float64), program, ours)
    wanted, dense = run(DenseStore(torch.zeros(B, N, W, dtype=torch.float64)), program, theirs)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    weight = torch.randn(found.shape, generator=torch.Generator().manual_seed(9)).double()
    # Half of the reads carry no loss, the last one among them.
    weight[::2] = 0
    weight = weight[: len(found) - 1]
    (found[:-1] * weight).sum().backward()
    (wanted[:-1] * weight).sum().backward()
    for mine, other in zip(ours, theirs, strict=True):
        expected = torch.zeros_like(other) if other.grad is None else other.grad
        actual = torch.zeros_like(mine) if mine.grad is None else mine.grad
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(
        store.words, dense.words[:, : store.capacity].detach(), rtol=0, atol=1e-12
    )


def test_loss_on_an_early_read_ignores_what_came_later():
    store = WordStore(1, 8, 2, dtype=torch.float64)
    first = torch.ones(1, 1, 2, dtype=torch.float64, requires_grad=True)
    later = torch.ones(1, 1, 2, dtype=torch.float64, requires_grad=True)
    slot = torch.zeros(1, 1, dtype=torch.int64)
    store = store.add(slot, first)
    early, store = store.read(slot)
    store = store.erase(slot)
    store = store.add(slot, later)
    late, store = store.read(slot)
    early.sum().backward()
    assert first.grad is not None and first.grad.tolist() == [[[1.0, 1.0]]]
    assert later.grad is None
    assert late.tolist() == [[[1.0, 1.0]]]


def test_pad_reads_zero_and_drops_what_is_added():
    store = WordStore(1, 8, 2)
    pad = torch.full((1, 2), -1)
    added = torch.ones(1, 2, 2, requires_grad=True)
    store = store.add(pad, added)
    read, store = store.read(pad)
    assert not read.any() and not store.words.any()
    read.sum().backward()
    assert added.grad is not None and not added.grad.any()


def test_every_operation_consumes_its_handle():
    slot = torch.zeros(1, 1, dtype=torch.int64)
    word = torch.ones(1, 1, 2)
    operations = {
        "read": lambda store: store.read(slot),
        "add": lambda store: store.add(slot, word),
        "erase": lambda store: store.erase(slot),
        "reset": lambda store: store.reset(torch.tensor([True])),
    }
    for first in operations.values():
        for second in (*operations.values(), WordStore.clone, WordStore.detach, lambda s: s.words):
            store = WordStore(1, 8, 2)
            first(store)
            with pytest.raises(StaleStateError, match=r"clone\(\)"):
                second(store)


def test_second_backward_raises():
    word = torch.ones(1, 1, 2, requires_grad=True)
    slot = torch.zeros(1, 1, dtype=torch.int64)
    read, _ = WordStore(1, 8, 2).add(slot, word).read(slot)
    loss = read.sum()
    loss.backward(retain_graph=True)
    with pytest.raises(StaleStateError, match="one backward pass"):
        loss.backward()


def test_clone_is_independent_and_both_futures_give_gradients():
    word = torch.tensor([[[1.0, 2.0]]], dtype=torch.float64, requires_grad=True)
    slot = torch.zeros(1, 1, dtype=torch.int64)
    store = WordStore(1, 100, 2, dtype=torch.float64).add(slot, word)
    other = store.clone()
    store = store.erase(slot)
    mine, store = store.read(slot)
    other = other.add(slot + 60, 3 * word)
    theirs, other = other.read(slot)
    far, other = other.read(slot + 60)
    assert not mine.any() and theirs.tolist() == [[[1.0, 2.0]]]
    (mine.sum() + 5 * theirs.sum() + far.sum()).backward()
    assert word.grad is not None and word.grad.tolist() == [[[8.0, 8.0]]]


def test_detach_and_no_grad_cut_the_gradient():
    slot = torch.zeros(1, 1, dtype=torch.int64)
    for cut in ("detach", "no_grad"):
        early = torch.ones(1, 1, 2, requires_grad=True)
        late = torch.ones(1, 1, 2, requires_grad=True)
        store = WordStore(1, 8, 2).add(slot, early)
        if cut == "detach":
            store = store.detach()
        else:
            with torch.no_grad():
                store = store.add(slot, torch.zeros(1, 1, 2))
        read, _ = store.add(slot, late).read(slot)
        assert read.tolist() == [[[2.0, 2.0]]]
        read.sum().backward()
        assert early.grad is None
        assert late.grad is not None and late.grad.tolist() == [[[1.0, 1.0]]]


def test_nothing_needs_gradients_when_nothing_written_did():
    slot = torch.zeros(1, 1, dtype=torch.int64)
    read, _ = WordStore(1, 8, 2).add(slot, torch.ones(1, 1, 2)).read(slot)
    assert not read.requires_grad


def test_reset_zeroes_some_rows_and_stops_their_gradient():
    words = torch.ones(2, 1, 2, requires_grad=True)
    slot = torch.zeros(2, 1, dtype=torch.int64)
    store = WordStore(2, 8, 2).add(slot, words).reset(torch.tensor([True, False]))
    read, _ = store.read(slot)
    assert read[:, 0].tolist() == [[0.0, 0.0], [1.0, 1.0]]
    read.sum().backward()
    assert words.grad is not None and words.grad[:, 0].tolist() == [[0.0, 0.0], [1.0, 1.0]]


def test_bytes_follow_the_slots_touched_and_not_the_memory_size():
    small, large = WordStore(8, 2**10, 32), WordStore(8, 2**30, 32)
    assert small.nbytes == large.nbytes < 200_000
    slots = torch.arange(100).repeat(8, 1)
    large = large.add(slots, torch.ones(8, 100, 32))
    assert 100 <= large.capacity <= 200
    assert large.nbytes == (large.capacity + 1) * 8 * 32 * 4


@pytest.mark.parametrize("words", [None, torch.zeros(500, 2)])
def test_nothing_of_the_backward_pass_is_held_after_it(words):
    word = torch.ones(1, 1, 2, requires_grad=True)
    slot = torch.zeros(1, 1, dtype=torch.int64)
    read, store = WordStore(1, 500, 2, words=words).add(slot, word).read(slot)
    read.sum().backward()
    assert store._tape is not None and store._tape.grad is None
    assert store._tape.touched.layout is None and store._tape.touched._parts is None


@pytest.mark.parametrize(
    ("slots", "text"),
    [([[8]], r"expected values in \[-1, 8\), got 8"), ([[-2]], "got -2"), ([[0], [0]], "B=1")],
)
def test_wrong_slots_name_what_was_expected(slots, text):
    store = WordStore(1, 8, 2)
    with pytest.raises(ShapeError, match=text):
        store.read(torch.tensor(slots))
    store.check()


def test_wrong_word_shapes_raise():
    slot = torch.zeros(1, 1, dtype=torch.int64)
    with pytest.raises(ShapeError, match="words"):
        WordStore(1, 8, 2).add(slot, torch.ones(1, 1, 3))
    with pytest.raises(ShapeError, match="values"):
        WordStore(1, 8, 2).write(slot, torch.ones(1, 2), torch.ones(1, 2))


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))])
def test_copies_hold_the_same_words_and_are_independent(copier):
    slot = torch.zeros(1, 1, dtype=torch.int64)
    store = WordStore(1, 2**30, 2).add(slot, torch.ones(1, 1, 2, requires_grad=True))
    other = copier(store)
    assert torch.equal(other.words, store.words) and other.memory_size == 2**30
    other = other.erase(slot)
    assert store.words[0, 0].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("name", ["sam", "sdnc"])
def test_a_state_that_is_on_a_device_already_keeps_all_of_its_parts(name):
    """By another name of the device as well: words must not be copied without their order."""
    state = make_model(name, 3, 2).initial_state(2)
    for device in ("cpu", "cpu:0", torch.device("cpu", 0)):
        moved = state.to(device)
        assert moved.memory.words is state.memory.words
        assert moved.memory.order is state.memory.order
        assert moved.memory.index is state.memory.index


@pytest.mark.parametrize("first", [0, 1])
def test_a_clone_and_its_original_may_grow_apart(first):
    """The one whose backward pass begins first has the smaller buffer, or the larger one."""
    store = WordStore(1, 500, 2, dtype=torch.float64)
    few, many = torch.arange(30)[None], torch.arange(100)[None]
    early = torch.ones(1, 30, 2, dtype=torch.float64, requires_grad=True)
    late = torch.ones(1, 100, 2, dtype=torch.float64, requires_grad=True)
    store = store.add(few, early)
    small = store.clone()
    large = store.add(many, late)
    reads = [large.read(many)[0], small.read(few)[0]]
    (reads[first].sum() + reads[1 - first].sum()).backward()
    assert early.grad.eq(2).all() and late.grad.eq(1).all()
