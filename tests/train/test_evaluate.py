"""Evaluation against models whose mistakes are known."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import nn

from sam import LSTM
from sam.tasks import make_task
from sam.tasks.task import Batch
from sam.train.evaluate import evaluate


class Answering(nn.Module):
    """Knows the targets of the copy task: it returns what was shown `delay` steps ago.

    With `flip` it gives the first bit of the first answer row wrongly in every sequence.
    """

    def __init__(self, flip: bool = False) -> None:
        super().__init__()
        self.flip = flip
        self.modes: list[tuple[bool, bool]] = []

    def forward(self, inputs: torch.Tensor, state: None = None) -> tuple[torch.Tensor, None]:
        self.modes.append((self.training, torch.is_grad_enabled()))
        length = inputs.shape[0] // 2
        shown = inputs[:length, :, :-1] * 2 - 1
        outputs = torch.cat([torch.zeros_like(shown), torch.zeros_like(shown[:1]), shown]) * 40
        if self.flip:
            outputs[length + 1, :, 0] *= -1
        return outputs, None


def test_a_perfect_model_is_perfect() -> None:
    model = Answering()
    results = evaluate(model, make_task("copy"), levels=(2, 5), count=7, batch_size=3)
    assert [(r.name, r.value, r.sequences) for r in results] == [("length", 2, 7), ("length", 5, 7)]
    for result in results:
        assert (result.wrong, result.accuracy, result.solved) == (0.0, 1.0, 1.0)
        assert result.loss < 1e-6
    assert set(model.modes) == {(False, False)}
    assert model.training


def test_one_wrong_bit_per_sequence() -> None:
    results = evaluate(Answering(flip=True), make_task("copy"), levels=(2, 5), count=7)
    for result, bits in zip(results, (16, 40), strict=True):
        assert result.wrong == 1.0
        assert result.accuracy == pytest.approx(1 - 1 / bits)
        assert result.error_percent == pytest.approx(100 / bits)
        assert result.solved == 0.0
        assert result.loss == pytest.approx(40 / torch.tensor(2.0).log().item(), rel=1e-5)


def test_the_same_seed_gives_the_same_data_and_another_other_data() -> None:
    torch.manual_seed(0)
    model = Guessing(nn.Linear(9, 8))
    task = make_task("copy")
    first, again, other = (evaluate(model, task, levels=(3,), count=5, seed=s) for s in (1, 1, 2))
    assert first == again
    assert first != other


class Guessing(nn.Module):
    """A layer without memory."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, inputs: torch.Tensor, state: None = None) -> tuple[torch.Tensor, None]:
        return self.layer(inputs), None


@dataclass(frozen=True, kw_only=True)
class Mixed:
    """Two slices that differ inside a batch, or none; class 0 is always right."""

    kind: ClassVar[str] = "classes"
    sliced: bool = True
    output_size: int = 2

    def evaluation(self, batch_size: int, **settings: object) -> Iterator[Batch]:
        for targets in ([0, 0, 1], [1, 0]):
            rows = len(targets)
            yield Batch(
                torch.zeros(1, rows, 1),
                torch.tensor([targets]),
                torch.ones(1, rows, dtype=torch.bool),
                {"task": torch.tensor([1, 2, 2][:rows])} if self.sliced else {},
            )


class Zero(nn.Module):
    """Always answers class 0, with certainty one half."""

    def forward(self, inputs: torch.Tensor, state: None = None) -> tuple[torch.Tensor, None]:
        return torch.zeros(*inputs.shape[:2], 2), None


def test_slices_are_gathered_over_batches() -> None:
    first, second = evaluate(Zero(), Mixed())
    assert (first.name, first.value, first.sequences, first.wrong) == ("task", 1, 2, 0.5)
    assert (second.value, second.sequences) == (2, 3)
    assert second.accuracy == pytest.approx(2 / 3)
    assert second.solved == pytest.approx(2 / 3)
    assert second.loss == pytest.approx(1.0)


def test_a_task_without_slices_gives_one_result() -> None:
    (only,) = evaluate(Zero(), Mixed(sliced=False))
    assert (only.name, only.sequences, only.wrong) == ("all", 5, 0.4)


def test_a_level_the_task_refuses_is_an_error() -> None:
    with pytest.raises(ValueError, match="level: expected at least 1, got 0"):
        evaluate(Answering(), make_task("copy"), levels=(0,))


def test_what_is_chosen_by_is_not_what_is_judged_by() -> None:
    """Tasks that are drawn have no splits of their own."""
    task, model = make_task("copy", max_length=2), LSTM(9, 8, hidden_size=4)
    found = {
        split: [result.loss for result in evaluate(model, task, count=3, split=split)]
        for split in ("train", "valid", "test")
    }
    assert found["valid"] != found["test"]
    assert found["test"] == [result.loss for result in evaluate(model, task, count=3)]
