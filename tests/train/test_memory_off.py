"""The same model with its memory off."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sam.errors import ConfigError
from sam.models import make_model
from sam.train.evaluate import evaluate
from sam.train.memory_off import has_memory, memory_off
from sam.train.train_config import RunConfig

MODELS = ("sam", "sdnc", "dam", "ntm", "dnc")


@pytest.mark.parametrize("kind", MODELS)
def test_it_is_the_controller_and_the_output_layer_with_zeros(kind: str) -> None:
    torch.manual_seed(1)
    model: Any = make_model(kind, 3, 2, memory_size=16)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    silent, inputs = memory_off(model), torch.randn(6, 2, 3)
    with torch.no_grad():
        outputs, state = silent(inputs)
        reads, now = torch.zeros(2, model.cell.read_size), model.cell.controller
        carried = now.initial_state(2, device="cpu", dtype=torch.float32)
        for step, given in enumerate(inputs):
            hidden, carried = now(torch.cat([given, reads], 1), carried)
            expected = model.output(torch.cat([hidden, reads], 1))
            torch.testing.assert_close(outputs[step], expected)
        assert not state.reads.any()
        assert not torch.allclose(model(inputs)[0], outputs), "the memory contributes"
        again, _ = silent(inputs[3:], silent(inputs[:3])[1])
        torch.testing.assert_close(again, outputs[3:])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_model_without_memory_is_refused() -> None:
    lstm = make_model("lstm", 3, 2)
    assert not has_memory(lstm) and has_memory(make_model("sam", 3, 2))
    with pytest.raises(ConfigError, match="expected a model with a memory, got LSTM"):
        memory_off(lstm)


def test_evaluation_takes_it(tiny: Callable[..., RunConfig], tmp_path: Path) -> None:
    from sam.train.folder import build_model

    config = tiny()
    model = build_model(config)
    found, off = (
        evaluate(m, config.task, levels=(3,), count=4) for m in (model, memory_off(model))
    )
    assert found[0].sequences == off[0].sequences == 4
    assert found[0].loss != off[0].loss
