"""A memory that starts with words: reads at once, costs, gradients against the naive form."""

import itertools

import pytest
import torch

from index import Neighbors
from sam.fast.fused_access import fused_step
from sam.memory.sam import SAMMemory
from sam.memory.sam_state import SAMControls
from sam.store.touched_rows import TouchedRows
from tests.reference import sam_naive
from tests.reference.new_bytes import NewBytes

B, H, W = 3, 2, 5


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def draw_controls(steps, seed=0):
    """Float64 leaves of T steps; gates spread over (0, 1).

    Keys resemble what was added a step before, so that among many loaded words it is read again.
    """
    adds = normal(steps, B, H, W, seed=seed + 1)
    return SAMControls(
        keys=(adds.roll(1, 0) + normal(steps, B, H, W, seed=seed) / 4).requires_grad_(),
        adds=adds.requires_grad_(),
        write_gates=normal(steps, B, H, seed=seed + 2).sigmoid().requires_grad_(),
        interpolation_gates=normal(steps, B, H, seed=seed + 3).sigmoid().requires_grad_(),
        strengths=(1 + normal(steps, B, H, seed=seed + 4).abs()).requires_grad_(),
    )


def part(controls, begin, end):
    return SAMControls(*(field[begin:end] for field in controls))


def fresh_leaves(controls):
    return SAMControls(*(field.detach().clone().requires_grad_() for field in controls))


def rollout(memory, controls, state, starts=None):
    """Runs the memory; returns reads, read slots, oldest slots and the state."""
    reads, slots, oldest = [], [], []
    for step in range(len(controls.keys)):
        if starts is not None and starts[step].any():
            state = state.reset(starts[step])
        read, state = memory.step(SAMControls(*(field[step] for field in controls)), state)
        reads.append(read)
        slots.append(state.read_weights.slots)
        oldest.append(state.write_weights.slots[:, :, -1])
    return (*map(torch.stack, (reads, slots, oldest)), state)


def naive(memory, controls, slots, oldest, words, **options):
    reads, last = sam_naive.rollout(
        *(controls.keys, controls.strengths, controls.adds),
        *(controls.write_gates, controls.interpolation_gates),
        oldest=oldest,
        read_slots=slots,
        memory_size=memory.memory_size,
        words=words,
        **options,
    )
    return reads, last.detach()


def assert_equal_gradients(ours, theirs):
    for name, found, wanted in zip(SAMControls._fields, ours, theirs, strict=True):
        assert wanted.grad.abs().max() > 0
        error = (found.grad - wanted.grad).norm() / wanted.grad.norm()
        assert error < 1e-8, f"{name}: relative error {error}"


class Fused(SAMMemory):
    """Stepped as one operation."""

    step = fused_step


# G is compact where the memory is large beside what the steps touch.
CASES = list(itertools.product((SAMMemory, Fused), (900, 900 - 8, 12)))
cases = pytest.mark.parametrize(("kind", "loaded"), CASES)


def build(kind, loaded):
    memory = kind(memory_size=12 if loaded == 12 else 900, word_size=W, num_heads=H, top_k=3)
    return memory, normal(B, loaded, W, seed=9)


@cases
@pytest.mark.parametrize("starts", [False, True])
def test_gradients_equal_the_naive_form(kind, loaded, starts):
    memory, words = build(kind, loaded)
    ours = draw_controls(6)
    begins = torch.zeros(6, B, dtype=torch.bool)
    if starts:
        begins[3, 1] = begins[4, 2] = True
    state = memory.initial_state(B, dtype=torch.float64, words=words)
    reads, slots, oldest, state = rollout(memory, ours, state, begins)
    weight = normal(*reads.shape, seed=7)
    (reads * weight).sum().backward()
    theirs = fresh_leaves(ours)
    expected, last = naive(memory, theirs, slots, oldest, words, starts=begins)
    torch.testing.assert_close(reads, expected, rtol=0, atol=1e-12)
    (expected * weight).sum().backward()
    assert_equal_gradients(ours, theirs)
    torch.testing.assert_close(state.words.words[:, : memory.memory_size], last, rtol=0, atol=1e-12)
    if not starts:
        assert (slots >= 0).all(), "there must be K words from the first step"


@cases
def test_gradients_of_two_futures_equal_the_naive_form(kind, loaded):
    memory, words = build(kind, loaded)
    past, futures = draw_controls(3), (draw_controls(3, seed=20), draw_controls(3, seed=40))
    *seen, state = rollout(memory, past, memory.initial_state(B, dtype=torch.float64, words=words))
    loss = seen[0].square().sum()
    chosen = []
    for future, start in zip(futures, (state.clone(), state), strict=True):
        reads, *slots, _ = rollout(memory, future, start)
        loss = loss + reads.square().sum()
        chosen.append(slots)
    loss.backward()
    past_leaves, future_leaves = fresh_leaves(past), [fresh_leaves(future) for future in futures]
    other = torch.zeros((), dtype=torch.float64)
    for leaves, slots in zip(future_leaves, chosen, strict=True):
        both = SAMControls(*map(torch.cat, zip(past_leaves, leaves, strict=True)))
        picks = [torch.cat(pair) for pair in zip(seen[1:], slots, strict=True)]
        reads, _ = naive(memory, both, *picks, words)
        other = other + reads[3:].square().sum() + reads[:3].square().sum() / 2
    torch.testing.assert_close(loss, other, rtol=1e-12, atol=0)
    other.backward()
    for ours, theirs in zip((past, *futures), (past_leaves, *future_leaves), strict=True):
        assert_equal_gradients(ours, theirs)


@cases
def test_truncated_gradients_equal_the_naive_form(kind, loaded):
    memory, words = build(kind, loaded)
    ours = draw_controls(6)
    state, results = memory.initial_state(B, dtype=torch.float64, words=words), []
    for begin in (0, 3):
        *found, state = rollout(memory, part(ours, begin, begin + 3), state.detach())
        found[0].square().sum().backward()
        results.append(found)
    reads, slots, oldest = (torch.cat(pair) for pair in zip(*results, strict=True))
    theirs = fresh_leaves(ours)
    expected, _ = naive(memory, theirs, slots, oldest, words, cut=3)
    torch.testing.assert_close(reads, expected, rtol=0, atol=1e-12)
    expected.square().sum().backward()
    assert_equal_gradients(ours, theirs)


def test_cases_above_cover_both_layouts_of_the_gradient(monkeypatch):
    made, lay_out = [], TouchedRows.lay_out
    monkeypatch.setattr(
        TouchedRows, "lay_out", lambda *args: made.append(lay_out(*args)) or made[-1]
    )
    for case in CASES:
        memory, words = build(*case)
        state = memory.initial_state(B, dtype=torch.float64, words=words)
        rollout(memory, draw_controls(9), state)[0].sum().backward()
    assert [layout.places is None for layout in made] == [loaded == 12 for _, loaded in CASES]


def blind(state, slots, words, keys, top_k):
    """Reads the same slots whatever the keys are, so that no search counts."""
    state.index.reserve(state.order.slot_bound)
    found = torch.arange(B * H * top_k).view(B, H, top_k) * 20
    return Neighbors(found, torch.zeros(found.shape, dtype=torch.float64))


def test_bytes_of_a_step_and_of_its_gradient_do_not_depend_on_the_memory_size(monkeypatch):
    monkeypatch.setattr("sam.memory.sam.find_nearest", blind)
    found = []
    for memory_size in (2**10, 2**16):
        memory = SAMMemory(memory_size=memory_size, word_size=W, num_heads=H, top_k=3)
        controls = draw_controls(5)
        words = torch.zeros(memory_size, W)
        state = memory.initial_state(B, dtype=torch.float64, words=words)
        # The first step makes the sums of the order; no other one may make something as large.
        state = rollout(memory, part(controls, 0, 1), state)[-1].detach()
        with NewBytes() as forward:
            reads, _, _, _state = rollout(memory, part(controls, 1, 5), state)
        with NewBytes() as backward:
            reads.sum().backward()
        found.append((forward.total, backward.total))
    assert found[0] == found[1]
    assert all(0 < total < 2**16 * W * 8 for total in found[0])


def test_writing_beyond_the_loaded_words_does_not_move_them():
    memory = SAMMemory(memory_size=900, word_size=W, num_heads=H, top_k=3)
    state = memory.initial_state(B, dtype=torch.float64, words=normal(300, W))
    place, held = state.words.words.data_ptr(), state.words.nbytes + state.index.nbytes
    _, _, oldest, state = rollout(memory, draw_controls(5), state)
    assert oldest.amin() == 300 and oldest.amax() > 300
    assert state.words.words.data_ptr() == place
    assert state.words.nbytes + state.index.nbytes == held


@pytest.mark.parametrize("options", [{}, {"shared_write": True}, {"similarity": "euclidean"}])
def test_a_loaded_word_is_read_at_the_first_step_by_its_own_key(options):
    memory = SAMMemory(memory_size=64, word_size=W, num_heads=H, top_k=1, **options)
    words = torch.nn.functional.normalize(normal(64, W), dim=1)
    state = memory.initial_state(B, dtype=torch.float64, words=words)
    wanted = torch.tensor([[5, 63], [20, 6], [33, 33]])
    controls = SAMControls(
        keys=words[wanted],
        adds=torch.zeros(B, memory.num_writes, W, dtype=torch.float64),
        write_gates=torch.zeros(B, memory.num_writes, dtype=torch.float64),
        interpolation_gates=torch.zeros(B, memory.num_writes, dtype=torch.float64),
        strengths=torch.ones(B, H, dtype=torch.float64),
    )
    reads, state = memory.step(controls, state)
    assert torch.equal(state.read_weights.slots[..., 0], wanted)
    torch.testing.assert_close(reads, words[wanted], rtol=0, atol=1e-12)


def test_fresh_slots_are_written_first_then_slot_zero():
    memory = SAMMemory(memory_size=8, word_size=W, num_heads=2, top_k=1)
    state = memory.initial_state(B, dtype=torch.float64, words=normal(6, W))
    _, _, oldest, _ = rollout(memory, draw_controls(1), state.clone())
    assert oldest.tolist() == [[[6, 7]] * B]
    state = memory.initial_state(B, dtype=torch.float64, words=normal(8, W))
    _, _, oldest, _ = rollout(memory, draw_controls(1), state)
    assert oldest.tolist() == [[[0, 1]] * B]


@pytest.mark.parametrize("options", [{}, {"renormalise": False}, {"shared_write": True}])
@pytest.mark.parametrize("memory_size", [12, 20])
def test_loaded_words_are_as_words_written_before(options, memory_size):
    memory = SAMMemory(memory_size=memory_size, word_size=W, num_heads=H, top_k=3, **options)
    words = normal(B, 12, W)
    given = memory.initial_state(B, dtype=torch.float64, words=words)
    written = memory.initial_state(B, dtype=torch.float64)
    for _ in range(12 // memory.num_writes):
        slots = written.order.lru_slots()
        written.order.record_access(slots.flip(1), torch.ones(slots.shape).double(), 0.5)
        new = words.gather(1, slots[:, :, None].expand(-1, -1, W))
        written = written._replace(words=written.words.add(slots, new))
        written.index.update(slots, new)
    controls = draw_controls(15)
    if memory.shared_write:
        controls = SAMControls(
            controls.keys, *(field[:, :, :1] for field in controls[1:4]), controls.strengths
        )
    found, expected = (rollout(memory, controls, state)[:3] for state in (given, written))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
