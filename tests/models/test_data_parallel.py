"""Two processes with half of every batch each equal one process with the whole of it.

The backward pass of compiled forms is written by hand, and steps share one node that makes the
gradients of the parameters. DistributedDataParallel must be told of each of them all the same.
"""

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
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Found, list[Found]]]:
    """What one process found in each case, and both of two: starting those takes long."""
    # First by one: what must be compiled is compiled once.
    alone = {
        key: train(case, build(case.name, case.options), slice(None)) for key, case in CASES.items()
    }
    folder = tmp_path_factory.mktemp("processes")
    assert in_processes(2, train_in_a_process, CASES, folder) == [0, 0]
    return {
        key: (expected, [Found(**torch.load(folder / f"{key}-{rank}.pt")) for rank in (0, 1)])
        for key, expected in alone.items()
    }


@pytest.mark.timeout(400)  # all is compiled where nothing is kept from an earlier run
@pytest.mark.parametrize("key", CASES)
def test_two_processes_equal_one(found: dict[str, tuple[Found, list[Found]]], key: str) -> None:
    expected, both = found[key]
    assert expected.gradients.keys() == expected.parameters.keys()
    for other in both:
        torch.testing.assert_close(other._asdict(), expected._asdict(), rtol=0, atol=1e-9)
    for name, value in both[0].parameters.items():
        assert torch.equal(value, both[1].parameters[name]), name
