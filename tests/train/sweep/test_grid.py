"""The grid of a sweep: what is typed, the cells it makes, and its mistakes, each a line."""

import pytest

from sam.errors import ConfigError, UnknownNameError
from sam.train.sweep.grid import index_arguments, make_cells, parse_grid

KNOWN = {
    "sam": ["model.memory_size", "model.top_k", "index.kind", "index.probes"],
    "ntm": ["model.memory_size"],
    "lstm": [],
}


def test_values_are_split_at_commas_but_not_within_brackets() -> None:
    grid = parse_grid(["model.memory-size=16,64", "index=exact,ivf[probes=2,bucket_size=4],lsh"])
    assert grid == {
        "model.memory_size": ("16", "64"),
        "index.kind": ("exact", "ivf[probes=2,bucket_size=4]", "lsh"),
    }


def test_semicolons_part_values_that_have_commas() -> None:
    pytest.importorskip("faiss")
    assert parse_grid(["--index=exact;faiss:IVF16,Flat"]) == {
        "index.kind": ("exact", "faiss:IVF16,Flat")
    }
    assert parse_grid(["optimizer.betas=0.9 0.999;0.8 0.99"]) == {
        "optimizer.betas": ("0.9 0.999", "0.8 0.99")
    }


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["model.top-k"], "expected section.key=VALUE"),
        (["top-k=3"], "expected section.key=VALUE"),
        (["model.top-k=3,"], "expected section.key=VALUE"),
        (["model.top-k=3", "model.top_k=4"], "expected model.top_k once, got it twice"),
        (["index=ivf", "index.kind=lsh"], "expected index.kind once, got it twice"),
        (["model.top-k=3,4,3"], "model.top-k: expected 3 once, got it twice"),
        (["train.seed=1,2"], "--seeds says how many"),
    ],
)
def test_mistakes_are_named(texts: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_grid(texts)


def test_an_index_that_does_not_exist_is_named() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'exact'"):
        parse_grid(["index=exakt"])


def test_cells_are_all_combinations_in_order() -> None:
    grid = parse_grid(["model.memory-size=16,64", "index=exact,ivf"])
    cells, warnings = make_cells(grid, KNOWN, "sam")
    assert [cell.name for cell in cells] == [
        "memory-size-16_index-exact",
        "memory-size-16_index-ivf",
        "memory-size-64_index-exact",
        "memory-size-64_index-ivf",
    ]
    assert cells[1].arguments == ["--model.memory-size", "16", "--index.kind", "ivf"]
    assert warnings == []


def test_a_model_without_a_setting_has_its_cells_once() -> None:
    grid = parse_grid(["model.kind=sam,ntm,lstm", "model.memory-size=16,64", "index=exact,ivf"])
    cells, warnings = make_cells(grid, KNOWN, "sam")
    names = [cell.name for cell in cells]
    assert len(names) == 4 + 2 + 1
    assert [name for name in names if "sam" not in name] == [
        "kind-ntm_memory-size-16",
        "kind-ntm_memory-size-64",
        "kind-lstm",
    ]
    assert warnings == [
        "ntm has no index.kind: run once without it",
        "lstm has no model.memory-size: run once without it",
        "lstm has no index.kind: run once without it",
    ]


def test_a_setting_that_no_model_has_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"index.kind: expected a setting of ntm"):
        make_cells({"index.kind": ("exact",)}, KNOWN, "ntm")


def test_names_of_folders_are_safe_and_differ() -> None:
    values = ("a/b", "a_b", "a b")
    cells, _ = make_cells({"task.path": values}, KNOWN, "sam")
    names = [cell.name for cell in cells]
    assert len({*names}) == 3
    assert names[1] == "path-a_b"
    assert not any("/" in name or " " in name for name in names)


def test_keys_that_end_alike_are_written_out() -> None:
    cells, _ = make_cells(
        {"task.seed": ("1",), "index.seed": ("2",)}, {"sam": ["index.seed"]}, "sam"
    )
    assert cells[0].name == "task.seed-1_index.seed-2"


def test_an_index_in_one_word_becomes_arguments() -> None:
    assert index_arguments("ivf[probes=2,seed=3]") == [
        *("--index.kind", "ivf", "--index.seed", "3", "--index.probes", "2")
    ]
