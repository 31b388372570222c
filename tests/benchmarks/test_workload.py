"""The ways a model runs give the same results; the baselines beside it do the same sums."""

import pytest
import torch
from torch import nn

from benchmarks.workload import PATHS, Workload, on_path
from index.compiled import is_compiled
from sam import ShapeError, network
from sam.fast import dispatch

SMALL = Workload(steps=6, batch_size=2, hidden_size=10, num_heads=2, word_size=8)


@pytest.mark.parametrize("name", ["sam", "sdnc", "ntm"])
def test_all_paths_give_the_same_outputs_and_gradients(name: str) -> None:
    found = []
    for path in PATHS:
        trained = SMALL.trained(name, 64, path)
        outputs = trained.run()
        outputs.square().mean().backward()
        found.append([outputs.detach(), *(p.grad for p in trained.model.parameters())])
    for others in found[1:]:
        for one, other in zip(found[0], others, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_paths_are_really_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    step = network.take_step

    def counted(*given):
        seen.append(is_compiled(None, torch.device("cpu"), torch.float32))
        return step(*given)

    monkeypatch.setattr(network, "take_step", counted)
    default = is_compiled(None, torch.device("cpu"), torch.float32)
    model, inputs = SMALL.model(64), SMALL.inputs()
    for path, expected in (("step", [default] * 6), ("plain", [False] * 6)):
        seen.clear()
        on_path(model, path)(inputs)
        assert seen == expected
    seen.clear()
    on_path(model, "sequence")(inputs)
    if default:
        assert seen == []  # all steps in one operation


def test_a_model_is_left_as_it_was() -> None:
    model = SMALL.model(64)
    with pytest.raises(ShapeError, match="inputs"):
        on_path(model, "step")(torch.zeros(3))
    assert max(dispatch.LEAST_STEPS.values()) < 10
    assert on_path(model, "sequence") is model
    with pytest.raises(ValueError, match="expected one of sequence, step, plain, got 'fast'"):
        on_path(model, "fast")  # type: ignore[arg-type]


def test_the_baselines_do_the_same_sums() -> None:
    loop, lstm = SMALL.lstm_cell_loop(), SMALL.nn_lstm()
    cell, _ = loop.model.children()
    layer, _ = lstm.model.children()
    assert isinstance(layer, nn.LSTM)
    with torch.no_grad():
        for name, value in cell.named_parameters():
            getattr(layer, f"{name}_l0").copy_(value)
        for one, other in zip(
            lstm.model[1].parameters(),  # type: ignore[index]
            loop.model[1].parameters(),  # type: ignore[index]
            strict=True,
        ):
            one.copy_(other)
    torch.testing.assert_close(loop.run(), lstm.run())
    for trained in (loop, lstm):
        trained.train()
        assert all(p.grad is not None and p.grad.any() for p in trained.model.parameters())


def test_the_loop_is_as_wide_as_sam() -> None:
    workload = Workload(steps=3)
    lstm, sam = workload.lstm_cell_loop(), workload.sam(64)
    theirs = {name: p.shape for name, p in lstm.model.named_parameters()}
    ours = {name: p.shape for name, p in sam.model.named_parameters()}
    assert theirs["0.weight_ih"] == ours["cell.controller.cell.weight_ih"] == (400, 8 + 128)
    assert theirs["1.weight"] == ours["output.weight"] == (8, 100 + 128)
