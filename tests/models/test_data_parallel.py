"""Two processes with half of every batch each equal one process with the whole of it.

The backward pass of compiled forms is written by hand, and steps share one node that makes the
gradients of the parameters. DistributedDataParallel must be told of each of them all the same.
"""

from pathlib import Path

import pytest
import torch

from index.compiled import is_compiled
from sam.models import available_models
from tests.models.cases import build
from tests.models.data_parallel import Case, Found, T, train, train_in_a_process
from tests.processes import in_processes

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available(), reason="torch is built without torch.distributed"
)
WHOLE, STEPS, PARTS = (T,), (1,) * T, (2, 4)
COMPILED = ({"compiled": True},) if is_compiled(None, torch.device("cpu"), torch.float32) else ()


def cases() -> dict[str, Case]:
    found = {name: Case(name, {}, WHOLE) for name in available_models()}
    found["embedding"] = Case("sam", {"embedding_size": 4, "controller": "gru"}, WHOLE)
    found["layers"] = Case("dnc", {"num_writes": 2, "num_layers": 2}, WHOLE)
    for name in ("sam", "sdnc"):
        for form in ({"compiled": False}, *COMPILED):
            kind = "compiled" if form["compiled"] else "plain"
            found[f"{name}-{kind}-whole"] = Case(name, form, WHOLE)
            found[f"{name}-{kind}-steps"] = Case(name, form, STEPS)
            found[f"{name}-{kind}-parts"] = Case(name, form, PARTS, carried=True)
    return found


CASES = cases()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where both processes have left what they found, for all cases: starting them takes long."""
    folder = tmp_path_factory.mktemp("processes")
    in_processes(2, train_in_a_process, CASES, folder)
    return folder


@pytest.mark.parametrize("key", CASES)
def test_two_processes_equal_one(folder: Path, key: str) -> None:
    case = CASES[key]
    model = build(case.name, case.options)
    expected = train(case, model, slice(None))
    both = [Found(**torch.load(folder / f"{key}-{rank}.pt")) for rank in (0, 1)]
    assert expected.gradients.keys() == dict(model.named_parameters()).keys()
    for found in both:
        torch.testing.assert_close(found._asdict(), expected._asdict(), rtol=0, atol=1e-9)
    for name, value in both[0].parameters.items():
        assert torch.equal(value, both[1].parameters[name]), name
