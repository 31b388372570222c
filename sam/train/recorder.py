"""What a run writes while it goes: its logs, and the checkpoint that fits them."""

import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sam.train.checkpoint import Checkpoint, save_checkpoint
from sam.train.config import RunConfig
from sam.train.files import write_atomic
from sam.train.loggers import JsonLines, Logger, make_logger
from sam.train.loop import Progress, Update
from sam.train.settings import to_tables
from sam.train.toml import to_toml

CONFIG, CHECKPOINT, METRICS, TIMING = (
    "config.toml",
    "checkpoint.pt",
    "metrics.jsonl",
    "timing.jsonl",
)


class Recorder:
    """Keeps logs and checkpoint of a run in step, so that a kill at any moment loses nothing.

    The checkpoint counts the bytes of both logs. What a killed run logged after its last
    checkpoint is cut off on resuming, and written again by the same updates.

    Args:
        config: the run's settings; written to `config.toml`.
        folder: the run's folder; made if it is missing.
        model: its parameters are saved.
        optimizer: its state is saved.
        checkpoint: where the run goes on from, or None at its start.

    Raises:
        CheckpointError: a log is shorter than the checkpoint says.
        UnknownNameError: there is no such logger.
        OSError: something cannot be written.
    """

    def __init__(
        self,
        config: RunConfig,
        folder: Path,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        checkpoint: Checkpoint | None,
    ) -> None:
        self._config, self._model, self._optimizer = config, model, optimizer
        self._folder = folder
        self._settings = to_toml(to_tables(config))
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / CONFIG, self._settings)
        lengths = {} if checkpoint is None else checkpoint.log_bytes
        self._metrics = JsonLines(folder / METRICS, lengths.get(METRICS, 0))
        self._timing = JsonLines(folder / TIMING, lengths.get(TIMING, 0))
        update = 0 if checkpoint is None else checkpoint.progress.update
        self._loggers: list[Logger] = [self._metrics]
        self._loggers += [make_logger(name, folder, update) for name in config.train.loggers]
        self._started = time.perf_counter() - (0.0 if checkpoint is None else checkpoint.seconds)

    @property
    def seconds(self) -> float:
        """Time spent on the run, earlier calls included up to their last checkpoint."""
        return time.perf_counter() - self._started

    def updated(self, update: Update) -> None:
        """Logs an update if it is one of every `train.log_every`."""
        if update.number % self._config.train.log_every == 0:
            self.log(update.record())
            self._timing.log({"update": update.number, "seconds": round(self.seconds, 3)})

    def log(self, record: dict[str, Any]) -> None:
        """Hands a record to every logger."""
        for logger in self._loggers:
            logger.log(record)

    def save(self, progress: Progress) -> None:
        """Writes the checkpoint of this moment; the logs reach the disk before it does."""
        checkpoint = Checkpoint(
            config=self._settings,
            progress=progress,
            model=self._model.state_dict(),
            optimizer=self._optimizer.state_dict(),
            rng=torch.get_rng_state(),
            log_bytes={METRICS: self._metrics.sync(), TIMING: self._timing.sync()},
            seconds=self.seconds,
        )
        save_checkpoint(self._folder / CHECKPOINT, checkpoint)

    def close(self) -> None:
        """Closes the logs."""
        for logger in (*self._loggers, self._timing):
            logger.close()


class Unrecorded:
    """In the place of a recorder, in a process that is not the first of those that train."""

    def __init__(self) -> None:
        self._started = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Time since the start of this process's part."""
        return time.perf_counter() - self._started

    def updated(self, update: Update) -> None:
        """Takes no notice."""

    def log(self, record: dict[str, Any]) -> None:
        """Takes no notice."""

    def save(self, progress: Progress) -> None:
        """Takes no notice."""

    def close(self) -> None:
        """Takes no notice."""
