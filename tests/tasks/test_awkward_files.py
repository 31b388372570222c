"""Files as they come: what is taken, and the one line about what is not."""

from pathlib import Path

import pytest

from sam.errors import ConfigError, DataMissingError
from sam.tasks import Sequences, Series
from sam.tasks.csv_files import read_table
from tests.tasks.own_files import write_sequences

ROWS = "".join(f"{t},{t % 7}\n" for t in range(60))


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    "content",
    [
        ROWS,
        f"a,b\n{ROWS}",
        f"a,b\n{ROWS}".replace("\n", "\r\n"),
        b"\xef\xbb\xbf" + f"a,b\n{ROWS}".encode(),
        f"a;b\n{ROWS}".replace(",", ";"),
        "größe,day,b\n" + ROWS.replace(",", ",monday,"),
        f"a,b,\n{ROWS}".replace("\n", ",\n").replace(",,\n", ",\n"),
    ],
    ids=["plain", "header", "crlf", "bom", "semicolons", "a column of text", "an empty column"],
)
def test_all_these_are_the_same_numbers(tmp_path: Path, content: str | bytes) -> None:
    table = read_table(written(tmp_path / "my file.csv", content))
    assert table.numbers(table.numeric()).tolist() == [[t, t % 7] for t in range(60)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "expected a CSV file with rows of numbers, got none"),
        ("a,b\n", "expected a CSV file with rows of numbers, got none"),
        (f"nan,1\n{ROWS}", "row 1, column '1': expected a finite number, got 'nan'"),
        (f",1\n{ROWS}", "row 1, column '1': expected a finite number, got ''"),
        (f"a,b\n1,\n{ROWS}", "row 2, column 'b': expected a finite number, got ''"),
        (f"a,b\n{ROWS}inf,1\n", "row 62, column 'a': expected a finite number, got 'inf'"),
        (f"a,b\n{ROWS}1,-1e300\n", "row 62, column 'b': expected a number of 32 bits, got -1e300"),
        (f"a,a\n{ROWS}", "expected one column 'a', got 2"),
        (f"a,b\n{ROWS}1\n", "row 62: expected 2 cells, got 1"),
        ("a,b\nx,y\n", "expected a column of numbers, got none"),
        (b"\xff\xfea\x00", "expected a CSV file in UTF-8"),
    ],
)
def test_a_series_that_is_none(tmp_path: Path, content: str | bytes, message: str) -> None:
    task = Series(path=str(written(tmp_path / "my.csv", content)))
    with pytest.raises(ConfigError) as raised:
        _ = task.input_size
    assert str(raised.value).startswith(f"{tmp_path / 'my.csv'}: ")
    assert message in str(raised.value)


def test_a_column_is_read_once(tmp_path: Path) -> None:
    path = str(written(tmp_path / "my.csv", ROWS))
    with pytest.raises(ConfigError, match="expected column '2' once, got it twice"):
        _ = Series(path=path, columns=("2", "2")).input_size


def test_a_missing_file_is_told_with_the_folder_it_was_looked_for_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataMissingError, match=f"got my.csv, which does not exist in {tmp_path}"):
        _ = Series(path="my.csv").input_size


def test_a_label_without_sequences_is_an_error(tmp_path: Path) -> None:
    folder = write_sequences(tmp_path / "mine")
    (folder / ".ipynb_checkpoints").mkdir()
    written(folder / ".ipynb_checkpoints" / "1.csv", "x;y\n1;2\n")
    assert Sequences(path=str(folder)).labels == ("down", "up")
    (folder / "away").mkdir()
    # In a folder of another name, since what was read is kept.
    folder = folder.rename(tmp_path / "more")
    with pytest.raises(ConfigError, match=r"more/away: expected files NAME.csv of this label"):
        _ = Sequences(path=str(folder)).labels


LABELLED = "".join(f"s{t // 5}, {'up' if t // 5 % 2 else 'down'} ,{t}\n" for t in range(60))


def test_spaces_around_a_label_do_not_count(tmp_path: Path) -> None:
    rows = LABELLED.replace(" up ", "up", 3)
    task = Sequences(path=str(written(tmp_path / "my.csv", f"sequence,label,x\n{rows}")))
    assert task.slice_names == {"label": ("down", "up")}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f"sequence,label,x\n{LABELLED}s1,down,1\n", "'s1': expected one label, got 'down', 'up'"),
        ("sequence,label\n" + "1,a\n2,b\n" * 9, "expected a column of numbers, got none"),
        (f"sequence,class,x\n{LABELLED}", "expected a column of sequence, class, x, got 'label'"),
    ],
)
def test_sequences_that_are_none(tmp_path: Path, content: str, message: str) -> None:
    task = Sequences(path=str(written(tmp_path / "my.csv", content)))
    with pytest.raises(ConfigError) as raised:
        _ = task.labels
    assert message in str(raised.value)
