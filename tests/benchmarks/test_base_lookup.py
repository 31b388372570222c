"""The benchmark of a lookup: trained among few words, asked of bases."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import base_lookup
from sam.tasks import lookup_vectors


@pytest.fixture(autouse=True)
def threads():
    """The script sets the threads of the process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_the_script_writes_what_it_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr(base_lookup, "_MOST_COMPARED", 50)
    options = ["--words", "40", "60", "--index", "exact", "ivf", "--updates", "2", "--count", "2"]
    options += ["--run", str(tmp_path / "run"), "--out", str(tmp_path)]
    base_lookup.main(options)
    results = json.loads((tmp_path / "base_lookup.json").read_text())
    told = [(base["index"], base["words"]) for base in results["bases"]]
    assert told == [("exact", 40), ("ivf", 40), ("ivf", 60)] and results["updates"] == 2
    assert base_lookup.SIZES["lookup"][-1] == 10**7
    # The network is not trained again, and what was found is kept.
    again = [*options, "--add", "--index", "ivf", "--words", "80"]
    base_lookup.main(again)
    after = json.loads((tmp_path / "base_lookup.json").read_text())
    assert after["bases"][:-1] == results["bases"] and after["bases"][-1]["words"] == 80
    assert after["trained"] == results["trained"] and after["updates"] == 2
    out = capsys.readouterr().out
    for base in results["bases"]:
        assert 0 <= base["bits_right"] <= 1 and base["nbytes"] >= 128 * base["words"]
        assert base_lookup.line(base) in out


def test_among_real_vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    file = tmp_path / lookup_vectors.FILE
    generator = torch.Generator().manual_seed(0)
    np.savez(file, base=torch.randn(17_600, 50, generator=generator).numpy())
    monkeypatch.setenv(lookup_vectors.ENVIRONMENT_VARIABLE, str(tmp_path))
    options = ["--task", "lookup_vectors", "--words", "40", "--index", "exact", "--updates", "2"]
    base_lookup.main([*options, "--count", "2", "--out", str(tmp_path)])
    results = json.loads((tmp_path / "base_lookup_vectors.json").read_text())
    assert [base["words"] for base in results["bases"]] == [
        40
    ] and "exact" in capsys.readouterr().out
