"""Options that only one backend has: made, refused, spelled, copied, saved and loaded."""

import copy
import pickle
from dataclasses import dataclass

import pytest
from torch import Tensor

from index import (
    IndexConfig,
    Neighbors,
    StoredIndex,
    UnknownNameError,
    as_index_config,
    load_index,
    make_index,
    register_index,
    registry,
)
from index.spelling import parse_index, spell_index

SIZES = {"batch_size": 1, "capacity": 8, "word_size": 2}


@dataclass(frozen=True)
class CappedOptions:
    most: int = 3
    share: float = 1.0
    name: str = "capped"
    strict: bool = False

    def __post_init__(self) -> None:
        if self.most < 1:
            raise ValueError(f"most: expected at least 1, got {self.most}")


class CappedIndex(StoredIndex):
    """Finds no more than `most` words."""

    options_class = CappedOptions

    def _search(self, queries: Tensor, k: int) -> Neighbors:
        near = super()._search(queries, k)
        near.slots[:, :, self.options.most :] = -1
        near.scores[:, :, self.options.most :] = -float("inf")
        return near


@pytest.fixture(autouse=True)
def capped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_INDEXES", dict(registry._INDEXES))
    register_index("capped", CappedIndex)


def config(**options) -> IndexConfig:
    return IndexConfig(kind="capped", options=options)


def test_a_backend_gets_its_options() -> None:
    assert make_index("capped", **SIZES).options == CappedOptions()
    made = make_index(config(most=2, share=1, strict=True), **SIZES)
    assert made.options == CappedOptions(most=2, share=1, strict=True)
    assert make_index("exact", **SIZES).options is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mots": 2}, "option of index 'capped': expected one of most, .*; did you mean 'most'"),
        ({"most": 2.0}, "most: expected int for index 'capped', got 2.0"),
        ({"most": True}, "most: expected int for index 'capped', got True"),
        ({"share": "all"}, "share: expected float for index 'capped', got 'all'"),
        ({"strict": 1}, "strict: expected bool for index 'capped', got 1"),
        ({"most": 0}, "most: expected at least 1, got 0"),
    ],
)
def test_wrong_options_are_refused(options, message: str) -> None:
    for call in (as_index_config, lambda given: make_index(given, **SIZES)):
        with pytest.raises(ValueError, match=message):
            call(config(**options))


def test_other_backends_have_none() -> None:
    with pytest.raises(UnknownNameError, match="option of index 'exact': expected none, got 'mo"):
        make_index(IndexConfig(options={"most": 2}), **SIZES)
    for wrong in ({"most": None}, {"most": [2]}, {2: 2}, [("most", 2)]):
        with pytest.raises(ValueError, match="options: expected"):
            IndexConfig(kind="capped", options=wrong)  # pyright: ignore[reportArgumentType]


def test_options_are_a_value() -> None:
    given = {"most": 2}
    one, two = IndexConfig(kind="capped", options=given), config(most=2)  # pyright: ignore
    given["most"] = 5
    assert one == two and hash(one) == hash(two) and one != config() != IndexConfig()
    assert eval(repr(one)) == one == pickle.loads(pickle.dumps(one)) == copy.deepcopy(one)
    assert one.settings()["options"] == {"most": 2} and "options" not in config().settings()


def test_as_one_word() -> None:
    word = "capped[most=2,share=0.5,name=x,strict=True]"
    assert parse_index(word) == config(most=2, share=0.5, name="x", strict=True)
    assert spell_index(parse_index(word)) == word
    assert parse_index("capped[seed=3,most=2]") == IndexConfig(
        kind="capped", seed=3, options={"most": 2}
    )
    with pytest.raises(UnknownNameError, match="did you mean 'most'"):
        parse_index("capped[mots=2]")
    with pytest.raises(ValueError, match="expected a number for most, got 'few'"):
        parse_index("capped[most=few]")


def test_a_name_of_index_config_is_taken() -> None:
    named = dataclass(type("Named", (), {"__annotations__": {"probes": int}, "probes": 3}))
    with pytest.raises(ValueError, match="options_class: expected names new to IndexConfig"):
        register_index("named", type("NamedIndex", (StoredIndex,), {"options_class": named}))


def test_saved_and_loaded(tmp_path) -> None:
    pytest.importorskip("safetensors")
    made = make_index(config(most=2), **SIZES)
    made.save(tmp_path / "index")
    loaded = load_index(tmp_path / "index")
    assert (loaded.config, loaded.options) == (made.config, made.options)
    assert pickle.loads(pickle.dumps(made)).options == made.options
    assert made.clone().options == made.options


def test_in_a_recipe() -> None:
    from sam.train.settings import read_recipe, resolve, to_tables
    from sam.train.toml import parse_toml, to_toml

    tables, source = read_recipe("copy")
    tables["index"] = {"kind": "capped", "options": {"most": 2, "share": 0.5, "strict": True}}
    run = resolve(tables, source)
    assert run.index == config(most=2, share=0.5, strict=True)
    assert resolve(parse_toml(to_toml(to_tables(run)), "again"), "again") == run
