"""The judges of indexes from end to end on few words, and the truth that they judge by."""

import json
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.index import calls, defaults, play, streaming
from benchmarks.index.datasets import WordSet, load_set
from benchmarks.index.goals import misses, shortfalls
from benchmarks.index.records import read
from benchmarks.index.rivals import RIVALS, Ours, make_judged
from benchmarks.index.truth import Truth
from index import BackendMissingError, IndexConfig
from index.metric import Metric

METRICS: tuple[Metric, ...] = ("cosine", "dot", "l2")


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks often."""
    monkeypatch.setattr(play, "EVERY", 2)
    monkeypatch.setattr(calls, "REGIONS", 4)
    monkeypatch.setattr("benchmarks.index.rivals._WARM", 256)
    monkeypatch.setattr("benchmarks.index.goals._LONGEST", 1e9)


def clustered(size: int = 120) -> WordSet:
    return load_set("clustered", most=size)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("name", ["clustered", "lognormal", "binary", "positions"])
def test_the_truth_is_what_exact_search_finds(name: str, metric: Metric) -> None:
    words = load_set(name, most=200)
    if metric not in words.metrics:
        return
    truth = Truth(200, metric, words.words)
    judged = make_judged("exact", metric, None, capacity=200, word_size=words.words.shape[1])
    assert isinstance(judged, Ours)
    queries = words.queries[:32]
    assert truth.recall(judged.find(queries, 5), queries, 5) == 1.0  # there is nothing to find
    slots = torch.arange(150)
    for one in (truth, judged):
        one.put(slots, words.words[slots])
        one.remove(slots[40:60])
    found = judged.find(queries, 5)
    assert truth.recall(found, queries, 5) == 1.0
    assert truth.recall(found.masked_fill(found == found[:, :1], -1), queries, 5) == pytest.approx(
        0.8
    )
    assert truth.recall(torch.full((32, 5), 45), queries, 5) == 0.0  # removed
    assert truth.recall(found[:, :1].expand(-1, 5), queries, 5) == pytest.approx(0.2)  # repeated


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("name", RIVALS)
def test_libraries_follow_a_memory(
    name: str, metric: Metric, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.index.libraries._EXACT_BELOW", 64)
    words = clustered()
    try:
        judged = make_judged(name, metric, None, capacity=120, word_size=32)
    except BackendMissingError:
        pytest.skip(f"{name} is not installed")
    truth = Truth(120, metric, words.words)
    queries = words.queries[:32]
    assert int(judged.find(queries, 5).max()) == -1

    def recall() -> float:
        judged.set_effort(judged.efforts[-1])
        return truth.recall(judged.find(queries, 5), queries, 5)

    for first, last in ((0, 40), (40, 90), (30, 60), (90, 120)):
        slots = torch.arange(first, last)
        new = words.words[slots + 60]
        for one in (truth, judged):
            one.put(slots, new)
        assert recall() > 0.9
    for one in (truth, judged):
        one.remove(torch.arange(20, 70))
    assert recall() > 0.9
    for one in (truth, judged):
        one.put(torch.arange(50, 65), words.words[:15])
    assert recall() > 0.9
    assert judged.nbytes() > 4 * 32 * 85


def test_an_index_that_forgets_is_found_out() -> None:
    """One that misses every write has no recall where all words are new."""

    class Deaf(Ours):
        def put_and_find(self, slots, words, queries, k):
            return self.find(queries, k)

    words = clustered()
    judged = Deaf(IndexConfig(), capacity=120, word_size=32)
    truth = Truth(120, "cosine", words.words)
    for one in (truth, judged):
        one.put(torch.arange(120), words.words[:120])
    generator = torch.Generator().manual_seed(0)
    ask = calls.Asker(words, truth, generator, "near")
    assert play.recall_of(judged, truth, ask.to_judge()) == {0: 1.0}
    track = play.play(judged, truth, calls.moved(words, truth, ask, generator))
    found = play.summary(track, target=0.9)
    assert found["calls"] == 4 and found["lowest"] < 0.7
    assert play.recall_of(judged, truth, ask.to_judge())[0] < 0.5


def test_numbers_of_a_track() -> None:
    track = play.Track(
        seconds=[0.001] * 9 + [0.011],
        recalls={0: [1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 1.0, 1.0]},
        own=[0.001, 0.002],
        exact=[0.002, 0.002],
    )
    found = play.summary(track, target=0.9)
    assert found["recall"] == 0.75 and found["lowest"] == 0.5
    # Windows: .75, .625, .5, .625, .75; all of them below .8.
    assert found["below"] == 5 * play.EVERY * calls.WRITES
    assert found["series"] == [0.75, 0.625, 0.5, 0.625, 0.75]
    assert found["ms"]["median"] == pytest.approx(1) and found["ms"]["longest"] == pytest.approx(11)
    assert found["to_exact"] == pytest.approx((0.75, 0.5, 1.0))
    recalls = [{1: 0.5, 4: 0.91, 8: 0.99}, {1: 0.6, 4: 0.89, 8: 0.98}]
    assert [play.least_effort(recalls, target) for target in (0.5, 0.9, 0.999)] == [1, 8, 8]


def test_what_falls_short_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    good = {"recall": 0.93, "below": 0, "to_exact": {"median": 0.5}, "ms": {"longest": 9.0}}
    bad = {"recall": 0.88, "below": 2016, "to_exact": {"median": 1.5}, "ms": {"longest": 80.0}}
    monkeypatch.setattr("benchmarks.index.goals._LONGEST", 50.0)
    one = {"set": "glove", "metric": "l2", "kind": "ivf", "words": 5000, "effort": 0}
    fresh = {"fresh": {"recall": 0.95}}
    record = one | fresh | {"target": None, "churn": good, "drift": bad}
    assert misses(record) == [
        "drift recall 0.880",
        "drift below 0.80 for 2,016 updates",
        "drift 1.50 x exact",
        "drift a call of 80 ms",
    ]
    assert misses(record | {"drift": good}) == []
    assert misses(record | {"target": 0.9, "drift": good | {"recall": 0.88}}) == []
    assert misses(record | {"target": 0.99, "drift": good}) == [
        "churn recall 0.930",
        "drift recall 0.930",
        "fresh recall 0.950",
    ]
    assert misses(record | {"effort": 8}) == []
    played = one | bad | {"runbook": "window", "target": None, "to_exact": None, "words": 60000}
    lines = [*shortfalls([record | {"drift": good}, played])]
    assert lines == [
        "window glove l2 ivf: window recall 0.880; window below 0.80 for 2,016 updates",
        "1 of 2 fall short",
    ]


@pytest.mark.parametrize("runbook", streaming.RUNBOOKS)
def test_runbooks_do_what_they_say(runbook: str) -> None:
    words = load_set("gaussian", most=100)
    calls_of, full = streaming.RUNBOOKS[runbook]
    truth = Truth(100, "cosine", words.words)
    if full:
        truth.put(torch.arange(100), words.words[:100])
    generator = torch.Generator().manual_seed(0)
    ask = calls.Asker(words, truth, generator, "both")
    held, puts, removes = [], 0, 0
    for call in calls_of(words, truth, ask, generator):
        assert call.queries.shape == (calls.ASKED, 64)
        assert len(call.slots) == len(call.words) == len(call.slots.unique())
        assert bool(truth.held[call.removed].all())
        truth.remove(call.removed)
        truth.put(call.slots, call.words)
        held.append(int(truth.held.sum()))
        puts, removes = puts + len(call.slots), removes + len(call.removed)
    expected = {
        "insert": (100, 0, 100),
        "window": (100, 50, 50),
        "in_place": (50, 0, 100),
        "drift": (300, 0, 100),
    }
    if runbook in expected:
        assert (puts, removes, held[-1]) == expected[runbook]
    if runbook == "delete":
        assert puts == 0 and 0 < removes == 100 - held[-1]
    if runbook == "replace":
        assert puts == removes > 0 and set(held) == {100}


def test_both_scripts_from_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fixed = ["--sets", "clustered", "glove", "--words", "120", "--data", str(tmp_path / "none")]
    fixed += ["--out", str(tmp_path), "--calls", "40", "--clock", "cpu"]
    fixed += ["--recall", ".9", ".95", "--kinds", "exact"]
    assert defaults.main([*fixed, "auto", "--metrics", "l2"]) == 0
    records = read(tmp_path / defaults.FILE)
    assert {record["kind"] for record in records} == {"exact", "auto"}
    for record in records:  # few words: all are compared
        assert record["fresh"]["recall"] == record["churn"]["after"] == 1.0
        assert record["drift"]["lowest"] == 1.0 and record["drift"]["below"] == 0
        assert record["churn"]["to_exact"]["median"] > 0
        assert record["fresh"]["searching"] == "exact"
    assert streaming.main([*fixed, "--runbooks", "insert", "delete"]) == 0
    records = read(tmp_path / streaming.FILE)
    assert [(r["runbook"], r["recall"]) for r in records] == [("insert", 1.0), ("delete", 1.0)]
    before = records[0]["seconds"]
    assert streaming.main([*fixed, "--keep", "--runbooks", "insert", "window"]) == 0
    records = read(tmp_path / streaming.FILE)
    assert len(records) == 3
    assert [r["seconds"] for r in records if r["runbook"] == "insert"] == [before]
    printed = capsys.readouterr().out
    assert "glove: left out" in printed and "0 of 3 fall short" in printed
    assert "| window | clustered 120 x 32 | cosine | `exact` | default | 1.000 |" in printed


@pytest.mark.parametrize("main", [defaults.main, streaming.main])
def test_a_file_of_something_else_is_refused(
    main, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in (defaults.FILE, streaming.FILE):
        (tmp_path / name).write_text(json.dumps([1]))
    assert main(["--out", str(tmp_path)]) == 1
    assert "expected an object with 'records'" in capsys.readouterr().err


def test_a_missing_library_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "hnswlib", None)
    given = ["--sets", "gaussian", "--words", "50", "--out", str(tmp_path), "--kinds", "hnswlib"]
    for main in (defaults.main, streaming.main):
        assert main(given) == 0
        assert "hnswlib: left out; hnswlib: expected an installed package" in (
            capsys.readouterr().out
        )
