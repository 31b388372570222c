"""SDNC's step by compiled forms: against the torch form, the equations, finite differences."""

import numpy as np
import pytest
import torch

from sam.memory.sdnc import SDNCControls
from tests.memory.sdnc_episodes import draw_controls, leaves_of, memory_of, rollout
from tests.reference import sdnc_loops
from tests.reference.finite_differences import check_gradients

pytest.importorskip("numba")

CASES = {
    "one link": {"num_links": 1},
    "growing memory": {"memory_size": 500, "steps": 45},
    "many links": {"num_links": 8},
    "sources decay": {"num_links": 2, "decay_sources": True},
    "full memory": {"memory_size": 6, "num_links": 3},
    "one head": {"num_reads": 1},
    "sharpened reads": {"read_sharpening": 2.0, "top_k": 4},
    "sharpened by a power of its own": {"read_sharpening": 1.3, "num_reads": 1},
    "renormalised reads": {"read_sharpening": 1.0, "waits": True},
    "all words": {"memory_size": 6, "top_k": 6, "num_links": 6},
    "rows that wait": {"num_links": 8, "waits": True},
    "rows that wait, full memory": {"memory_size": 6, "waits": True, "decay_sources": True},
    "loaded words": {"memory_size": 90, "loaded": 80},
    "many loaded words": {"memory_size": 5000, "loaded": 4990},  # G is compact
    "no strength": {"strength": "none"},
}


def run(memory, controls, *, resets=(), active=None, words=None, loss="both"):
    """An episode with its gradients: all that two forms of the same step must agree on."""
    leaves, dtype = leaves_of(controls), controls.keys.dtype
    if memory.strength == "none":
        leaves = leaves._replace(strengths=torch.ones_like(leaves.strengths))
    steps, batch = leaves.keys.shape[:2]
    state, parts = memory.initial_state(batch, dtype=dtype, words=words), []
    for step in range(steps):
        if step in resets:
            state = state.reset(torch.arange(batch) == step % batch)
        now = SDNCControls(*(field[step : step + 1] for field in leaves))
        given = None if active is None else active[step : step + 1]
        *found, state = rollout(memory, now, state, active=given)
        parts.append(found)
    reads, slots, values, oldest = (torch.cat(part) for part in zip(*parts, strict=True))
    shown = 1 if active is None else active[:, :, None, None]
    total = 0 * values.sum()
    if loss != "weights":
        total = total + (reads * reads.detach().roll(1, 0) * shown).sum()
    if loss != "reads":
        total = total + (values**2).sum()
    total.backward()
    grads = [leaf.grad for leaf in leaves if leaf.requires_grad]
    assert all(grad.abs().max() > 0 for grad in grads)
    held = [state.words.words, state.links.to_dense(), state.links.precedence.slots]
    held += [*state.read_weights.detach(), *state.write_weights.detach()]
    return [slots, oldest, (reads * shown).detach(), values.detach(), *held, *grads]


@pytest.mark.parametrize("loss", ["reads", "weights", "both"])
@pytest.mark.parametrize("case", CASES)
def test_step_equals_the_torch_form(case, loss):
    settings = {"memory_size": 24, "word_size": 5, "num_reads": 3, "top_k": 2} | CASES[case]
    waits, loaded = settings.pop("waits", False), settings.pop("loaded", None)
    steps, batch = settings.pop("steps", 18), 3
    generator = torch.Generator().manual_seed(5)
    options = {"loss": loss, "resets": (7, 8, 13)}
    if waits:
        options["active"] = torch.rand(steps, batch, generator=generator) < 0.7
    if loaded:
        options["words"] = torch.randn(batch, loaded, 5, generator=generator).double()
    results = []
    for compiled in (True, False):
        memory = memory_of(compiled, **settings)
        controls = draw_controls(steps, batch, memory.num_reads, 5, seed=2)
        results.append(run(memory, controls, **options))
    slots = results[0][0]
    assert loaded or (slots[0] < 0).any(), "the first step must read fewer than K words"
    assert (slots >= 0).any()
    if memory.num_reads > 1:
        first, second = slots[:, :, 0, :, None], slots[:, :, 1, None]
        assert ((first == second) & (first >= 0)).any(), "two heads must hit one row"
    for found, wanted in zip(*results, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)


def test_float32_equals_the_torch_form_to_rounding():
    """One step from one state, as later on a choice among almost equal words may differ."""
    controls = SDNCControls(*(field.float() for field in draw_controls(30, 4, 3, 8, seed=3)))
    forms = [memory_of(c, memory_size=20, word_size=8, num_reads=3) for c in (True, False)]
    state, compared = forms[0].initial_state(4), 0
    for step in range(30):
        results, weight = [], torch.randn(4, 3, 8)
        for memory in forms:
            now = leaves_of(SDNCControls(*(field[step] for field in controls)))
            start = state.clone()
            before = start.read_weights.values.requires_grad_()
            reads, after = memory.step(now, start)
            ((reads * weight).sum() + (after.read_weights.values**2).sum()).backward()
            grads = [before.grad, *(leaf.grad for leaf in now)]
            links = after.links.to_dense()
            results.append([after.read_weights.slots, reads, after.words.words, links, *grads])
        if torch.equal(results[0][0], results[1][0]):
            compared += 1
            for found, wanted in zip(*results, strict=True):
                torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-5)
        state = after.detach()
        state = state._replace(read_weights=state.read_weights.detach())
    assert compared > 25


@pytest.mark.parametrize(
    "case", ["many links", "sources decay", "full memory", "all words", "sharpened reads"]
)
def test_step_follows_the_equations(case):
    settings = {"memory_size": 30, "word_size": 5, "num_reads": 3, "top_k": 3} | CASES[case]
    memory = memory_of(True, **settings)
    controls = draw_controls(20, 3, 3, 5, seed=len(case))
    reads, slots, values, oldest, state = rollout(memory, controls)
    for row in range(3):
        expected = sdnc_loops.episode(
            *(getattr(controls, name)[:, row].numpy() for name in ("keys", "strengths", "modes")),
            controls.adds[:, row, 0].numpy(),
            controls.write_gates[:, row, 0].numpy(),
            controls.interpolation_gates[:, row, 0].numpy(),
            memory_size=memory.memory_size,
            top_k=memory.top_k,
            num_links=memory.num_links,
            decay_sources=memory.decay_sources,
            gamma=memory.read_sharpening,
        )
        np.testing.assert_array_equal(oldest[:, row].numpy(), expected.oldest)
        np.testing.assert_array_equal(slots[:, row].numpy(), expected.read_slots)
        np.testing.assert_allclose(values[:, row].numpy(), expected.read_weights, atol=1e-10)
        np.testing.assert_allclose(reads[:, row].numpy(), expected.reads, atol=1e-10)
        used = min(state.words.capacity, memory.memory_size)
        words, links = state.words.words[row, :used], state.links.to_dense()[row, :used, :used]
        np.testing.assert_allclose(words.numpy(), expected.memory[:used], atol=1e-10)
        np.testing.assert_allclose(links, expected.links.incoming[:used, :used], atol=1e-10)
        assert links.any()


@pytest.mark.parametrize("gamma", [None, 2.0])
def test_unrolled_memory_against_finite_differences(monkeypatch, gamma):
    """With links that lead where they led before: b and f stay, whatever is written."""
    from sam.fast.loops import linked_forward

    sizes = {"memory_size": 5, "word_size": 3, "num_reads": 1, "top_k": 2, "num_links": 2}
    memory = memory_of(True, read_sharpening=gamma, **sizes)
    controls = draw_controls(3, 1, 1, 3, seed=3)
    controls = controls._replace(write_gates=controls.write_gates.clamp(min=0.3))
    record, read = [], linked_forward.read

    def recorded(*given):
        links, *weights = given[6:9]  # the tables, and what goes along them
        record.append([tuple(table.copy() for table in links), *(part.copy() for part in weights)])
        return read(*given)

    monkeypatch.setattr(linked_forward, "read", recorded)
    slots = rollout(memory, controls)[1]
    assert len(record) == 3 and any(links[0].any() for links, *_ in record)

    def reads(*fields):
        steps = iter(record)
        monkeypatch.setattr(
            linked_forward, "read", lambda *given: read(*given[:6], *next(steps), *given[9:])
        )
        found, chosen, *_ = rollout(memory, SDNCControls(*fields))
        assert torch.equal(chosen, slots), "a perturbation must not change the choice of slots"
        return found

    check_gradients(reads, controls)


def alternating(kinds, controls, *, forked):
    """An episode whose steps are by these memories in turn; halfway on it may go on twice."""
    leaves = leaves_of(controls)
    state = kinds[0].initial_state(leaves.keys.shape[1], dtype=torch.float64)
    total, other = 0, None
    for step in range(len(leaves.keys)):
        if forked and step == len(leaves.keys) // 2:
            other = state.clone()
        now = SDNCControls(*(field[step] for field in leaves))
        reads, state = kinds[step % 2].step(now, state)
        total = total + reads.square().sum()
        if other is not None:
            reads, other = kinds[(step + 1) % 2].step(now._replace(keys=-now.keys), other)
            total = total + reads.square().sum()
    total.backward()
    return [total.detach(), state.words.words, *(leaf.grad for leaf in leaves)]


@pytest.mark.parametrize("forked", [False, True])
def test_each_form_goes_on_with_the_others_state(forked):
    compiled, plain = (
        memory_of(choice, memory_size=8, word_size=4, num_reads=2, top_k=3)
        for choice in (True, False)
    )
    controls = draw_controls(14, 2, 2, 4, seed=1)
    wanted = alternating([plain, plain], controls, forked=forked)
    for kinds in ([compiled, plain], [plain, compiled], [compiled, compiled]):
        found = alternating(kinds, controls, forked=forked)
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
