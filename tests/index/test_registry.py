"""Names, configurations, and a backend of one's own."""

import dataclasses
import pickle

import pytest
import torch

import index
from index import (
    ExactIndex,
    IndexConfig,
    UnknownNameError,
    as_index_config,
    available_indexes,
    make_index,
    register_index,
    registry,
)

SIZES = {"batch_size": 2, "capacity": 8, "word_size": 3}


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a test register names without leaving them behind."""
    monkeypatch.setattr(registry, "_INDEXES", dict(registry._INDEXES))


def test_exported_names_are_sorted_and_exist() -> None:
    assert index.__all__ == sorted(index.__all__)
    assert all(hasattr(index, name) for name in index.__all__)


def test_make_index_by_name_and_by_config() -> None:
    by_name = make_index("exact", **SIZES)
    by_config = make_index(IndexConfig(kind="exact", metric="l2"), **SIZES, dtype=torch.float64)
    assert type(by_name) is type(by_config) is ExactIndex
    assert by_name.config == IndexConfig()
    assert by_config.config.metric == "l2"
    assert (by_config.dtype, by_config.device) == (torch.float64, torch.device("cpu"))
    assert (by_name.batch_size, by_name.capacity, by_name.word_size) == (2, 8, 3)


@pytest.mark.parametrize("name", ["exakt", "", "Exact", "faiss-none", "exakt:IVF8"])
def test_an_unknown_name_lists_the_known_ones(name: str) -> None:
    with pytest.raises(UnknownNameError, match=r"index: expected one of .*exact"):
        make_index(name, **SIZES)
    if name:
        with pytest.raises(UnknownNameError, match="expected one of"):
            make_index(IndexConfig(kind=name), **SIZES)


def test_the_closest_name_comes_first(names: None) -> None:
    register_index("aardvark", ExactIndex)
    with pytest.raises(UnknownNameError, match=r"one of exact, .*aardvark.*, got 'exakt'.*'exact'"):
        as_index_config("exakt")


def test_configurations_are_checked() -> None:
    with pytest.raises(ValueError, match="metric: expected one of cosine, dot, l2, got 'cosin'"):
        IndexConfig(metric="cosin")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="kind: expected the name of an index, got ''"):
        IndexConfig(kind="")
    with pytest.raises(dataclasses.FrozenInstanceError):
        IndexConfig().kind = "lsh"  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(TypeError, match="config: expected a name or an IndexConfig, got None"):
        as_index_config(None)  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="expected an IndexConfig, got 'exact'; see make_index"):
        ExactIndex("exact", **SIZES)  # pyright: ignore[reportArgumentType]
    config = IndexConfig(metric="dot")
    assert pickle.loads(pickle.dumps(config)) == config == as_index_config(config)


def test_register_an_index_of_ones_own(names: None) -> None:
    class Mine(ExactIndex):
        pass

    register_index("mine", Mine)
    assert available_indexes() == tuple(sorted((*registry._INDEXES,)))
    assert "mine" in available_indexes()
    made = make_index("mine:with,a suffix", **SIZES)
    assert type(made) is Mine
    assert made.config.kind == "mine:with,a suffix"


@pytest.mark.parametrize("name", ["exact", "", "a:b"])
def test_register_refuses_names(names: None, name: str) -> None:
    with pytest.raises(ValueError, match="name: expected a"):
        register_index(name, ExactIndex)
    assert registry._INDEXES["exact"] is ExactIndex


@pytest.mark.parametrize("cls", [dict, "exact", ExactIndex(IndexConfig(), **SIZES)])
def test_register_refuses_other_classes(names: None, cls) -> None:
    with pytest.raises(TypeError, match="cls: expected a subclass of VectorIndex"):
        register_index("mine", cls)
    assert "mine" not in available_indexes()
