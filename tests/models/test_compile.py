"""`torch.compile` leaves a model as it is, and does not load the compiler before somebody asks."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from sam import MemoryCell, uncompiled
from sam.models import available_models
from tests.models.cases import IN, OUT, build, draw

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's, of what it does not trace
models = pytest.mark.parametrize("name", available_models())


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


class Network(nn.Module):
    """A recurrent layer between two others, which are compiled."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.before, self.layer = nn.Linear(IN, IN), layer
        self.after = nn.Linear(OUT, 2)

    def forward(self, inputs: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any]:
        outputs, state = self.layer(self.before(inputs).tanh(), state)
        return self.after(outputs).tanh(), state


def network(name: str) -> nn.Module:
    torch.manual_seed(1)
    return Network(build(name)).double()


@models
def test_a_compiled_network_gives_the_same(name: str) -> None:
    plain, given = network(name), draw(4, 2, IN)
    compiled = torch.compile(plain, backend="eager")
    state = again = None
    for steps in (4, 3, 1, 4):  # with a state that is passed on, and other lengths
        expected, state = plain(given[:steps], state)
        found, again = compiled(given[:steps], again)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    expected.square().sum().backward()
    grads = {key: value.grad.clone() for key, value in plain.named_parameters()}
    plain.zero_grad()
    found.square().sum().backward()
    after = {key: value.grad for key, value in plain.named_parameters()}
    torch.testing.assert_close(after, grads, rtol=0, atol=1e-12)


@models
def test_nothing_of_a_model_is_traced(name: str) -> None:
    """Counted by the operations that the compiler has seen: those of the layers around it."""
    seen: list[str] = []

    def backend(graph: torch.fx.GraphModule, _: Any) -> Any:
        seen.extend(str(node.target) for node in graph.graph.nodes if "call" in node.op)
        return graph.forward

    torch.compile(network(name), backend=backend)(draw(4, 2, IN))
    assert len(seen) == 4, seen  # two linear layers, two tanh
    seen.clear()
    model = build(name)
    outputs, _ = torch.compile(model, backend=backend)(draw(4, 2, IN))
    if isinstance(cell := getattr(model, "cell", None), MemoryCell):
        torch.compile(cell, backend=backend)(draw(2, IN))
    assert outputs.shape == (4, 2, OUT) and not seen


@models
def test_a_graph_of_the_whole_is_refused_with_a_reason(name: str) -> None:
    compiled = torch.compile(network(name), backend="eager", fullgraph=True)
    with pytest.raises(Exception, match="without fullgraph=True leaves the model as it is"):
        compiled(draw(4, 2, IN))


@pytest.mark.parametrize("marks", [True, False])
def test_a_method_and_all_that_it_calls_run_as_they_stand(
    marks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a mark on its code, and by the wrapper for a torch without such marks."""
    if not marks:
        monkeypatch.setattr(uncompiled, "skip_compiling", lambda code: False)

    def inner(inputs: torch.Tensor) -> torch.Tensor:
        return inputs.sin()

    class Layer(nn.Module):
        @uncompiled.uncompiled
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return inner(inputs).cos()

    seen: list[torch.fx.GraphModule] = []

    def backend(graph: torch.fx.GraphModule, _: Any) -> Any:
        seen.append(graph)
        return graph.forward

    layer, inputs = Layer(), draw(3)
    for _ in range(2):
        found = torch.compile(layer, backend=backend)(inputs)
        torch.testing.assert_close(found, inputs.sin().cos())
    assert not seen
    assert (Layer.forward.__code__.co_filename == __file__) == marks


def test_the_compiler_is_not_loaded_before_it_is_wanted() -> None:
    text = (
        "import sys, torch, sam; model = sam.SAM(4, 2); model(torch.zeros(3, 2, 4)); "
        "model.cell(torch.zeros(2, 4)); print('torch._dynamo' in sys.modules)"
    )
    found = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, check=True, timeout=120
    )
    assert found.stdout.strip() == "False"
