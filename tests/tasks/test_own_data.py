"""Tasks that read files of one's own: what they draw, and what they say of wrong files."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from sam.errors import ConfigError, DataMissingError
from sam.tasks import Sequences, Series, Text, make_task
from sam.tasks.csv_files import read_table
from sam.testing import TaskContract
from sam.train.batch_checks import check_batch
from tests.tasks.own_files import (
    SENTENCES,
    write_sequence_table,
    write_sequences,
    write_series,
    write_text,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class TestSeriesContract(TaskContract):
    @pytest.fixture(autouse=True)
    def file(self, tmp_path: Path) -> None:
        self.path = write_series(tmp_path / "series.csv")

    def make_task(self) -> Series:
        return Series(path=str(self.path), length=9)


def test_a_series_is_shifted_and_standardised(tmp_path: Path) -> None:
    path = write_series(tmp_path / "s.csv")
    task = Series(path=str(path), length=30, horizon=2, columns=["heat", "load"], targets=("load",))  # type: ignore[arg-type]
    assert (task.input_size, task.output_size) == (2, 1)
    batch = check_batch(task.sample(5, generator=generator()), task, "series", 5)
    assert batch.inputs.shape == (30, 5, 2)
    assert torch.equal(batch.inputs[2:, :, 1], batch.targets[:-2, :, 0])
    known = read_table(path).numbers(["load"])[:320].double()
    both = Series(path=str(path), length=320)._parts().inputs[:320]
    assert both.mean(0).abs().max() < 1e-6 and (both.std(0, correction=0) - 1).abs().max() < 1e-6
    assert both[:, 0].double() * known.std(correction=0) + known.mean() == pytest.approx(
        known[:, 0], abs=1e-5
    )


def test_the_parts_of_a_series_are_apart(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_text("".join(f"{t}\n" for t in range(100)))
    task = Series(path=str(path), length=3)
    mean, deviation = 39.5, (sum((t - 39.5) ** 2 for t in range(80)) / 80) ** 0.5
    for split, first, last in (("train", 0, 80), ("valid", 80, 90), ("test", 90, 100)):
        seen = []
        for batch in task.evaluation(20, generator=generator(), count=200, split=split):
            seen += [*batch.inputs.flatten().tolist(), *batch.targets.flatten().tolist()]
        rows = {round(value * deviation + mean) for value in seen}
        assert rows <= {*range(first, last)} and min(rows) == first and max(rows) == last - 1


def test_a_text_is_read_in_streams(tmp_path: Path) -> None:
    path = write_text(tmp_path / "t.txt")
    text = path.read_text()
    task = Text(path=str(path), length=7, held_out=0.1)
    assert task.vocabulary == tuple(sorted(set(text)))
    assert task.decode(task.encode("the cat")) == "the cat"
    train = text[: len(text) - 2 * round(0.1 * len(text))]
    stream, windows = len(train) // 3, (len(train) // 3 - 1) // 7
    read = ["", "", ""]
    for number in range(windows):
        batch = check_batch(task.window(3, number), task, "text", 3)
        assert batch.starts is not None
        assert batch.starts.any() == (number == 0) and not batch.starts[1:].any()
        for row in range(3):
            read[row] += task.decode(batch.inputs[:, row].argmax(-1))
            assert read[row] == train[row * stream :][: len(read[row])]
            assert (
                task.decode(batch.targets[:, row])
                == train[row * stream :][len(read[row]) - 6 :][:7]
            )
    again = task.window(3, windows)
    assert torch.equal(again.inputs, task.window(3, 0).inputs) and again.starts is not None
    assert again.starts[0].all()


def test_a_text_is_evaluated_in_streams_of_its_part(tmp_path: Path) -> None:
    path = write_text(tmp_path / "t.txt")
    task = Text(path=str(path), length=5, held_out=0.1)
    held = round(0.1 * len(path.read_text()))
    batches = list(task.evaluation(2, generator=generator(), count=9))
    assert [batch.inputs.shape[1] for batch in batches] == [2] * 5
    first = task.decode(torch.cat([b.inputs[:, 0] for b in batches]).argmax(-1))
    assert first == path.read_text()[-held:][:25]


def test_a_text_is_drawn_too(tmp_path: Path) -> None:
    task = Text(path=str(write_text(tmp_path / "t.txt")), length=6)
    batch = check_batch(task.sample(4, generator=generator()), task, "text", 4)
    assert batch.starts is None
    assert any(task.decode(batch.targets[:, 0])[1:4] in sentence for sentence in SENTENCES)
    with pytest.raises(ValueError, match="got 'Q'"):
        task.encode("Q")


@pytest.mark.parametrize("write", [write_sequences, write_sequence_table])
def test_sequences_are_padded_and_asked_at_their_last_step(tmp_path: Path, write: Any) -> None:
    task = Sequences(path=str(write(tmp_path / "data.csv")))
    assert (task.labels, task.input_size, task.output_size) == (("down", "up"), 2, 2)
    batch = check_batch(task.sample(6, generator=generator()), task, "sequences", 6)
    assert torch.equal(batch.mask.sum(0), torch.ones(6, dtype=torch.int64))
    for row, last in enumerate(batch.mask.int().argmax(0).tolist()):
        assert not batch.inputs[last + 1 :, row].any() and batch.inputs[last, row].any()
        assert batch.targets[last, row] == batch.slices["label"][row]
    sizes = {"train": 28, "valid": 6, "test": 6}
    held = {
        split: [b.inputs.shape[1] for b in task.evaluation(4, generator=generator(), split=split)]
        for split in sizes
    }
    assert {split: sum(counts) for split, counts in held.items()} == sizes


def test_the_two_forms_of_sequences_are_alike(tmp_path: Path) -> None:
    ours = Sequences(path=str(write_sequences(tmp_path / "folder")))._data()
    theirs = Sequences(path=str(write_sequence_table(tmp_path / "table.csv")))._data()
    assert torch.equal(ours.labels, theirs.labels)
    assert sorted(map(len, ours.sequences)) == sorted(map(len, theirs.sequences))


@pytest.mark.parametrize("name", ["series", "text", "sequences"])
def test_data_that_are_not_there(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"task\.path: expected .*, got none; .*--task\.path"):
        assert make_task(name).input_size
    with pytest.raises(DataMissingError, match="which does not exist"):
        assert make_task(name, path=str(tmp_path / "no")).input_size


@pytest.mark.parametrize(
    ("task", "content", "message"),
    [
        (Series, "", "expected a CSV file with rows of numbers, got none"),
        (Series, "a,b\n1,2\n3\n", "row 3: expected 2 cells, got 1"),
        (Series, "a,b\n" + "1,2\n" * 30 + "1,x\n", "row 32, column 'b': expected a finite .*'x'"),
        (Series, "a\n" + "1\n" * 30 + "nan\n", "row 32, column 'a': expected a finite number"),
        (Series, "a\nx\n", "expected a column of numbers, got none"),
        (Series, "a\n1\n2\n3\n", "expected at least 2 rows to hold out"),
        (Text, "aaaa", "2 to 4096 different characters, got 1"),
        (Text, "abcd" * 50, "more than length=50 characters to hold out"),
        (Sequences, "a,b\n1,2\n", "expected a column of a, b, got 'sequence'"),
        (Sequences, "sequence,label,x\na,u,1\na,v,2\n", "sequence 'a': expected one label"),
        (Sequences, "sequence,label,x\na,u,1\nb,u,2\n", "at least 2 labels, got u"),
        (Sequences, "sequence,label,x\na,u,1\nb,v,2\n", "'u': expected at least 3 sequences"),
    ],
)
def test_files_that_do_not_fit(task: Any, content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text(content)
    with pytest.raises(ConfigError, match=message):
        task(path=str(path)).sample(2, generator=generator())


def test_files_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes(b"\xff\xfe\x00")
    for task in (Series, Text, Sequences):
        with pytest.raises(ConfigError, match=r"data\.csv: expected a"):
            task(path=str(path)).sample(2, generator=generator())
    with pytest.raises(ConfigError, match=r"expected files LABEL/NAME\.csv"):
        Sequences(path=str(tmp_path)).sample(2, generator=generator())


@pytest.mark.parametrize("held_out", [0.0, 0.5, 1.0])
def test_something_is_held_out_and_something_left(held_out: float) -> None:
    for task in (Series, Text, Sequences):
        with pytest.raises(ConfigError, match="held_out"):
            task(held_out=held_out)


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("ab" * 300)
    assert Text(path=str(path)).input_size == 2
    path.write_text("abc" * 300)
    os.utime(path, ns=(1, 1))
    assert Text(path=str(path)).input_size == 3
