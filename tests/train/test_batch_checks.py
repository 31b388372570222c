"""Batches of a task of one's own: what is wrong with them is one line."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from sam.errors import ConfigError, NonFiniteError
from sam.tasks import Batch, DataTask, task_registry
from sam.train.batch_checks import check_batch
from sam.train.run import train_run
from sam.train.settings import resolve

T, B, I, O = 4, 3, 2, 5  # noqa: E741


@dataclass(frozen=True, kw_only=True)
class Task(DataTask):
    kind = "classes"
    input_size, output_size = I, O
    change: str = ""

    def draw(self, batch_size: int, generator: torch.Generator, split: str) -> Any:
        return CHANGES.get(self.change, lambda batch: batch)(good(self.kind, batch_size))


class Bits(Task):
    kind = "bits"


class Values(Task):
    kind = "values"


def good(kind: str = "classes", rows: int = B) -> Batch:
    whole = kind in ("classes", "tokens")
    targets = torch.ones(T, rows, dtype=torch.int64) if whole else torch.ones(T, rows, O)
    mask = torch.zeros(T, rows, dtype=torch.bool)
    mask[-1] = True
    return Batch(
        torch.zeros(T, rows, I), targets, mask, {"a": torch.zeros(rows, dtype=torch.int64)}
    )


def with_nan(tensor: torch.Tensor) -> torch.Tensor:
    tensor = tensor.clone()
    tensor[-1, 0, 0] = float("nan")
    return tensor


CHANGES: dict[str, Callable[[Batch], Any]] = {"no batch": tuple}
CASES = [
    (Task(), tuple, r"batch: expected a sam\.tasks\.Batch, got a tuple"),
    (Task(), lambda b: b._replace(inputs=b.inputs.numpy()), r"batch\.inputs: expected a tensor"),
    (Task(), lambda b: b._replace(inputs=b.inputs[0]), r"batch\.inputs: expected \[T, B, 2\]"),
    (Task(), lambda b: b._replace(inputs=b.inputs[:, :2]), "with 3 sequences, got .4, 2, 2."),
    (
        Task(),
        lambda b: b._replace(inputs=b.inputs[..., :1]),
        r"inputs: expected floats \[4, 3, 2\]",
    ),
    (Task(), lambda b: b._replace(inputs=b.inputs.long()), r"inputs: expected floats .*int64"),
    (Task(), lambda b: b._replace(inputs=with_nan(b.inputs)), r"inputs: expected finite numbers"),
    (Task(), lambda b: b._replace(mask=b.mask.float()), r"mask: expected torch\.bool"),
    (Task(), lambda b: b._replace(mask=b.mask & False), "mask: expected a scored step"),
    (
        Task(),
        lambda b: b._replace(targets=b.targets.float()),
        r"targets: expected torch\.int64 .4, 3.",
    ),
    (Task(), lambda b: b._replace(targets=b.targets + 4), "expected classes of 0 to 4 .* got 5"),
    (Task(), lambda b: b._replace(targets=b.targets - 2), "expected classes of 0 to 4 .* got -1"),
    (Bits(), lambda b: b._replace(targets=b.targets * 3), "expected bits of 0 or 1 .* got 3"),
    (
        Bits(),
        lambda b: b._replace(targets=b.targets[..., :2]),
        r"targets: expected floats .4, 3, 5.",
    ),
    (Values(), lambda b: b._replace(targets=with_nan(b.targets)), "targets: expected finite"),
    (Values(), lambda b: b._replace(targets=b.targets.long()), "targets: expected floats"),
    (Task(), lambda b: b._replace(slices={"a": torch.zeros(2)}), r"slices\['a'\]: expected"),
    (Task(), lambda b: b._replace(starts=b.mask[:2]), r"starts: expected torch\.bool .4, 3."),
]


@pytest.mark.parametrize(("task", "change", "message"), CASES, ids=[case[2] for case in CASES])
def test_a_wrong_batch_is_one_line(task: Any, change: Any, message: str) -> None:
    with pytest.raises((ConfigError, NonFiniteError), match=f"^task mine: .*{message}") as caught:
        check_batch(change(good(task.kind)), task, "mine", B)
    assert "\n" not in str(caught.value)


def test_an_unknown_kind_and_a_task_without_its_parts() -> None:
    @dataclass(frozen=True)
    class Words(Task):
        kind = "words"  # pyright: ignore[reportAssignmentType]

    with pytest.raises(ConfigError, match=r"task mine: kind: expected one of bits.*got 'words'"):
        check_batch(good(), Words(), "mine", B)

    @dataclass(frozen=True)
    class Empty(DataTask):
        kind = "bits"

    with pytest.raises(ConfigError, match="'empty': expected draw, input_size, output_size in"):
        task_registry.register_task("empty", Empty)


@pytest.mark.parametrize("task", [Task(), Bits(), Values()])
def test_a_right_batch_is_returned(task: Any) -> None:
    batch = good(task.kind)
    assert check_batch(batch, task, "mine", B) is batch
    unscored = batch.targets.clone()
    unscored[0] = 77  # where nothing is scored anything may stand
    assert check_batch(batch._replace(targets=unscored), task, "mine", B)


def test_a_run_tells_it_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_registry, "_TASKS", task_registry._TASKS | {"mine": Task})
    run = {"task": {"name": "mine", "change": "no batch"}, "model": {"kind": "lstm"}}
    with pytest.raises(ConfigError, match="task mine: batch: expected"):
        train_run(resolve(run), tmp_path / "run")
    assert not (tmp_path / "run").exists()
