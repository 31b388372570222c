"""Bytes of a journal are measured beside those of copies of the state."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.bytes import journal


@pytest.mark.parametrize("case", journal.CASES, ids=lambda case: case.name)
def test_a_step_of_the_journal_is_as_large_whatever_the_memory_is(case: Any) -> None:
    small, large = (journal.measure(case, full=full) for full in (2**16, 2**17))
    assert small["journal_bytes"] == large["journal_bytes"] < 2000
    assert large["full_copy_bytes"] > 1.5 * small["full_copy_bytes"] > 10 * small["journal_bytes"]


def test_writes_a_file_and_prints_its_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "STEPS", 2)
    monkeypatch.setattr(journal, "CASES", journal.CASES[:1])
    measure = journal.measure
    monkeypatch.setattr(journal, "measure", lambda case: measure(case, full=2**7))
    journal.main(["--out", str(tmp_path)])
    written = json.loads((tmp_path / "journal.json").read_text())
    assert written["command"].startswith("python -m benchmarks.bytes.journal")
    assert [case["name"] for case in written["cases"]] == ["SAM"]
    assert "| SAM | 4 heads x 4 words of 32, 100 units |" in capsys.readouterr().out
