"""Habits with the module: making, converting, copying, listening."""

import copy
import pickle

import torch
from torch import nn
from torch.nn.utils import parametrizations

from benchmarks.manners.subject import TORCH, Habit, Subject, inputs, same


def _device_and_dtype(subject: Subject) -> None:
    model = subject.make(device="cpu", dtype=torch.float64)
    assert model(inputs().double())[0].dtype == torch.float64


def _meta(subject: Subject) -> None:
    empty = subject.make(device="meta").to_empty(device="cpu")
    empty.load_state_dict(subject.make().state_dict())
    same(empty(inputs())[0], subject.make()(inputs())[0])


def _reset_parameters(subject: Subject) -> None:
    model = subject.make()
    expected, _ = model(inputs())
    torch.manual_seed(3)
    model.reset_parameters()
    same(model(inputs())[0], expected)


def _layers(subject: Subject) -> None:
    model = subject.make(num_layers=2, dropout=0.5)
    assert not torch.equal(model(inputs())[0], model(inputs())[0])
    model.eval()
    assert torch.equal(model(inputs())[0], model(inputs())[0])


def _bidirectional(subject: Subject) -> None:
    subject.make(bidirectional=True)


def _projected(subject: Subject) -> None:
    subject.make(proj_size=4)


def _without_bias(subject: Subject) -> None:
    subject.make(bias=False)


def _flatten(subject: Subject) -> None:
    subject.make().flatten_parameters()


def _state_dict(subject: Subject) -> None:
    model, other = subject.make(), subject.make()
    model.reset_parameters()
    other.load_state_dict(model.state_dict())
    same(other(inputs())[0], model(inputs())[0])
    if subject.name != TORCH:
        return
    assert {"weight_ih_l0", "weight_hh_l0"} < model.state_dict().keys()


def _copies(subject: Subject) -> None:
    model = subject.make()
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        same(other(inputs())[0], model(inputs())[0])


def _shared(subject: Subject) -> None:
    model = subject.make().share_memory()
    assert all(value.is_shared() for value in model.parameters())
    model(inputs())


def _double(subject: Subject) -> None:
    assert subject.make().double()(inputs().double())[0].dtype == torch.float64


def _converted(dtype: torch.dtype, subject: Subject) -> None:
    model = nn.ModuleList([subject.make()]).to(dtype)[0]
    outputs, _ = model(inputs().to(dtype))
    outputs.float().square().sum().backward()
    grads = [value.grad for value in model.parameters()]
    assert all(grad is not None and bool(grad.isfinite().all()) for grad in grads)


def _bfloat16(subject: Subject) -> None:
    _converted(torch.bfloat16, subject)


def _half(subject: Subject) -> None:
    _converted(torch.float16, subject)


def _parametrized(subject: Subject) -> None:
    model, expected = subject.make(), subject.make()(inputs())[0]
    for module in [*model.modules()]:
        for key in ("weight", "weight_ih", "weight_hh", "weight_hh_l0"):
            if key in module._parameters:
                parametrizations.weight_norm(module, key)
    found, _ = model(inputs())
    same(found, expected)
    found.sum().backward()


def _hooks(subject: Subject) -> None:
    model, seen = subject.make(), []
    model.register_forward_pre_hook(lambda module, given: seen.append("before"))
    model.register_forward_hook(lambda module, given, found: seen.append("after"))
    model(inputs())
    assert seen == ["before", "after"]


def _frozen(subject: Subject) -> None:
    model = subject.make()
    first, *others = model.parameters()
    first.requires_grad_(False)
    model(inputs())[0].sum().backward()
    assert first.grad is None and all(value.grad is not None for value in others)


def _data_parallel(subject: Subject) -> None:
    model = subject.make()
    same(nn.DataParallel(model)(inputs())[0], model(inputs())[0])


HABITS = (
    Habit("`device=` and `dtype=` of the constructor", _device_and_dtype),
    Habit("made on the meta device, then `to_empty`, `load_state_dict`", _meta),
    Habit("`reset_parameters()`", _reset_parameters),
    Habit(
        "`num_layers=`, `dropout=`",
        _layers,
        "`dropout` is of inputs and outputs too; of the layers of a controller it is not",
    ),
    Habit(
        "`bidirectional=True`",
        _bidirectional,
        "a memory is written as time goes on; two models can be run, one on the reversed sequence",
    ),
    Habit("`proj_size=`", _projected, "the output layer is a projection"),
    Habit("`bias=False`", _without_bias, "the controller's biases hold its forget gate open"),
    Habit("`flatten_parameters()`", _flatten, "does nothing, but for the baseline's `nn.LSTM`"),
    Habit(
        "`state_dict()`, `load_state_dict()`",
        _state_dict,
        "the baseline's `nn.LSTM` is its `layer`, a controller's cell `cell.controller.cell`",
    ),
    Habit("`copy.deepcopy`, `pickle`", _copies),
    Habit("`share_memory()`", _shared),
    Habit("`.double()`", _double),
    Habit(
        "`.bfloat16()`",
        _bfloat16,
        "an index has float32 or float64; autocast runs the rest in bf16",
    ),
    Habit(
        "`.half()`",
        _half,
        "refused before anything is converted: the norms' epsilon is nothing "
        "in float16; autocast works",
    ),
    Habit("`parametrizations.weight_norm` of all weights", _parametrized),
    Habit("forward hooks", _hooks),
    Habit("`requires_grad_(False)` of a parameter", _frozen),
    Habit("`nn.DataParallel`, on CPUs", _data_parallel),
)
