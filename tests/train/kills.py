"""Ends a run without giving it a chance to save, as kill -9 does."""

from sam.train.loop import Update
from sam.train.progress import Reporter


class Killed(BaseException):
    """Ends a run without giving it a chance to save, as kill -9 does."""


class KillAt(Reporter):
    """Ends the run after one of its updates."""

    def __init__(self, update: int) -> None:
        self._update = update

    def updated(self, update: Update) -> None:
        if update.number == self._update:
            raise Killed
