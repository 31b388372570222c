"""What a run tells: plain lines in a pipe, a bar on a terminal."""

import io

import pytest

from sam.train import progress
from sam.train.loop import Progress, Update
from sam.train.progress import BarReporter, PlainReporter, describe, duration, make_reporter


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def update(number: int, level: int | None = None) -> Update:
    return Update(number, level, 12.345, 0.5, 1.0, 0.25, Progress())


def test_plain_lines_come_first_last_and_every_so_often() -> None:
    stream = io.StringIO()
    with PlainReporter(stream, every=10) as reporter:
        reporter.begin(3, 25)
        for number in range(4, 26):
            reporter.updated(update(number))
    numbers = [line.split()[1] for line in stream.getvalue().splitlines()]
    assert numbers == ["4/25:", "10/25:", "20/25:", "25/25:"]
    assert "12.3 bits, error 0.5, mean 0.25, gradient 1; " in stream.getvalue()
    assert "updates/s, at most 0:00 left" in stream.getvalue().splitlines()[-1]


def test_a_level_is_told_if_there_is_one() -> None:
    assert describe(update(1, level=7)).startswith("level 7, 12.3 bits")


def test_the_stream_decides_the_form() -> None:
    pytest.importorskip("rich")
    assert isinstance(make_reporter(io.StringIO()), PlainReporter)
    assert isinstance(make_reporter(Terminal()), BarReporter)


def test_the_bar_shows_numbers_and_lines_above_it() -> None:
    pytest.importorskip("rich")
    stream = Terminal()
    with BarReporter(stream) as reporter:
        reporter.begin(0, 20)
        reporter.updated(update(20))
        reporter.say("[brackets] are no markup")
    assert "20/20" in stream.getvalue()
    assert "[brackets] are no markup" in stream.getvalue()


def test_the_bar_shows_the_last_update_however_fast_they_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("rich")
    stream, shown = Terminal(), []
    with BarReporter(stream) as reporter:
        show = reporter._show
        monkeypatch.setattr(
            reporter, "_show", lambda u, now: (shown.append(u.number), show(u, now))
        )
        monkeypatch.setattr(progress.time, "perf_counter", lambda: clock)
        clock = 100.0
        reporter.begin(0, 1003)
        for number in range(1, 1004):
            clock = 100.0 + number / 500
            reporter.updated(update(number))
    assert 5 <= len(shown) <= 12
    assert shown[-1] == 1003
    assert "1003/1003" in stream.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0:00"), (61, "1:01"), (3599.9, "1:00:00"), (7325, "2:02:05")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
