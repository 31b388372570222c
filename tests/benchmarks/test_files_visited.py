"""Visits of files are counted as the calls are made, and a step of SAM is counted at all."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.step.files_visited import FILE, main, visits


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Two files that count, and one outside through which a call passes."""
    folder = tmp_path / "toy_counted"
    folder.mkdir()
    (folder / "upper.py").write_text(
        "from toy_counted import lower\n"
        "from toy_outside import through\n"
        "def top():\n"
        "    return middle() + lower.bottom() + through(lower.bottom) + lower.back(middle)\n"
        "def middle():\n"
        "    return 1\n"
    )
    (folder / "lower.py").write_text(
        "def bottom():\n    return 1\ndef back(call):\n    return call()\n"
        "def fails():\n    raise ValueError\n"
    )
    (tmp_path / "toy_outside.py").write_text("def through(call):\n    return call()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    for name in [*sys.modules]:
        if name.startswith("toy_"):
            del sys.modules[name]


def test_calls_and_moves_of_a_toy(toy: Path) -> None:
    from toy_counted import upper  # type: ignore[import-not-found]

    found = visits(upper.top, [toy])
    # top, middle, and middle again; bottom, bottom through the file outside, and back.
    assert found.calls == {toy / "upper.py": 3, toy / "lower.py": 3}
    # To bottom, to bottom, to back, and from there to middle.
    assert found.moves == 4
    assert found.pairs == {
        (toy / "upper.py", toy / "lower.py"): 3,
        (toy / "lower.py", toy / "upper.py"): 1,
    }


def test_a_call_that_fails_leaves_nothing_behind(toy: Path) -> None:
    from toy_counted import lower  # type: ignore[import-not-found]

    before = sys.getprofile()
    with pytest.raises(ValueError):
        visits(lower.fails, [toy])
    assert sys.getprofile() is before
    assert visits(lower.bottom, [toy]) == ({toy / "lower.py": 1}, {})


def test_the_script_writes_and_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--out", str(tmp_path), "--moves"])
    entries = json.loads((tmp_path / FILE).read_text())["entries"]
    assert [(entry["form"], entry["step"]) for entry in entries] == [
        ("plain", "first"),
        ("plain", "later"),
        ("as chosen", "first"),
        ("as chosen", "later"),
    ]
    for entry in entries:
        files = entry["calls_of_files"]
        first = "sam/cell.py" if entry["form"] == "plain" else "sam/fast/dispatch.py"
        assert next(iter(files)) == first and len(files) > 1
        assert all(file.startswith(("sam/", "index/")) for file in files)
        assert (entry["files"], entry["calls"]) == (len(files), sum(files.values()))
        assert entry["moves"] == sum(entry["moves_of_files"].values()) >= entry["files"] - 1
    printed = capsys.readouterr().out
    assert "| plain | later |" in printed and "1 sam/cell.py -> sam/interface.py" in printed
