"""What calls over sequences of the same sizes share: it stays as it is, and is small."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from benchmarks.bytes.footprint import peak_bytes
from sam import SAM, SDNC
from tests.fast.compiled_and_plain import IN, assert_same, build, draw, outcome

pytest.importorskip("numba")

from sam.fast import sequence_plan
from sam.fast.controller_layers import layers_of

STEPS, BATCH = 9, 3


def arrays_of(plan):
    """All arrays of a plan, by name."""
    parts = vars(plan) | plan.no_borders._asdict()
    parts |= {f"no_prev {place}": part for place, part in enumerate(plan.no_prev)}
    return {name: part for name, part in parts.items() if isinstance(part, np.ndarray)}


def plan_for(steps):
    layers = layers_of(build(True).cell.controller)
    sizes = sequence_plan.CallSizes(steps, BATCH, IN, 3, 2, 7, 3, 3, 50)
    return sequence_plan.SequencePlan(layers, sizes, False, torch.float64)


def test_a_plan_keeps_as_much_for_a_long_sequence_as_for_a_short_one():
    sizes = [sum(part.nbytes for part in arrays_of(plan_for(n)).values()) for n in (5, 5000)]
    assert 0 < sizes[0] == sizes[1] < 1000


@pytest.mark.parametrize("model_type", [SAM, SDNC])
def test_calls_of_the_same_sizes_share_a_plan_that_stays_as_it_is(model_type, monkeypatch):
    made = []

    def plan_of(*given):
        made.append(sequence_plan.plan_of(*given))
        return made[-1]

    monkeypatch.setattr("sam.fast.sequence_op.plan_of", plan_of)
    model, inputs = build(True, model_type=model_type), draw(STEPS, BATCH, IN)
    starts = torch.zeros(STEPS, BATCH, dtype=torch.bool)
    starts[4, 1] = True
    model(inputs)[0].sum().backward()
    before = {name: part.copy() for name, part in arrays_of(made[0]).items()}
    model(inputs, starts=starts)[0].sum().backward()
    packed = torch.nn.utils.rnn.pack_padded_sequence(inputs, [9, 5, 2])
    model(packed)[0].data.sum().backward()
    assert made[0] is made[1] is made[2]
    for name, part in arrays_of(made[0]).items():
        np.testing.assert_array_equal(part, before[name], err_msg=name)


def test_calls_in_several_threads_do_not_disturb_each_other():
    model = build(True)

    def run(seed):
        inputs = draw(40, BATCH, IN, seed=seed).requires_grad_()
        (grad,) = torch.autograd.grad(model(inputs)[0].sin().sum(), inputs)
        return grad

    wanted = [run(seed) for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        for found, expected in zip(pool.map(run, range(8)), wanted, strict=True):
            assert torch.equal(found, expected)


@pytest.mark.parametrize("model_type", [SAM, SDNC])
def test_what_is_written_into_a_state_leaves_the_gradients_alone(model_type):
    model, inputs = build(True, model_type=model_type), draw(STEPS, BATCH, IN)
    grads = []
    for writes in (False, True):
        outputs, state = model(inputs)
        if writes:
            for part in (*state.controller, state.reads, state.memory.read_weights.values):
                part.detach().fill_(7)
            state.memory.write_weights.values.fill_(7)
        grads.append(torch.autograd.grad(outputs.sin().sum(), [*model.parameters()]))
    assert all(map(torch.equal, *grads))


def test_parameters_are_looked_at_anew_in_each_call():
    model, inputs = build(True), draw(STEPS, BATCH, IN)
    model(inputs)[0].sum().backward()
    for parameter in model.parameters():
        parameter.data.mul_(0.5)  # which torch does not count as a change
    other = build(True)
    other.load_state_dict(model.state_dict())
    for each in (model, other):
        each.zero_grad()
    assert_same(*(outcome(each, lambda one: one(inputs)) for each in (model, other)))


def test_a_fresh_memory_makes_room_for_all_steps_at_once():
    model = build(True, memory_size=2**20)
    _, state = model(draw(15, BATCH, IN))  # three words a step
    memory = state.memory
    assert memory.words.capacity == memory.order.last_access.shape[1] == 45
    assert model.initial_state(BATCH).memory.words.capacity == 32


def test_fresh_memories_of_the_same_sizes_share_no_words():
    model = build(True)
    first, second = model.initial_state(BATCH), model.initial_state(BATCH)
    model(draw(STEPS, BATCH, IN), first)
    assert second.memory.index.occupancy.tolist() == [0] * BATCH
    assert not second.memory.words.words.any()
    assert second.memory.order.handed_out.tolist() == [[0]] * BATCH


def test_a_memory_first_made_in_inference_mode_leaves_later_ones_ordinary():
    model = build(False, memory_size=77)  # sizes of no other test
    with torch.inference_mode():
        model.initial_state(BATCH)
    _, state = model(draw(STEPS, BATCH, IN))
    parts = vars(state.memory.index).values()
    assert not any(part.is_inference() for part in parts if isinstance(part, torch.Tensor))


def test_gradients_of_a_steps_weights_are_made_without_a_copy():
    torch.manual_seed(0)
    model = SAM(8, 8, hidden_size=256, memory_size=2**10)
    loss = model(torch.randn(1, 1, 8))[0].sum()
    size = sum(parameter.nbytes for parameter in model.parameters())
    assert peak_bytes(loss.backward) < 1.3 * size
