"""NTM's step against the equations in NumPy loops, its gradients, its state and its cost."""

import pickle

import numpy as np
import pytest
import torch

from benchmarks.bytes.footprint import bytes_per_step, saved_bytes
from sam.errors import ConfigError
from sam.interface import Interface
from sam.memory.ntm import NTMControls, NTMMemory
from sam.models.ntm_model import NTM
from sam.ops.squash import ACTIVATIONS
from tests.reference import ntm_loops
from tests.reference.finite_differences import check_gradients


def draw_controls(memory, steps, batch, *, seed=0, dtype=torch.float64):
    """Squashed controls of T steps, each [T, B, ...], as an interface would emit them."""
    generator = torch.Generator().manual_seed(seed)
    return NTMControls(
        **{
            field.name: ACTIVATIONS[field.activation](
                2 * torch.randn(steps, batch, *field.shape, generator=generator, dtype=dtype)
            )
            for field in memory.fields
        }
    )


def at(controls, step):
    return NTMControls(*(None if field is None else field[step] for field in controls))


def rollout(memory, controls, state=None):
    """Runs the memory: reads, read weights and write weights of each step, and the last state."""
    steps, batch = controls.adds.shape[:2]
    if state is None:
        state = memory.initial_state(batch, dtype=controls.adds.dtype)
    reads, read_weights, write_weights = [], [], []
    for step in range(steps):
        read, state = memory.step(at(controls, step), state)
        reads.append(read)
        read_weights.append(state.read_weights)
        write_weights.append(state.write_weights)
    return (*map(torch.stack, (reads, read_weights, write_weights)), state)


def heads_of(controls, kind, step, row):
    """The controls of one step and batch row as the reference takes them."""
    names = {"keys": "key", "strengths": "strength", "gates": "gate", "shifts": "shift"}
    names = {f"{kind}_{plural}": name for plural, name in names.items()}
    names[f"{kind}_gammas"] = "gamma"
    if kind == "write":
        names |= {"erases": "erase", "adds": "add"}
    fields = {n: getattr(controls, field) for field, n in names.items()}
    count = controls.adds.shape[2]
    return [
        {name: f[step, row, head].numpy() for name, f in fields.items() if f is not None}
        for head in range(count)
    ]


CASES = {
    "one head": {},
    "three heads": {"num_heads": 3},
    "wide shifts": {"num_heads": 2, "shift_range": 4},
    "uniform start": {"initial_weights": "uniform", "strength": "oneplus"},
    "content": {"addressing": "content", "num_heads": 2},
    "other word": {"initial_word": 0.3, "num_heads": 2},
}


@pytest.mark.parametrize("case", CASES)
def test_step_follows_the_equations(case):
    memory = NTMMemory(memory_size=7, word_size=4, **CASES[case])
    steps, batch = 6, 2
    controls = draw_controls(memory, steps, batch, seed=len(case))
    reads, read_weights, write_weights, state = rollout(memory, controls)
    uniform = memory.initial_weights == "uniform"
    first = np.full(7, 1 / 7) if uniform else np.eye(7)[0]
    for row in range(batch):
        expected = ntm_loops.episode(
            [
                tuple(heads_of(controls, kind, step, row) for kind in ("write", "read"))
                for step in range(steps)
            ],
            first,
            np.full((7, 4), memory.initial_word),
        )
        np.testing.assert_allclose(write_weights[:, row], expected.write_weights, atol=1e-10)
        np.testing.assert_allclose(read_weights[:, row], expected.read_weights, atol=1e-10)
        np.testing.assert_allclose(reads[:, row], expected.reads, atol=1e-10)
        np.testing.assert_allclose(state.words[row], expected.memory, atol=1e-10)


@pytest.mark.parametrize("options", [{"num_heads": 2}, {"addressing": "content"}])
def test_unrolled_memory_against_finite_differences(options):
    memory = NTMMemory(memory_size=5, word_size=3, **options)
    given = {k: v for k, v in draw_controls(memory, 3, 1)._asdict().items() if v is not None}

    def reads(*fields):
        found, _, _, state = rollout(memory, NTMControls(**dict(zip(given, fields, strict=True))))
        return torch.cat([found.flatten(), state.words.flatten()])

    # Words begin almost at 0, where the cosine bends within 1e-3: a shorter step.
    check_gradients(reads, list(given.values()), step=1e-7)


def test_gradcheck_of_three_steps():
    memory = NTMMemory(memory_size=5, word_size=2, initial_word=0.5)
    fields = [field.requires_grad_() for field in draw_controls(memory, 3, 1)]
    torch.autograd.gradcheck(lambda *f: rollout(memory, NTMControls(*f))[0], fields)


@pytest.mark.parametrize("addressing", ["location", "content"])
def test_fields_are_what_the_controls_hold(addressing):
    memory = NTMMemory(num_heads=2, shift_range=3, word_size=5, addressing=addressing)
    names = [field.name for field in memory.fields]
    assert tuple(names) == NTMControls._fields[: len(names)]
    assert len(names) == (12 if addressing == "location" else 6)
    controls = Interface(8, memory)(torch.randn(4, 8))
    for name, given in controls._asdict().items():
        assert (given is not None) == (name in names)
    if addressing == "location":
        assert controls.read_shifts.shape == (4, 2, 7)
        torch.testing.assert_close(controls.write_shifts.sum(-1), torch.ones(4, 2))
        assert (controls.write_gammas >= 1).all()


def test_write_heads_look_before_the_write_and_read_heads_after_it():
    """Ambiguity A1: what is written at a step is read at that step."""
    memory = NTMMemory(memory_size=6, word_size=3, addressing="content")
    word = torch.tensor([[[2.0, -1.0, 0.5]]])
    controls = NTMControls(
        read_keys=word,
        read_strengths=torch.full((1, 1), 200.0),
        write_keys=word,
        write_strengths=torch.full((1, 1), 200.0),
        erases=torch.ones(1, 1, 3),
        adds=word,
    )
    state = memory.initial_state(1)
    state = state._replace(words=state.words.index_fill(1, torch.tensor([0, 1]), 0.5))
    reads, state = memory.step(controls, state)
    # Of the words before the write none stands out of 0 and 1; all of them after it.
    assert state.write_weights[0, 0, :2].tolist() == pytest.approx([0.5, 0.5], abs=1e-3)
    torch.testing.assert_close(reads, 0.25 + 0.5 * word, rtol=0, atol=1e-3)


def test_reset_puts_rows_back_and_leaves_the_others_alone():
    memory = NTMMemory(memory_size=6, word_size=3, num_heads=2)
    controls = draw_controls(memory, 4, 3)
    *_, state = rollout(memory, controls)
    fresh = memory.initial_state(3, dtype=torch.float64)
    again = state.reset(torch.tensor([True, False, True]))
    for name in ("words", "read_weights", "write_weights"):
        new, old, first = (getattr(s, name) for s in (again, state, fresh))
        assert torch.equal(new[[0, 2]], first[[0, 2]]) and torch.equal(new[1], old[1])
        assert not torch.equal(old[0], first[0])


def test_no_gradient_flows_across_a_reset():
    memory = NTMMemory(memory_size=6, word_size=3)
    controls = draw_controls(memory, 4, 2)
    leaves = NTMControls(*(field.clone().requires_grad_() for field in controls))
    *_, state = rollout(memory, NTMControls(*(field[:2] for field in leaves)))
    state = state.reset(torch.tensor([True, False]))
    reads, *_ = rollout(memory, NTMControls(*(field[2:] for field in leaves)), state)
    reads.square().sum().backward()
    assert not leaves.adds.grad[:2, 0].any()
    assert leaves.adds.grad[:2, 1].any() and leaves.adds.grad[2:, 0].any()


def test_state_survives_detach_clone_to_and_pickle():
    memory = NTMMemory(memory_size=6, word_size=3, initial_word=0.25, initial_weights="uniform")
    *_, state = rollout(memory, draw_controls(memory, 2, 2))
    everywhere = torch.tensor([True, True])
    first = memory.initial_state(2, dtype=torch.float64)
    copies = (state.detach(), state.clone(), state.to("cpu"), pickle.loads(pickle.dumps(state)))
    for copy in copies:
        assert torch.equal(copy.words, state.words) and copy.start == state.start
        renewed = copy.reset(everywhere)
        assert all(torch.equal(a, b) for a, b in zip(renewed[:3], first[:3], strict=True))
    assert copies[1].words.data_ptr() != state.words.data_ptr()
    assert state.nbytes == 8 * 2 * (6 * 3 + 2 * 6)


@pytest.mark.parametrize("initial_weights", ["first", "uniform"])
def test_resized_state_goes_on_with_the_words_it_has(initial_weights):
    memory = NTMMemory(memory_size=5, word_size=3, initial_weights=initial_weights)
    controls = draw_controls(memory, 6, 2)
    *_, state = rollout(memory, at(controls, slice(0, 3)))
    large = state.resize(9)
    assert large.words.shape == (2, 9, 3) and large.read_weights.shape == (2, 1, 9)
    assert torch.equal(large.words[:, :5], state.words)
    assert (large.words[:, 5:] == memory.initial_word).all()
    assert not large.read_weights[:, :, 5:].any() and not large.write_weights[:, :, 5:].any()
    reads, weights, _, after = rollout(memory, at(controls, slice(3, 6)), large)
    assert reads.isfinite().all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(3, 2, 1).double())
    larger = NTMMemory(memory_size=9, word_size=3, initial_weights=initial_weights)
    fresh = larger.initial_state(2, dtype=torch.float64)
    renewed = after.reset(torch.ones(2, dtype=torch.bool))
    assert torch.equal(renewed.read_weights, fresh.read_weights)
    with pytest.raises(ConfigError, match="memory_size: expected at least the 9 words"):
        after.resize(8)


@pytest.mark.parametrize(
    ("heads", "addressing"), [(1, "location"), (4, "location"), (1, "content"), (4, "content")]
)
def test_a_step_keeps_one_copy_of_the_words_and_the_weights(heads, addressing):
    size, batch = 8, 2
    kept = {}
    for slots in (64, 256):
        memory = NTMMemory(
            memory_size=slots, word_size=size, num_heads=heads, addressing=addressing
        )

        def saved(steps, memory=memory):
            controls = draw_controls(memory, steps, batch, dtype=torch.float32)
            leaves = [None if field is None else field.requires_grad_() for field in controls]
            inputs = [leaf for leaf in leaves if leaf is not None]
            run = NTMControls(*leaves)
            return saved_bytes(lambda: rollout(memory, run), apart_from=inputs)

        kept[slots] = bytes_per_step(saved, batch_size=batch, steps=(4, 8)) / 4
        assert kept[slots] <= slots * (size + 4 * heads + 2) + 16 * heads * (size + 8)
    growth = (kept[256] - kept[64]) / (256 - 64)
    # Not less either: or nothing would have been measured.
    assert size + 2 * heads <= growth <= size + 4 * heads + 2


def test_gates_and_shifts_are_not_there_to_count_in_content_addressing():
    located, found = (
        NTM(4, 4, addressing=addressing).cell.interface.linear.out_features
        for addressing in ("location", "content")
    )
    assert located - found == 2 * (1 + 3 + 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_heads": 0}, "num_heads: expected an integer of at least 1, got 0"),
        ({"shift_range": 0}, "shift_range: expected an integer of at least 1, got 0"),
        ({"addressing": "place"}, "addressing: expected one of .*'content'.*, got 'place'"),
        ({"strength": "tanh"}, "strength: expected one of .*, got 'tanh'"),
        ({"initial_weights": "last"}, "initial_weights: expected one of .*, got 'last'"),
        ({"initial_word": float("nan")}, "initial_word: expected a finite number, got nan"),
        ({"initial_word": "1"}, "initial_word: expected a finite number, got '1'"),
    ],
)
def test_settings_are_checked(options, message):
    with pytest.raises(ConfigError, match=message):
        NTMMemory(**options)


def test_model_learns_through_every_parameter():
    model = NTM(3, 2, hidden_size=8, memory_size=10, word_size=4, num_heads=2)
    outputs, _ = model(torch.randn(5, 3, 3))
    outputs.square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name
