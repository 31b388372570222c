"""Signals become a question; those that were ignored stay so; a second one acts as usual."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from sam.train.interrupt import stop_on_signal
from sam.train.run import train_run
from sam.train.train_config import RunConfig

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs POSIX signals")
CODES = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]


@pytest.mark.parametrize(("number", "code"), CODES)
def test_each_signal_asks_once(number: signal.Signals, code: int) -> None:
    before = signal.signal(number, lambda *_: seen.append(1))
    seen: list[int] = []
    try:
        with stop_on_signal() as stop:
            assert not stop()
            os.kill(os.getpid(), number)
            assert stop()
            assert stop.exit_code == code
            os.kill(os.getpid(), number)
        assert seen == [1]
    finally:
        signal.signal(number, before)


def test_what_was_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_on_signal() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_finished_run_stops_too(tiny: Callable[..., RunConfig], tmp_path: Path) -> None:
    train_run(tiny(), tmp_path / "run")
    assert train_run(tiny(), tmp_path / "run", resume=True, should_stop=lambda: True).stopped
