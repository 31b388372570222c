"""What people do with any module of torch: every model takes part, or says in a line why not."""

import copy
import gc
import pickle
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint

from index.compiled import is_compiled
from sam.errors import ConfigError, ShapeError, StaleStateError
from sam.models import available_models
from tests.models.cases import IN, B, build, draw

T = 5
FORMS = [
    *((name, {}) for name in available_models()),
    ("sam", {"compiled": False, "embedding_size": 4}),
    ("dnc", {"masked": True, "sharpen_links": True}),
]
if is_compiled(None, torch.device("cpu"), torch.float32):
    FORMS += [("sam", {"compiled": True}), ("sdnc", {"compiled": True})]
forms = pytest.mark.parametrize(
    ("name", "options"), FORMS, ids=[f"{name} {o}" if o else name for name, o in FORMS]
)


def inputs() -> torch.Tensor:
    return draw(T, B, IN)


def gradients(model: nn.Module, given: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    model(given)[0].square().sum().backward()
    found = {name: value.grad for name, value in model.named_parameters()}
    return {name: grad.clone() for name, grad in found.items() if grad is not None}


def close(found: Any, expected: Any) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@forms
def test_copies_and_pickles_of_a_model(name: str, options: dict) -> None:
    model = build(name, options)
    expected = model(inputs())[0]
    for other in (copy.copy(model), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        close(other(inputs())[0], expected)
    deep = copy.deepcopy(model)
    with torch.no_grad():
        deep.output.weight.zero_()
    close(model(inputs())[0], expected)


@forms
def test_copies_and_pickles_of_a_state(name: str, options: dict) -> None:
    model = build(name, options)
    expected = model(inputs(), model(inputs())[1].detach())[0]
    state = model(inputs())[1].detach()
    for other in (copy.deepcopy(state), pickle.loads(pickle.dumps(state)), state):
        close(model(inputs(), other)[0], expected)
    attached = model(inputs())[1]
    with pytest.raises(ConfigError, match=r"state: .*copy state\.detach\(\)"):
        copy.deepcopy(attached)


@forms
def test_a_state_of_inference_mode_is_cloned_before_it_is_used_outside(
    name: str, options: dict
) -> None:
    model = build(name, options)
    expected = model(inputs(), model(inputs())[1].detach())[0]
    for outside in (torch.enable_grad, torch.no_grad):
        with torch.inference_mode():
            state = model(inputs())[1]
        with outside():
            with pytest.raises(ShapeError, match=r"inference_mode.*clone\(\)"):
                model(inputs(), state)
            outputs, _ = model(inputs(), state.clone())
        close(outputs, expected)
    model(inputs(), state.clone())[0].sum().backward()
    with torch.inference_mode():  # the other way round, and copied deeply
        close(model(inputs(), model(inputs())[1].clone())[0], expected)
        close(model(inputs(), copy.deepcopy(state))[0], expected)


@forms
def test_inference_takes_no_more_and_more_memory(name: str, options: dict) -> None:
    """Neither in the state's own bytes nor in tensors and other objects that calls leave behind."""
    model, given, state = build(name, options), draw(1, 2, IN), None
    held = []
    gc.collect()
    gc.freeze()  # what was there before is not looked at, or it would take seconds
    with torch.inference_mode():
        for calls in (60, 60, 60):  # by then every word of the small memory is in use
            for _ in range(calls):
                state = model(given, state)[1]
            gc.collect()
            tensors = (kept for kept in gc.get_objects() if type(kept) is torch.Tensor)
            objects = [kept for kept in tensors if kept.layout is torch.strided]
            held.append((state.nbytes, sum(t.nbytes for t in objects), len(objects)))
            del objects  # or they would count the next time
    gc.unfreeze()
    assert held[1] == held[2]


@forms
def test_other_dtypes_work_or_are_refused(name: str, options: dict) -> None:
    expected = build(name, options)(inputs())[0]
    for dtype in (torch.bfloat16, torch.float16):
        model = build(name, options)
        around = nn.Sequential(model)  # asks the model to convert itself
        before = {key: value.dtype for key, value in model.named_parameters()}
        if name in ("sam", "sdnc") or (name != "lstm" and dtype is torch.float16):
            for convert in (model.to, model.type, around.to):
                with pytest.raises(ConfigError, match=r"^dtype: expected float32 or .*autocast"):
                    convert(dtype)
            with pytest.raises(ConfigError, match=r"^dtype: expected float32 or "):
                build(name, {**options, "dtype": dtype})
            assert before == {key: value.dtype for key, value in model.named_parameters()}
            continue
        around.to(dtype)
        outputs, state = model(inputs().to(dtype))
        assert outputs.dtype == dtype
        torch.testing.assert_close(outputs.double(), expected, rtol=0, atol=0.05)
        outputs = outputs + model(inputs().to(dtype), state)[0]
        outputs.float().sum().backward()
        assert all(
            value.grad is not None and value.grad.isfinite().all() for value in model.parameters()
        )
    assert build(name, options, dtype=torch.float32).double()(inputs())[0].dtype == torch.float64


@forms
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_leaves_addressing_and_states_in_float32(
    name: str, options: dict, dtype: torch.dtype
) -> None:
    if name == "lstm" and dtype is torch.float16:
        pytest.skip("nn.LSTM has no float16 on every CPU")
    model, given = build(name, options, dtype=torch.float32), inputs().float()
    expected, after = model(given)
    with torch.autocast("cpu", dtype=dtype):
        outputs, state = model(given)
        more, last = model(given, state)
    for found in (state, last):
        floats = [t for t in tree_leaves(found) if isinstance(t, torch.Tensor)]
        assert {t.dtype for t in floats if t.is_floating_point()} == {torch.float32}
    torch.testing.assert_close(outputs.float(), expected, rtol=0, atol=0.02)
    if hasattr(after, "reads"):
        torch.testing.assert_close(state.reads, after.reads, rtol=0, atol=0.02)
    model(given, last)[0].sum().backward()  # outside, with a state from inside
    assert all(value.grad.isfinite().all() for value in model.parameters())
    assert more.isfinite().all()


@forms
def test_hooks_of_every_module_are_called(name: str, options: dict) -> None:
    model = build(name, options)
    expected, seen = gradients(model, inputs()), set()
    for key, module in model.named_modules():
        module.register_forward_pre_hook(lambda *_, key=key: seen.add(("before", key)))
        module.register_forward_hook(lambda *_, key=key: seen.add(("forward", key)))
        module.register_full_backward_hook(lambda *_, key=key: seen.add(("backward", key)))
    given = inputs().requires_grad_()
    close(gradients(model, given), expected)
    ways = ("before", "forward", "backward")
    assert seen == {(way, key) for key, _ in model.named_modules() for way in ways}


@forms
@pytest.mark.parametrize("norm", ["weight_norm", "spectral_norm"])
def test_parametrizations_are_followed(name: str, options: dict, norm: str) -> None:
    """The model computes with the parametrized weights: as one whose weights are set to them."""
    model = build(name, options)
    plain = build(name, options)
    for module in [*model.modules()]:
        for key in ("weight", "weight_ih", "weight_hh", "weight_hh_l0"):
            if key in module._parameters:
                getattr(parametrizations, norm)(module, key)
    model.eval()  # spectral norm goes on improving its estimate in training
    with torch.no_grad():
        for key, value in plain.named_parameters():
            place, _, leaf = key.rpartition(".")
            value.copy_(getattr(model.get_submodule(place), leaf))
    close(model(inputs())[0], plain(inputs())[0])
    found = gradients(model, inputs())
    assert found.keys() == dict(model.named_parameters()).keys()
    assert all(grad.isfinite().all() and grad.any() for grad in found.values())


@forms
def test_parts_that_are_frozen_get_no_gradient_and_the_rest_the_same(
    name: str, options: dict
) -> None:
    model, given = build(name, options), inputs()
    expected = gradients(model, given)
    reached = given.clone().requires_grad_()
    model(reached)[0].square().sum().backward()
    for chosen in expected:
        for key, value in model.named_parameters():
            value.requires_grad_(key == chosen)
        model.zero_grad()
        found = gradients(model, given)
        assert [*found] == [chosen]
        close(found[chosen], expected[chosen])
    model.requires_grad_(False).zero_grad()
    alone = given.clone().requires_grad_()
    model(alone)[0].square().sum().backward()
    close(alone.grad, reached.grad)


@forms
def test_some_gradients_at_a_time(name: str, options: dict) -> None:
    model, given = build(name, options), inputs().requires_grad_()
    expected = gradients(model, given)
    unused = nn.Parameter(torch.ones(2))
    wanted = [unused, *model.parameters()]
    found = torch.autograd.grad(model(given)[0].square().sum(), wanted, allow_unused=True)
    assert found[0] is None
    close([*found[1:]], [*expected.values()])
    first = next(model.parameters())
    (alone,) = torch.autograd.grad(model(given)[0].square().sum(), [first])
    close(alone, next(iter(expected.values())))
    nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
    total = sum(value.grad.square().sum() for value in model.parameters()).sqrt()
    torch.testing.assert_close(total.item(), 1e-3, rtol=1e-2, atol=0)


@forms
def test_a_second_backward_pass_is_right_or_refused(name: str, options: dict) -> None:
    model = build(name, options)
    expected = gradients(model, inputs())
    model.zero_grad()
    loss = model(inputs())[0].square().sum()
    loss.backward(retain_graph=True)
    if name in ("sam", "sdnc"):
        with pytest.raises(StaleStateError, match="expected one backward pass"):
            loss.backward()
    else:
        loss.backward()
        twice = {key: 2 * value for key, value in expected.items()}
        close({key: value.grad for key, value in model.named_parameters()}, twice)


@forms
@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpoints_compute_again(name: str, options: dict, reentrant: bool) -> None:
    model, given = build(name, options), inputs()
    expected = gradients(model, given)
    model.zero_grad()
    outputs = checkpoint(
        lambda x: model(x)[0], given.clone().requires_grad_(), use_reentrant=reentrant
    )
    outputs.square().sum().backward()
    close({key: value.grad for key, value in model.named_parameters()}, expected)


@forms
def test_a_model_is_made_on_the_meta_device_and_filled_later(name: str, options: dict) -> None:
    model = build(name, options)
    with torch.device("meta"):
        empty = build(name, options)
    assert all(value.is_meta for value in empty.parameters())
    filled = empty.to_empty(device="cpu")
    filled.load_state_dict(model.state_dict())
    close(filled(inputs())[0], model(inputs())[0])


@forms
def test_the_default_device_and_dtype_are_not_the_models(name: str, options: dict) -> None:
    model = build(name, options)
    expected = gradients(model, inputs())
    given = inputs()
    with torch.device("meta"):
        close(gradients(model, given), expected)
    torch.set_default_dtype(torch.float16)
    try:
        close(gradients(model, given), expected)
    finally:
        torch.set_default_dtype(torch.float32)
