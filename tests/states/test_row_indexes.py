"""Rows of states whose index is not exact: with all lists looked into, they go on as alone."""

import importlib.util
import warnings
from typing import Any

import pytest
import torch

from index import IndexConfig
from sam import CellState
from tests.models.cases import IN, B, build, draw

EVERY_LIST = 2**16
KINDS: dict[str, dict[str, Any]] = {
    "ivf": {"exact_below": 8, "probes": EVERY_LIST},
    "product": {"exact_below": 8, "probes": EVERY_LIST},
    "lsh": {"tables": 2, "probes": EVERY_LIST},
    "auto": {"exact_below": 8, "probes": EVERY_LIST},
    "faiss": {"exact_below": 8, "probes": EVERY_LIST},
    "faiss:HNSW16": {"exact_below": 8},
}
FORMS = [False, True] if importlib.util.find_spec("numba") else [False]


def model_with(kind: str, compiled: bool) -> Any:
    if kind.startswith("faiss"):
        pytest.importorskip("faiss")
    form = {} if kind.startswith("faiss") else {"compiled": compiled}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # FAISS cannot replace words in a graph
        return build("sam", index=IndexConfig(kind=kind, **KINDS[kind], **form), compiled=compiled)


@pytest.mark.parametrize("compiled", FORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_rows_go_on_as_they_would_have(kind: str, compiled: bool) -> None:
    model, inputs = model_with(kind, compiled), draw(70, B, IN)
    later = inputs[60:]
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, state = model(inputs[:60])
        assert state.memory.index.searching == kind.replace("auto", "ivf")
        once = model(later, state.clone())[0]
        fresh = model(later)[0]
        for now, rows in (
            (state.rows([2, 0, 2]), [2, 0, 2]),
            (state.clone().put([3, 1], state.rows([0, 1])), [0, 1, 2, 0]),
            (CellState.cat([state[1:3], state[:1]]), [1, 2, 0]),
        ):
            found = model(later[:, rows], now)[0]
            torch.testing.assert_close(found, once[:, rows], rtol=0, atol=1e-12)
        mixed = model.initial_state(B).put([1], state.rows([1]))
        found = model(later, mixed)[0]
        torch.testing.assert_close(found[:, 1], once[:, 1], rtol=0, atol=1e-12)
        torch.testing.assert_close(found[:, ::2], fresh[:, ::2], rtol=0, atol=1e-12)
        emptied = state.put([2], model.initial_state(1))
        found = model(later, emptied)[0]
        torch.testing.assert_close(found[:, 2], fresh[:, 2], rtol=0, atol=1e-12)
        torch.testing.assert_close(found[:, :2], once[:, :2], rtol=0, atol=1e-12)


def test_an_index_without_memories_of_a_batch_is_refused() -> None:
    from index import ShapeError, make_index

    index = make_index("exact", capacity=8, word_size=3)
    for use in (
        lambda: index.rows(torch.tensor([0])),
        lambda: index.cat([index, index]),
        lambda: index.put(torch.tensor([0]), index),
    ):
        with pytest.raises(ShapeError, match="rows: expected an index with a batch dimension"):
            use()
