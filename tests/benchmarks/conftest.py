"""Fixtures of the benchmarks' tests."""

import pytest


@pytest.fixture(autouse=True)
def no_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Collecting the garbage of a whole test session takes long, and changes nothing here."""
    monkeypatch.setattr("gc.collect", lambda *generation: 0)
