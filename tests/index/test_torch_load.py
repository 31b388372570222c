"""`torch.load` takes an index by its default, and what was made to do harm is refused."""

import io
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import index
from index import FileFormatError, IndexConfig, StoredIndex, make_index, register_index, registry
from index.testing import copies
from tests.index.oracle import CASES, config_of, filled
from tests.index.table_index import TableIndex


def saved(what: Any) -> io.BytesIO:
    buffer = io.BytesIO()
    torch.save(what, buffer)
    buffer.seek(0)
    return buffer


@pytest.mark.parametrize("kind", CASES)
def test_an_index_among_other_things(kind: str) -> None:
    made, oracle, queries = filled(kind)
    made.reserve(40)
    loaded = torch.load(saved({"index": made, "epoch": 3}))
    assert loaded["epoch"] == 3
    other = loaded["index"]
    assert type(other) is type(made)
    assert (other.config, other.capacity) == (made.config, made.capacity)
    oracle.assert_agrees(other, queries, 6)
    with pytest.raises(ValueError, match=r"0 \.\. 39, got 40"):
        other.update(torch.tensor([[40], [1]]), torch.ones(2, 1, 5))
    again = torch.load(saved(other), map_location="cpu", mmap=None)
    oracle.assert_agrees(again, queries, 6)


def test_a_check_of_the_contract_leaves_what_is_allowed() -> None:
    before = set(torch.serialization.get_safe_globals())
    copies.torch_load_takes_an_index(config_of("ivf"))
    assert set(torch.serialization.get_safe_globals()) == before


def test_without_an_import_of_the_kind(tmp_path: Path) -> None:
    """`import index` is enough, in a process that did not make one."""
    made = make_index("product", capacity=100, word_size=4)
    made.load(torch.randn(20, 4))
    torch.save(made, tmp_path / "index.pt")
    code = "import index, torch; print(torch.load('index.pt').occupancy.item())"
    folder = str(Path(index.__file__).parents[1])
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": folder}, capture_output=True, text=True
    )
    assert done.stdout == "20\n", done.stderr


def test_a_backend_of_ones_own_once_it_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_INDEXES", dict(registry._INDEXES))
    register_index("table", TableIndex)
    made = make_index(IndexConfig(kind="table"), capacity=100, word_size=4)
    made.load(torch.randn(60, 4))
    other = torch.load(saved(made))
    assert type(other) is TableIndex
    queries = torch.randn(9, 4)
    assert torch.equal(other.search(queries, 3).slots, made.search(queries, 3).slots)


class Trusting(StoredIndex):
    """Its state is not checked by us."""

    def __setstate__(self, state: Any) -> None:
        raise AssertionError("must not be called")


def test_a_backend_that_loads_itself_is_not_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_INDEXES", dict(registry._INDEXES))
    register_index("trusting", Trusting)
    data = saved(make_index("trusting", capacity=9, word_size=4))
    with pytest.raises(pickle.UnpicklingError, match="Trusting"):
        torch.load(data)


class Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("raise AssertionError('it was run')",)


@pytest.mark.parametrize("where", ["config", "words", "more", "state"])
def test_a_harmful_pickle_is_not_run(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made, _, _ = filled("exact")
    state: Any = made.__getstate__()
    state = Harmful() if where == "state" else state | {where: Harmful()}
    monkeypatch.setattr(StoredIndex, "__getstate__", lambda self: state)
    data = saved(made)
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        torch.load(data)


def test_an_altered_pickle_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    made, _, _ = filled("ivf")
    state = made.__getstate__() | {"word_size": 4}
    monkeypatch.setattr(StoredIndex, "__getstate__", lambda self: state)
    data = saved(made)
    with pytest.raises(
        FileFormatError, match=r"^pickled index: words: expected [^\n]*, got [^\n]*$"
    ):
        torch.load(data)


@pytest.mark.parametrize(
    "state",
    [
        None,
        3,
        [],
        ["words"],
        {},
        {3: 4},
        {"config": {"kind": "exact"}},
        {"batch_size": 2, "capacity": 3, "word_size": 4},
    ],
)
def test_a_state_of_something_else_is_refused(state: Any) -> None:
    made = object.__new__(type(filled("exact")[0]))
    with pytest.raises(
        FileFormatError, match=r"^pickled index: [^\n]*expected [^\n]*, got [^\n]*$"
    ):
        made.__setstate__(state)


def test_a_damaged_file_raises_one_error() -> None:
    whole = saved(filled("ivf")[0]).getvalue()
    for size in (0, 10, len(whole) // 2, len(whole) - 1):
        with pytest.raises((RuntimeError, EOFError, pickle.UnpicklingError)):
            torch.load(io.BytesIO(whole[:size]))
