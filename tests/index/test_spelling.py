"""Configurations as one word, there and back."""

import pytest

from index import IndexConfig, register_index
from index.exact import ExactIndex
from index.spelling import parse_index, spell_index


@pytest.fixture(autouse=True)
def other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("index.registry._INDEXES", {})
    register_index("exact", ExactIndex)
    register_index("other", ExactIndex)


@pytest.mark.parametrize(
    ("text", "config"),
    [
        ("exact", IndexConfig()),
        ("exact[metric=l2]", IndexConfig(metric="l2")),
        ("other[tables=16,probes=8]", IndexConfig(kind="other", tables=16, probes=8)),
        (
            "other:IVF256,PQ8x4[probes=4]",
            IndexConfig(kind="other:IVF256,PQ8x4", probes=4),
        ),
        ("other:RQ1[2],Flat", IndexConfig(kind="other:RQ1[2],Flat")),
        ("other[refresh_after=0.5]", IndexConfig(kind="other", refresh_after=0.5)),
    ],
)
def test_there_and_back(text: str, config: IndexConfig) -> None:
    assert parse_index(text) == config
    assert spell_index(config) == text


def test_spaces_and_defaults_do_not_matter() -> None:
    assert parse_index("other[ probes = 8 , seed=0]") == IndexConfig(kind="other", probes=8)
    assert spell_index(parse_index("other[seed=0]")) == "other"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("exakt", "did you mean 'exact'?"),
        ("other[prob=8]", "did you mean 'probes'?"),
        ("other[probes=many]", "expected a number for probes, got 'many'"),
        ("other[probes=2.5]", "expected a number for probes, got '2.5'"),
        ("other[probes=0]", "probes: expected at least 1, got 0"),
        ("other[probes=]", "expected probes=VALUE"),
        ("other[probes=1,]", "index option"),
        ("other[probes=1,probes=2]", "got it twice"),
        ("other[probes=1", "expected KIND or KIND[KEY=VALUE,...], got 'other[probes=1'"),
        ("other[probes]", "expected one of"),
        ("other[kind=exact]", "index option"),
        ("other[metric=l3]", "expected one of cosine, dot, l2, got 'l3'"),
        ("", "kind: expected the name of an index"),
    ],
)
def test_what_cannot_be_read_is_told(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_index(text)
    assert message in str(caught.value)
