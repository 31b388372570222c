"""Habits with the tools of torch around a module."""

from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from benchmarks.manners.subject import IN, Habit, Subject, inputs, same


def _loss(model: Any) -> Any:
    return lambda given: model(given)[0].square().sum()


def _inference(subject: Subject) -> None:
    model, state = subject.make(), None
    with torch.inference_mode():
        for _ in range(3):
            outputs, state = model(inputs(), state)
            assert not outputs.requires_grad


def _checkpointed(subject: Subject) -> None:
    model, given = subject.make(), inputs().requires_grad_()
    _loss(model)(given).backward()
    expected, given.grad = given.grad, None
    checkpoint(_loss(model), given, use_reentrant=False).backward()
    same(given.grad, expected)


def _retained(subject: Subject) -> None:
    loss = _loss(subject.make())(inputs())
    loss.backward(retain_graph=True)
    loss.backward()


def _second(subject: Subject) -> None:
    model, given = subject.make().double(), inputs().double().requires_grad_()
    (grad,) = torch.autograd.grad(_loss(model)(given), given, create_graph=True)
    grad.square().sum().backward()
    _, product = torch.autograd.functional.hvp(_loss(model), inputs().double(), grad.detach())
    same(given.grad, 2 * product)


def _functional_call(subject: Subject) -> None:
    model = subject.make()
    parameters = {key: 2 * value for key, value in model.named_parameters()}
    torch.func.functional_call(model, parameters, (inputs(),))[0].sum().backward()


def _func_grad(subject: Subject) -> None:
    model, given = subject.make().requires_grad_(False), inputs().requires_grad_()
    (expected,) = torch.autograd.grad(_loss(model)(given), given)
    same(torch.func.grad(_loss(model))(inputs()), expected)


def _vmap(subject: Subject) -> None:
    model = subject.make().double()
    torch.func.vmap(lambda given: model(given)[0])(torch.stack([inputs(), inputs()]).double())


class _Network(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.before, self.layer = nn.Linear(IN, IN), layer

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        return self.layer(self.before(given).tanh())[0]


def _compiled(subject: Subject) -> None:
    torch._dynamo.reset()
    network = _Network(subject.make())
    expected = network(inputs())
    same(torch.compile(network, backend="eager")(inputs()), expected)
    torch._dynamo.reset()


def _scripted(subject: Subject) -> None:
    torch.jit.script(subject.make())


def _traced(subject: Subject) -> None:
    torch.jit.trace(subject.make(), (inputs(),))


def _exported(subject: Subject) -> None:
    torch.export.export(subject.make().eval(), (inputs(),))


_NO_GRAPH = "loops over time follow the content of a memory"
HABITS = (
    Habit("`torch.inference_mode`, the state passed on", _inference),
    Habit("`torch.utils.checkpoint`", _checkpointed),
    Habit(
        "a second `backward()` of one graph",
        _retained,
        "the gradients of a sparse memory are summed in place",
    ),
    Habit(
        "second derivatives (`create_graph`, `hessian`, `hvp`)",
        _second,
        "the backward passes of sparse memories are written by hand",
    ),
    Habit("`torch.func.functional_call`", _functional_call),
    Habit("`torch.func.grad`, `jacrev`, `hessian`", _func_grad, "as for second derivatives"),
    Habit("`torch.func.vmap`", _vmap, "the batch is what runs many sequences at once"),
    Habit(
        "`torch.compile` of a network around it",
        _compiled,
        "it is left as it is, at the cost of a graph break; with `fullgraph=True` an error says so",
    ),
    Habit("`torch.jit.script`", _scripted, _NO_GRAPH),
    Habit("`torch.jit.trace`", _traced, _NO_GRAPH),
    Habit("`torch.export`", _exported, _NO_GRAPH),
)
