"""The contract notices tables that are not kept up to date, and every backend keeps them."""

import pytest

from index import StoredIndex
from index.testing import check_index
from tests.index import table_index
from tests.index.table_index import TableIndex, maker


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
