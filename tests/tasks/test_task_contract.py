"""The built-in tasks that draw their data keep the contract of `sam.testing`; so do others."""

from typing import Any

import pytest

from sam.tasks import Batch, make_task
from sam.testing import TaskContract

NAMES = (
    *("copy", "key_value_recall", "lookup", "mqar", "needle", "ngrams", "recall", "repeat_copy"),
    "sort",
)


@pytest.mark.parametrize("name", NAMES)
class TestEveryTask(TaskContract):
    @pytest.fixture(autouse=True)
    def chosen(self, name: str) -> None:
        self.name = name

    def make_task(self) -> Any:
        return make_task(self.name)


class Faulty:
    """Copy with one fault, named."""

    def __init__(self, fault: str) -> None:
        self.fault, self.calls, self.task = fault, 0, make_task("copy", max_length=3)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.task, name)

    def sample(self, batch_size: int, **given: Any) -> Batch:
        batch = self.task.sample(batch_size, **given)
        if self.fault == "scores nothing":
            return batch._replace(mask=batch.mask & False)
        if self.fault == "other targets":
            return batch._replace(targets=batch.targets.long())
        if self.fault == "always the same":
            given["generator"].manual_seed(0)
            return self.task.sample(batch_size, **given)
        return batch


@pytest.mark.parametrize(
    ("fault", "test", "text"),
    [
        ("scores nothing", "a_batch_has_the_layout_of_the_task", "a step that is scored"),
        ("other targets", "a_batch_has_the_layout_of_the_task", "targets must be torch.float32"),
        ("always the same", "the_generator_alone_decides", "another seed"),
    ],
)
def test_a_fault_is_named(fault: str, test: str, text: str) -> None:
    found = type("Found", (TaskContract,), {"make_task": lambda self: Faulty(fault)})()
    with pytest.raises(AssertionError, match=text):
        getattr(found, f"test_{test}")()
