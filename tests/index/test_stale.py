"""The contract notices tables that are not kept up to date, and every backend keeps them."""

import pytest
import torch

from index import StoredIndex
from index.testing import check_index, stale
from tests.index import table_index
from tests.index.oracle import CASES, config_of
from tests.index.table_index import TableIndex, maker

# Lists that became empty are looked at in vain. Once this passes it belongs to `CHECKS`.
FAILING = ("ivf", "ivf, always", "auto, always")


def test_a_backend_with_a_table_keeps_the_contract() -> None:
    check_index(maker(TableIndex))


WRONG = ("ForgetsRemovals", "ForgetsResets", "KeepsOldWords", "StaysApproximate")


@pytest.mark.parametrize("name", [*WRONG, "LosesItsTable"])
def test_the_contract_notices_a_stale_table(name: str) -> None:
    cls: type[StoredIndex] = getattr(table_index, name)
    if name == "LosesItsTable":
        pytest.importorskip("safetensors")
    with pytest.raises(AssertionError):
        check_index(maker(cls))


@pytest.mark.parametrize("kind", CASES)
def test_nothing_near_is_no_answer(kind: str, request: pytest.FixtureRequest) -> None:
    if kind in FAILING:
        request.applymarker(pytest.mark.xfail(raises=AssertionError))
    torch.manual_seed(0)
    stale.nothing_near_is_no_answer(config_of(kind))
