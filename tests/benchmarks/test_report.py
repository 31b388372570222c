"""Tables are made from results; the README holds what these results make of it."""

import json
import re
from pathlib import Path

import pytest

from benchmarks.report import PAGES, TABLES, fill


def seconds(middle: float) -> dict[str, dict[str, float]]:
    parts = {"forward": middle / 4, "backward": middle * 3 / 4, "total": middle}
    return {
        name: {"median": value, "low": value / 2, "high": value * 2}
        for name, value in parts.items()
    }


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A folder with one sweep and one learning record, with round numbers."""
    origin = {
        "machine": {"processor": "Abacus", "cores": 3, "memory_gib": 1.5},
        "threads": 2,
        "versions": {"torch": "9.9"},
        "date": "2001-02-03",
    }
    ratio = {"median": 1.25, "low": 1.0, "high": 1.5}
    sweep = origin | {
        "rounds": 7,
        "setting": {"batch_size": 8},
        "lstm_cell_loop": {"seconds_per_step": seconds(0.001)},
        "sam": [
            {
                "memory_size": 2**power,
                "seconds_per_step": seconds(0.004),
                "to_lstm": {"median": 4.0, "low": 3.0, "high": 5.0},
                "bytes_per_step": 12345.0,
                "initial_state_bytes": 51000,
            }
            for power in (10, 12, 30)
        ],
        "largest_to_smallest": ratio,
        "peak": {
            "memory_size": 2**16,
            "steps": 100,
            "initial_state": 2**19,
            "peak": 3 * 2**20,
            "paper": {"running_mib": 7.8, "initial_mib": 53.0},
        },
    }
    (tmp_path / "memory_sweep.json").write_text(json.dumps(sweep))
    runs = [
        {
            "seed": seed,
            "updates": 1000 * (1 + seed),
            "seconds": 10.0 * (1 + seed),
            "final_error": 0.25 * seed,
            "index_recall": 0.5 + 0.1 * seed,
            "evaluation": [{"name": "length", "value": 30, "accuracy": 1 - 0.01 * seed}],
        }
        for seed in (0, 1, 2)
    ]
    learning = origin | {
        "recipe": "copy",
        "overrides": ["--model.memory-size", "64"],
        "solved": 2,
        "error_unit": "wrong bits per sequence",
        "runs": runs,
    }
    (tmp_path / "learning_a.json").write_text(json.dumps(learning))
    for index, recall in (("exact", None), ("lsh", 0.75)):
        overrides = ["--index", index, "--task.bits", "3"]
        overrides += ["--index.probes", "2", "--index.tables", "5"] if index == "lsh" else []
        run = {"updates": 10, "seconds": 2.0, "index_recall": recall}
        record = learning | {"overrides": overrides, "solved": 1, "runs": [run]}
        (tmp_path / f"learning_index_copy_{index}.json").write_text(json.dumps(record))
    for model, updates in (("ntm", 30), ("sam", 20)):
        overrides = ["--task.levels", "1", "2", "--model.kind", model, "--model.memory-size", "64"]
        run = {"updates": updates, "seconds": 2.4, "solved": model == "sam", "final_error": 0.125}
        solved = 2 * (model == "sam")
        record = learning | {"overrides": overrides, "model": model, "solved": solved}
        record |= {"parameters": 1234, "runs": [run, run]}
        (tmp_path / f"learning_model_copy_{model}.json").write_text(json.dumps(record))
    (tmp_path / "model_sweep.json").write_text(json.dumps(origin | models(ratio)))
    counts = {"task": "copy", "controller": "lstm", "heads": 1, "hidden_size": 100}
    counts |= {"num_layers": 2, "ours": 1000, "initial_state": 500, "paper": 2000}
    (tmp_path / "parameters.json").write_text(json.dumps(origin | {"networks": [counts, counts]}))
    sizes = [{"ms_per_step": {"total": {"median": ms}}} for ms in (1.5, 4.25)]
    sweep = {"index": "ivf", "sizes": sizes, "largest_to_smallest": {"median": 2.75}}
    (tmp_path / "full_memory.json").write_text(json.dumps(origin | {"indexes": [sweep]}))
    (tmp_path / "index.json").write_text(json.dumps({"records": index_records(origin)}))
    return tmp_path


def models(ratio: dict) -> dict:
    """A sweep of two models, one of them at one size only."""
    entries = [
        {
            "model": name,
            "memory_size": size,
            "seconds_per_step": seconds(0.002),
            "bytes_per_step": 2500.0,
        }
        for name, size in (("sam", 64), ("sam", 4096), ("dnc", 64))
    ]
    pair = {"memory_size": 2048, "steps": 10, "faster": ratio | {"median": 123.4}}
    pair |= {"peak_bytes": {"dnc": 3 * 2**20, "sdnc": 2**18}, "smaller": 12.0}
    return {
        "rounds": 5,
        "setting": {"batch_size": 8, "steps": 10},
        "lstm_cell_loop": {"seconds_per_step": seconds(0.0005)},
        "models": entries,
        "flat": {"sam": ratio},
        "sdnc_to_dnc": pair | {"paper": {"faster": 440, "smaller": 240}},
    }


def index_records(origin: dict) -> list[dict]:
    """Records of the index benchmark: two sizes, an odd one out, and three settings on GloVe."""

    def sized(power: int, word_size: int, families: dict[str, float]) -> dict:
        entries = [
            {
                "name": f"{family}[probes=4]",
                "family": family,
                "extra_bytes_per_word": 16.4,
                "churned": {"ms": {"total": {"median": ms}}, "recall_1": 0.987, "recall_k": 0.75},
            }
            for family, ms in families.items()
        ]
        sizes = {"memory_size": 2**power, "word_size": word_size, "batch_size": 8}
        step = {"queries": 4, "top_k": 8, "writes": 36, "churn": {"slots": 2 ** (power - 1)}}
        return origin | sizes | step | {"part": "clustered", "indexes": entries}

    def on_glove(probes: int, recall: float, ms: float) -> dict:
        name = f"ivf[probes={probes}]"
        time = {"median": ms}
        return {"name": name, "family": "ivf", "recall_k": recall, "ms_per_query": time}

    settings = [on_glove(8, 0.7, 0.01), on_glove(16, 0.92, 0.02), on_glove(32, 0.98, 0.05)]
    glove = {"part": "glove", "memory_size": 131072, "word_size": 50, "indexes": settings}
    return [
        sized(16, 64, {"ivf": 99.0}),
        sized(16, 32, {"exact": 9.5, "ivf": 1.25}),
        sized(20, 32, {"ivf": 2.5}),
        origin | glove,
    ]


def test_tables_hold_the_numbers(results: Path) -> None:
    tables = {name: make(results) for name, make in TABLES.items()}
    for row in (
        "| 2^10 | 1.000 | 3.000 | 4.000 (2.000 to 8.000) | 4.00 | 12,345 |",
        "| `nn.LSTMCell` loop | 0.250 | 0.750 | 1.000 (0.500 to 2.000) | 1 |  |",
        "1.25 (1.00 to 1.50). A fresh state",
        "MiB). Abacus, 3 cores, 1.5 GiB, 2 threads, torch 9.9, 2001-02-03.",
    ):
        assert row in tables["time"]
    assert "2^12" not in tables["time"]
    assert "takes at most 3.00 MiB beside the parameters" in tables["time"]
    assert "(the paper's SAM: 53.0 + 7.8 MiB)" in tables["time"]
    assert "2^30 words, batch 8, takes 51 kB" in tables["time"]
    assert (
        "| `copy --model.memory-size 64` | 2 of 3 | 2,000 (1,000 to 3,000) | 20 (10 to 30) s "
        "| 0.25 (0 to 0.5) wrong bits per sequence | length 30: 1.00 % "
        "| SAM: curve only (fig. 2) |"
    ) in tables["learning"]
    (exact, ivf, lsh) = (
        next(line for line in tables["index"].splitlines() if line.startswith(f"| `{family}`"))
        for family in ("exact", "ivf", "lsh")
    )
    assert exact.endswith(" | 9.50, 0.987, 0.750 |  | +16 |  |  |")
    # Of the settings on GloVe the fastest with recall of 0.9.
    assert " | 1.25, 0.987, 0.750 | 2.50, 0.987, 0.750 | +16 |" in ivf
    assert ivf.endswith(" | 0.92, 0.020 (`ivf[probes=16]`) | 4.2 (2.8) |")
    assert lsh.endswith(" |  |  |  |  |  |")
    assert " With `lsh` on copy: `--index.probes 2 --index.tables 5`. " in tables["index_learning"]
    learned = tables["index_learning"].splitlines()
    assert learned[0] == "| index | `copy --task.bits 3` |"
    assert learned[2:4] == [
        "| `exact` | 1 of 1, 10, 2 s, 1 |",
        "| `lsh` | 1 of 1, 10, 2 s, 0.750 |",
    ]
    assert "after churn (0.5 N at 2^16, 0.5 N at 2^20)" in tables["index"]
    assert tables["index"].endswith("2 threads, torch 9.9, 2001-02-03.")
    assert tables["models"].splitlines()[2:4] == [
        "| `sam` | 2.00 ms, 2 kB | 2.00 ms, 2 kB |",
        "| `dnc` | 2.00 ms, 2 kB |  |",
    ]
    assert "123 times as fast (1 to 2; the paper says 440)" in tables["models"]
    assert "0.25 MiB to 3, 12 times less (the paper: 240)" in tables["models"]
    assert tables["model_learning"].splitlines()[2:4] == [
        "| `ntm` | memory-size 64 | 1,234 | 0 of 2 (else 0.12 (0.12 to 0.12) wrong) "
        "| 30 (30 to 30) | 2 (2 to 2) |",
        "| `sam` | memory-size 64 | 1,234 | 2 of 2 | 20 (20 to 20) | 2 (2 to 2) |",
    ]
    assert "The tasks: copy: `copy --task.levels 1 2`." in tables["model_learning"]
    assert "| copy | lstm 2 x 100 | 1 | 1,000 | 1,500 | 2,000 | 0.75 |" in tables["parameters"]
    for table in tables.values():  # rows of one table are equally wide
        rows = [line for line in table.splitlines() if line.startswith("|")]
        assert len(rows) > 2
        assert len({row.count("|") for row in rows}) == 1


def test_tables_replace_what_stood_there_and_nothing_else(results: Path) -> None:
    text = "before\n<!-- table: time -->\nold 99\n<!-- end -->\nbetween\n<!-- table: learning -->\n"
    text += "<!-- end -->\nafter\n"
    filled = fill(text, results)
    assert "old 99" not in filled
    assert filled.startswith("before\n<!-- table: time -->\n| N | forward")
    assert "<!-- end -->\nbetween\n<!-- table: learning -->\n|" in filled
    assert filled.endswith("<!-- end -->\nafter\n")
    assert fill(filled, results) == filled


def test_what_was_not_measured_says_how_to(tmp_path: Path) -> None:
    for name, make in TABLES.items():
        assert make(tmp_path).startswith("Not measured yet: `python -m benchmarks."), name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<!-- table: speed -->\n<!-- end -->", "expected one of time, learning, .*got 'speed'"),
        ("no tables", "got none"),
    ],
)
def test_a_readme_without_known_tables_is_refused(text: str, message: str, results: Path) -> None:
    with pytest.raises(ValueError, match=message):
        fill(text, results)


def test_models_trained_on_different_tasks_are_refused(results: Path) -> None:
    path = results / "learning_model_copy_sam.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"recipe": "recall"}))
    with pytest.raises(ValueError, match="copy: expected the same task for every model"):
        TABLES["model_learning"](results)


def test_pages_hold_what_the_committed_results_say() -> None:
    texts = [page.read_text(encoding="utf-8") for page in PAGES]
    assert sorted(re.findall(r"<!-- table: (\w+) -->", "".join(texts))) == sorted(TABLES)
    for text in texts:
        if "<!-- table: " in text:
            assert fill(text) == text, "run python -m benchmarks.report"
