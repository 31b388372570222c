"""Every model is swept beside the others; what they keep grows as it should."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.memory_sweep import main
from benchmarks.model_sweep import DENSE, SPARSE, kept_per_step, sdnc_against_dnc
from benchmarks.workload import Workload
from sam import available_models

SMALL = Workload(batch_size=2, steps=2, hidden_size=10, num_heads=2, word_size=8)


def test_all_models_with_a_memory_are_measured() -> None:
    assert {*DENSE, *SPARSE, "lstm"} == {*available_models()}
    for name in (*DENSE, *SPARSE):
        memory = SMALL.network(name, 64).cell.memory  # type: ignore[union-attr]
        assert (memory.memory_size, memory.word_size, memory.num_reads) == (64, 8, 2)


@pytest.mark.parametrize("name", SPARSE)
def test_sparse_models_keep_the_same_at_every_size(name: str) -> None:
    assert kept_per_step(SMALL, name, 64) == kept_per_step(SMALL, name, 2**30) > 0


@pytest.mark.parametrize("name", DENSE)
def test_dense_models_keep_one_copy_of_the_words_and_the_weights(name: str) -> None:
    """And DNC its links; nothing else grows with N, and nothing with its square."""
    workload = replace(SMALL, word_size=32, num_heads=4)
    kept = {size: kept_per_step(workload, name, size) / 4 for size in (512, 1024, 2048)}
    words = 32 * 512
    quadratic = (kept[2048] - 3 * kept[1024] + 2 * kept[512]) / 6  # per 512^2
    linear = kept[1024] - kept[512] - 3 * quadratic  # per 512
    assert quadratic == pytest.approx(512**2 if name == "dnc" else 0, rel=0.01, abs=10)
    # Words, and the weights of 4 heads that read and 4 (DNC: 1) that write, some of them twice.
    assert words < linear < words + 6 * 8 * 512


def test_sdnc_is_compared_with_dnc() -> None:
    found = sdnc_against_dnc(SMALL, memory_size=256, rounds=1)
    assert found["smaller"] == found["peak_bytes"]["dnc"] / found["peak_bytes"]["sdnc"] > 1
    assert found["peak_bytes"]["dnc"] > 10 * 256**2 * 4  # the links of ten steps
    times = found["seconds_per_step"]
    assert found["faster"].median == pytest.approx(times["dnc"].median / times["sdnc"].median)


def test_script_writes_and_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--quick", "--rounds", "1", "--only", "models", "--out", str(tmp_path)])
    assert [path.name for path in tmp_path.iterdir()] == ["model_sweep.json"]
    results = json.loads((tmp_path / "model_sweep.json").read_text())
    sizes = {(entry["model"], entry["memory_size"]) for entry in results["models"]}
    assert {(name, 64) for name in (*DENSE, *SPARSE)} < sizes
    assert ("sdnc", 1024) in sizes and ("dnc", 1024) not in sizes
    printed = capsys.readouterr().out
    for part in ("| `sdnc` |", "N = 1,024", "the paper says 440", "model_sweep.json"):
        assert part in printed
