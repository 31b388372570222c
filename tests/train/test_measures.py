"""Evaluations with a task's own measures, with slices apart, and of sequences in parts."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import nn

from sam.tasks.task import Batch
from sam.train.describe import describe_results
from sam.train.evaluate import as_record, evaluate
from tests.train.test_evaluate import Mixed, Zero


@dataclass(frozen=True, kw_only=True)
class Judged(Mixed):
    """`Mixed` with measures, one of which counts for few sequences, another for none."""

    apart: ClassVar[dict[str, tuple[int, ...]]] = {"task": (2,)}

    def measures(self, outputs: torch.Tensor, batch: Batch) -> dict[str, torch.Tensor]:
        assert outputs.shape == (*batch.mask.shape, 2)
        rows = batch.targets[0]
        of_ones = torch.where(rows == 1, 7.0, torch.nan)
        return {"class": rows, "of ones": of_ones, "never": torch.full_like(of_ones, torch.nan)}


def test_measures_are_means_over_the_sequences_of_a_slice() -> None:
    first, second = evaluate(Zero(), Judged())
    assert first.measures == {"class": 0.5, "of ones": 7.0}
    assert second.measures == {"class": pytest.approx(1 / 3), "of ones": 7.0}
    assert as_record(first, "classes")["measures"] == first.measures
    assert "measures" not in as_record(evaluate(Zero(), Mixed())[0], "classes")
    (only,) = evaluate(Zero(), Judged(sliced=False))
    assert only.measures == {"class": 0.4, "of ones": 7.0}


def test_measures_are_columns_and_what_is_apart_is_no_part_of_the_mean() -> None:
    head, first, second, mean = describe_results(evaluate(Zero(), Judged()), Judged()).splitlines()
    assert head.split() == ["task", "sequences", "error", "%", "class", "of", "ones"]
    assert first.split() == ["1", "2", "50.00", "0.5", "7"]
    assert second.split() == ["2", "3", "33.33", "0.3333", "7"]
    assert mean == "mean error 50.00 %, 1 of 1 above 5 %; apart: task 2 with 33.33 %"


@dataclass(frozen=True, kw_only=True)
class InParts:
    """One sequence in three parts, of which the last is scored."""

    kind: ClassVar[str] = "classes"
    output_size: int = 2

    def evaluation(self, batch_size: int, **settings: object) -> Iterator[Batch]:
        for part in range(3):
            starts = torch.tensor([[part == 0] * 2])
            mask = torch.tensor([[part == 2] * 2])
            yield Batch(torch.ones(1, 2, 1), torch.tensor([[1, 2]]), mask, {}, starts)


class Counting(nn.Module):
    """Its state is the number of steps so far, its answer their number less one."""

    def forward(
        self, inputs: torch.Tensor, state: int | None = None, starts: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, int]:
        count = (state or 0) + len(inputs)
        answer = nn.functional.one_hot(torch.tensor(min(count, 3) - 1), 3)
        return answer.expand(*inputs.shape[:2], 3).float(), count


def test_a_sequence_in_parts_is_carried_on_and_counted_once() -> None:
    (only,) = evaluate(Counting(), InParts(output_size=3))
    assert (only.sequences, only.wrong) == (2, 0.5)  # 2 is right after three parts, and 1 is not
