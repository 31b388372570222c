"""``bench-index`` measures in the sizes that are asked for and tells, in a table and a file."""

import json
from pathlib import Path

import pytest
import torch

from index import available_indexes
from index.errors import BackendMissingError
from index.exact import ExactIndex
from sam.cli import USER_ERROR, main

TINY = ["--memory-size", "64", "96", "--word-size", "8", "--batch-size", "2", "--rounds", "2"]


class Absent(ExactIndex):
    """Needs a package that nobody has."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        raise BackendMissingError("nothing: not installed; pip install nothing")


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two indexes are registered, and one of them is not installed."""
    monkeypatch.setattr("index.registry._INDEXES", {"absent": Absent, "exact": ExactIndex})


def test_table_and_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without compiled forms: that they are compiled would be told on stderr.
    monkeypatch.setenv("SPARSE_SAM_COMPILED", "0")
    path = tmp_path / "numbers.json"
    spelled = ["exact", "exact[seed=3]"]
    assert main(["bench-index", "--index", *spelled, *TINY, "--json", str(path)]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    lines = captured.out.splitlines()
    assert lines[0].startswith("N = 64, W = 8, batch 2, clustered words; a step replaces 36 ")
    assert lines[0].endswith("1 thread(s)")
    assert [line.split()[0] for line in lines[1:4]] == ["index", *spelled]
    assert lines[4].startswith("N = 96")
    assert lines[-1] == str(path)
    content = json.loads(path.read_text())
    assert (content["word_size"], content["batch_size"], content["threads"]) == (8, 2, 1)
    assert [result["memory_size"] for result in content["results"]] == [64, 96]
    for result in content["results"]:
        assert [row["index"] for row in result["indexes"]] == spelled
        for row in result["indexes"]:
            assert (row["recall_1"], row["recall_k"]) == (1.0, 1.0)
            assert row["update_ms"] > 0 and row["search_ms"] > 0
            assert row["candidates"] == result["memory_size"]
            assert 0 < row["extra_bytes_per_word"] < 32


def test_all_that_are_installed_are_measured(
    absent: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert available_indexes() == ("absent", "exact")
    assert main(["bench-index", *TINY]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "absent: left out; nothing: not installed; pip install nothing"
    assert [line.split()[0] for line in lines[1:4]] == ["N", "index", "exact"]


def test_exact_search_is_always_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "index.registry._INDEXES", {"exact": ExactIndex, "mine": type("Mine", (ExactIndex,), {})}
    )
    small = ["bench-index", "--index", "mine", "--memory-size", "5", "--rounds", "1"]
    assert main([*small, "--words", "gaussian"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "gaussian words; a step replaces 5 " in lines[0]
    assert [line.split()[0] for line in lines[2:]] == ["exact", "mine"]


def test_threads_are_set(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["bench-index", "--index", "exact", *TINY, "--threads", "2"]
    assert main(arguments) == 0
    assert torch.get_num_threads() == 2
    assert "2 thread(s)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--index", "exakt"], "did you mean 'exact'?"),
        (["--index", "exact[probes=3]"], "probes: not an option of index 'exact'"),
        (["--index", "exact[metric=dot]"], "metric: expected 'cosine'"),
        (["--index", "absent"], "pip install nothing"),
        (["--memory-size", "0"], "memory_size: expected an integer of at least 1, got 0"),
        (["--memory-size", "many"], "invalid int value: 'many'"),
        (["--word-size", "-3"], "word_size: expected an integer of at least 1, got -3"),
        (["--words", "glove"], "words: expected one of clustered, gaussian"),
        (["--rounds", "0"], "--rounds: expected at least 1, got 0"),
        (["--threads", "0"], "--threads: expected at least 1, got 0"),
        (["--json", "none/x.json"], "--json: expected a file in a folder that exists"),
        (["--wrong"], "unknown argument '--wrong'"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_measured(
    arguments: list[str], message: str, absent: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench-index", *arguments]) == USER_ERROR
    captured = capsys.readouterr()
    assert "N = " not in captured.out
    assert captured.err.startswith("sparse-sam: error: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err
