"""A store that starts with words: what it holds, and gradients that cost O(touched words)."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sam import NonFiniteError, ShapeError
from sam.ops import WordStore
from sam.store.touched_rows import TouchedRows
from tests.reference.dense_store import DenseStore
from tests.reference.new_bytes import NewBytes

B, N, W = 2, 400, 3


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.fixture
def layouts(monkeypatch):
    """The layouts of G that backward passes make."""
    made, lay_out = [], TouchedRows.lay_out

    def spy(self, buffer):
        made.append(lay_out(self, buffer))
        return made[-1]

    monkeypatch.setattr(TouchedRows, "lay_out", spy)
    return made


def draw_program(seed, steps=10):
    """Writes, reads, resets and clones of a handful of stores, each of them used again later."""
    generator = torch.Generator().manual_seed(seed)

    def slots(*shape):
        # Low slots come up again and again, the others make the rows touched sparse.
        high = 6 if torch.rand((), generator=generator) < 0.5 else N
        return torch.randint(-1, high, (B, *shape), generator=generator)

    program = []
    for _ in range(steps):
        store = int(torch.randint(0, 99, (), generator=generator))
        kind = float(torch.rand((), generator=generator))
        program.append(("write", store, slots(2, 2), slots(2).clamp(min=0) if kind < 0.6 else None))
        program.append(("read", store, slots(3), None))
        if kind < 0.2:
            mask = torch.rand(B, generator=generator) < 0.5
            program.append(("reset", store, mask, None))
        elif kind < 0.4:
            program.append(("clone", store, None, None))
    return program


def run(store, program):
    """Runs a program; returns leaves, what was read and the stores."""
    leaves, reads, stores = [], [], [store]
    for step, (kind, which, slots, erase) in enumerate(program):
        which %= len(stores)
        store = stores[which]
        dense = isinstance(store, DenseStore)
        if kind == "clone":
            stores.append(store.clone())
        elif kind == "reset":
            after = store.reset(slots)
            stores[which] = store if dense else after
        elif kind == "read":
            found = store.read(slots)
            words, stores[which] = (found, store) if dense else found
            reads.append(words)
        else:
            leaves += [normal(*slots.shape, seed=step), normal(B, 2, W, seed=step + 99)]
            values, words = (leaf.requires_grad_() for leaf in leaves[-2:])
            after = store.write(slots, values, words, erase=erase)
            stores[which] = store if dense else after
    return leaves, torch.stack(reads), stores


@given(st.integers(0, 10_000))
def test_gradients_equal_the_dense_form(seed):
    program, words = draw_program(seed), normal(B, N, W, seed=seed)
    leaves, reads, stores = run(WordStore(B, N, W, dtype=torch.float64, words=words), program)
    others, expected, dense_stores = run(DenseStore(words), program)
    torch.testing.assert_close(reads, expected, rtol=0, atol=1e-12)
    weight = normal(*reads.shape, seed=seed + 1)
    (reads * weight).sum().backward()
    (expected * weight).sum().backward()
    for leaf, other in zip(leaves, others, strict=True):
        found = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
        wanted = torch.zeros_like(other) if other.grad is None else other.grad
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-11)
    for store, dense in zip(stores, dense_stores, strict=True):
        torch.testing.assert_close(store.words, dense.words.detach(), rtol=0, atol=1e-12)
        assert store._tape.grad is None


def test_program_of_the_property_test_is_laid_out_compactly(layouts):
    """Or that test would not reach what it is there for."""
    words = normal(B, N, W)
    for seed in range(20):
        program = draw_program(seed)
        _, reads, _ = run(WordStore(B, N, W, dtype=torch.float64, words=words), program)
        reads.sum().backward()
    kinds = {kind for seed in range(20) for kind, *_ in draw_program(seed)}
    assert kinds == {"write", "read", "reset", "clone"}
    assert len(layouts) == 20
    assert all(made.size < B * N // 2 and made.places is not None for made in layouts)
    assert any(made.pads for made in layouts), "pads must be among the rows touched"


@pytest.mark.parametrize("fork", [False, True])
def test_bytes_of_a_backward_pass_do_not_depend_on_the_memory_size(layouts, fork):
    found = []
    for memory_size in (2**10, 2**16):
        store = WordStore(2, memory_size, 4, words=torch.ones(memory_size, 4))
        added = torch.ones(2, 1, 4, requires_grad=True)
        total, slots = torch.zeros(()), torch.arange(6).view(2, 3)
        for step in range(6):
            store = store.add(slots[:, :1] + 40 * step, added)
            other = store.clone() if fork else store
            read, after = other.read(slots + 50 * step)
            store = store if fork else after
            total = total + read.sum()
        with NewBytes() as made:
            total.backward()
        found.append((made.total, [layout.size for layout in layouts]))
        layouts.clear()
    assert found[0] == found[1]
    assert 0 < sum(found[0][1]) <= 2 * 6 * 4


def test_memory_about_as_small_as_what_was_touched_is_laid_out_in_place(layouts):
    store = WordStore(1, 2**30, 4)
    words = torch.ones(1, 1, 4, requires_grad=True)
    for slot in range(100):
        store = store.add(torch.tensor([[slot]]), words)
    read, _ = store.read(torch.tensor([[99]]))
    read.sum().backward()
    assert [made.places for made in layouts] == [None]


def test_what_only_a_clone_of_a_clone_touched_reaches_the_first_store(layouts):
    words = torch.ones(1, 1, 2, dtype=torch.float64, requires_grad=True)
    slot = torch.tensor([[500]])
    first = WordStore(1, 2000, 2, dtype=torch.float64, words=torch.zeros(2000, 2)).add(slot, words)
    second = first.clone()
    third = second.clone()
    read, _ = third.read(slot)
    read.sum().backward()
    assert layouts[0].places is not None
    assert words.grad is not None and words.grad.tolist() == [[[1.0, 1.0]]]


def test_a_step_taken_after_a_partial_backward_pass_gets_its_own_gradient():
    store = WordStore(1, 2000, 2, words=torch.zeros(2000, 2))
    early = torch.ones(1, 1, 2, requires_grad=True)
    late = torch.ones(1, 1, 2, requires_grad=True)
    store = store.add(torch.tensor([[7]]), early).add(torch.tensor([[1500]]), late)
    read, store = store.read(torch.tensor([[1500]]))
    # Stops at the second write: the first one is not on the way to `late`.
    (grad,) = torch.autograd.grad(read.sum(), late, retain_graph=True)
    assert grad.tolist() == [[[1.0, 1.0]]]
    last = torch.ones(1, 1, 2, requires_grad=True)
    read, _ = store.add(torch.tensor([[1500]]), last).read(torch.tensor([[1500]]))
    (grad,) = torch.autograd.grad(5 * read.sum(), last)
    assert grad.tolist() == [[[5.0, 5.0]]]


def test_words_lie_in_the_first_slots_copied_converted_and_detached():
    shared = normal(5, W).requires_grad_()
    own = normal(B, 5, W, seed=1).half()
    for words in (shared, own):
        store = WordStore(B, N, W, words=words)
        expected = words.detach().float().expand(B, 5, W)
        assert torch.equal(store.words[:, :5], expected) and not store.words[:, 5:].any()
        read, after = store.read(torch.tensor([[4, -1, 5]] * B))
        assert torch.equal(read[:, 0], expected[:, 4]) and not read[:, 1:].any()
        assert not read.requires_grad
        after = after.erase(torch.full((B, 1), 4))
        assert words.detach()[..., 4, :].any(), "the words given must stay as they are"
    assert shared.grad is None


def test_copies_and_reset_of_a_loaded_store():
    store = WordStore(B, 6, W, words=normal(6, W))
    held = store.words.clone()
    others = [store.clone(), copy.deepcopy(store), store.detach().clone()]
    store = store.reset(torch.tensor([True, False]))
    assert not store.words[0].any() and torch.equal(store.words[1], held[1])
    assert all(torch.equal(other.words, held) for other in others)


def test_no_words_are_an_empty_store():
    assert not WordStore(B, N, W, words=torch.zeros(0, W)).words.any()


@pytest.mark.parametrize(
    ("words", "error", "text"),
    [
        (torch.zeros(4, W + 1), ShapeError, r"\[n, W=3\] or \[B=2, n, W=3\], got .* \[4, 4\]"),
        (torch.zeros(B + 1, 4, W), ShapeError, r"\[B=2, n, W=3\], got torch.float32 \[3, 4, 3\]"),
        (torch.zeros(W), ShapeError, r"got torch.float32 \[3\]"),
        (torch.zeros(4, W, dtype=torch.int64), ShapeError, "expected floats .* got torch.int64"),
        ([[0.0] * W], ShapeError, "got list"),
        (torch.zeros(N + 1, W), ShapeError, "at most memory_size=400 words, got 401"),
        (torch.zeros(4, W).log(), NonFiniteError, r"torch.float32, got -inf at \[0, 0\]"),
        (torch.full((4, W), 1e300, dtype=torch.float64), NonFiniteError, "got inf at"),
    ],
)
def test_wrong_words_name_what_was_expected(words, error, text):
    with pytest.raises(error, match=text):
        WordStore(B, N, W, words=words)
