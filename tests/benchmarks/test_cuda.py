"""The measurement on a GPU: its runs and its table anywhere, its graphs on a GPU."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.cuda import __main__ as cuda
from benchmarks.cuda.__main__ import cuda_table, main, measure, measure_all
from benchmarks.cuda.cuda_runs import captured, lstm_run, sam_run, words_before
from benchmarks.workload import Workload
from index.compiled import use_compiled
from tests.gpu.elsewhere import Elsewhere

SMALL = Workload(batch_size=2, steps=9, hidden_size=10, num_heads=2, word_size=8)
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def plain() -> Iterator[None]:
    """Nothing is compiled: there are no compiled forms on a GPU."""
    with use_compiled(False):
        yield


def gradients(model: torch.nn.Module) -> list[torch.Tensor]:
    grads = [parameter.grad for parameter in model.parameters()]
    assert all(grad is not None for grad in grads)
    return grads  # type: ignore[return-value]


def test_without_a_gpu_it_says_so_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert main(["--out", str(tmp_path)]) == 1
    out, error = capsys.readouterr()
    assert error == "benchmarks.cuda: no CUDA device on this machine, nothing measured\n"
    assert not out and not [*tmp_path.iterdir()]


def test_words_leave_the_slots_that_a_sequence_takes() -> None:
    assert words_before(SMALL, 64, occupied=False).shape == (18, 8)
    assert words_before(SMALL, 64, occupied=True).shape == (46, 8)
    with pytest.raises(ValueError, match=r"2 H T = 36, got 35"):
        words_before(SMALL, 35, occupied=True)


@pytest.mark.parametrize("occupied", [False, True])
def test_a_run_does_the_same_each_time_and_what_the_model_does(occupied: bool) -> None:
    model, inputs = SMALL.model(64), SMALL.inputs()
    words = words_before(SMALL, 64, occupied=occupied)
    run = sam_run(model, inputs, words)
    losses = [run() for _ in range(3)]
    found = [grad.clone() for grad in gradients(model)]
    assert torch.equal(losses[0], losses[1]) and torch.equal(losses[1], losses[2])
    model.zero_grad()
    outputs, _ = model(inputs, model.initial_state(2, words=words))
    outputs.square().mean().backward()
    torch.testing.assert_close(losses[0], outputs.square().mean().detach())
    torch.testing.assert_close(found, gradients(model), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("occupied", [False, True])
def test_nothing_in_a_run_waits_so_that_it_can_be_captured(occupied: bool) -> None:
    model, inputs = SMALL.model(2**10), SMALL.inputs()
    words = words_before(SMALL, 2**10, occupied=occupied)
    expected = sam_run(model, inputs, words)()
    with Elsewhere() as place:
        model = SMALL.model(2**10)
        place.model(model)
        run = sam_run(model, place.put(inputs), words)
        with place.without_waiting():
            losses = [run(), run()]
        found = [place.fetch(loss) for loss in losses]
    torch.testing.assert_close(found, [expected, expected])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
@pytest.mark.parametrize("occupied", [False, True])
def test_a_graph_computes_what_python_launches(occupied: bool) -> None:
    torch.use_deterministic_algorithms(False)
    device = torch.device("cuda")
    model, inputs = SMALL.model(2**10).to(device), SMALL.inputs().to(device)
    run = sam_run(model, inputs, words_before(SMALL, 2**10, occupied=occupied))
    loss = run().clone()
    expected = [grad.clone() for grad in gradients(model)]
    replay = captured(run)
    for _ in range(3):
        torch.testing.assert_close(replay().clone(), loss)
        torch.testing.assert_close(gradients(model), expected, rtol=1e-3, atol=1e-6)


def test_the_loop_is_as_wide_as_the_controller() -> None:
    inputs = SMALL.inputs()
    run = lstm_run(SMALL, inputs)
    assert run() == run() == pytest.approx(SMALL.lstm_cell_loop().loss().item())


def test_a_case_is_timed_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    def turns(things: dict[str, Any], *, rounds: int) -> Any:
        assert rounds == 2
        for thing in things.values():
            thing(lambda phase: None)
        times = {"LSTMCell loop python": [9.0, 18.0], "SAM python": [27.0, 36.0]}
        assert times.keys() == things.keys()
        return {name: {"total": seconds} for name, seconds in times.items()}

    monkeypatch.setattr(cuda, "take_turns", turns)
    found = measure(SMALL, 64, occupied=True, rounds=2, device=CPU)
    assert (found["memory_size"], found["occupied"], found["peak_bytes"]) == (64, True, None)
    assert found["python"]["seconds_per_step"].median == pytest.approx(3.5)
    assert found["python"]["lstm_seconds_per_step"].median == pytest.approx(1.5)
    assert found["python"]["to_lstm"].median == pytest.approx(2.5)


def test_what_does_not_fit_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cuda_table(tmp_path) == "Not measured yet: `python -m benchmarks.cuda`."
    real = measure

    def at_most(workload: Workload, memory_size: int, **named: Any) -> dict[str, Any]:
        if named["occupied"]:
            raise torch.OutOfMemoryError
        return real(workload, memory_size, **named)

    def here(*given: Any, device: torch.device, **named: Any) -> list[dict[str, Any]]:
        assert device.type == "cuda"
        return measure_all(*given, device=CPU, **named)

    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "a large GPU")
    monkeypatch.setattr(cuda, "Workload", lambda: SMALL)
    monkeypatch.setattr(cuda, "measure", at_most)
    monkeypatch.setattr(cuda, "measure_all", here)
    assert main(["--memory-size", "64", "--rounds", "1", "--out", str(tmp_path)]) == 0
    results = json.loads((tmp_path / "cuda.json").read_text())
    first, second = results["cases"]
    assert first["python"]["to_lstm"]["median"] > 0 and second["fits"] is False
    printed = capsys.readouterr().out
    assert "| 2^6 | few slots | from Python |" in printed
    assert "| 2^6 | nearly all slots | does not fit |" in printed and "on a large GPU" in printed
    rows = [line for line in printed.splitlines() if line.startswith("|")]
    assert len(rows) == 4 and len({row.count("|") for row in rows}) == 1
