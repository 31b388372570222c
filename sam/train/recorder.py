"""Logs and checkpoint of a run, kept consistent with each other."""

import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import torch

from sam.train.checkpoint import Checkpoint, save_checkpoint
from sam.train.device import peak_mib
from sam.train.learner import Learner
from sam.train.loggers import NOTHING, JsonLines, Logger, check_log, make_logger, tell_settings
from sam.train.loop import Progress, Update
from sam.train.names import CHECKPOINT, CONFIG, METRICS, OF_TRAINING, TIMING, discard
from sam.train.run_files import remove_temporaries, write_atomic
from sam.train.settings import to_tables
from sam.train.toml import to_toml
from sam.train.train_config import RunConfig
from sam.train.watch import check_parameters


class Recorder:
    """Keeps logs and checkpoint of a run consistent, so that a kill at any moment loses nothing.

    The checkpoint holds the length and the checksum of both logs. What a killed run logged after
    its last checkpoint is cut off on resuming, and written again by the same updates. Nothing is
    written before all that exists has been checked.

    Args:
        config: the run's settings; written to `config.toml`.
        folder: the run's folder, whose lock this process holds.
        learner: what is saved.
        checkpoint: where the run resumes, or None at its start.

    Raises:
        CheckpointError: a log is shorter than the checkpoint says, or altered.
        UnknownNameError: there is no such logger.
        OSError: something cannot be written.
    """

    def __init__(
        self,
        config: RunConfig,
        folder: Path,
        learner: Learner,
        checkpoint: Checkpoint | None,
    ) -> None:
        self._config, self._learner = config, learner
        self._folder = folder
        self._settings = to_toml(to_tables(config))
        logs = {METRICS: NOTHING, TIMING: NOTHING} if checkpoint is None else checkpoint.logs
        update = 0 if checkpoint is None else checkpoint.progress.update
        for name, kept in logs.items():
            check_log(folder / name, kept)
        with ExitStack() as opened:
            self._loggers: list[Logger] = [
                opened.enter_context(closing(make_logger(name, folder, update)))
                for name in config.train.loggers
            ]
            remove_temporaries(folder, OF_TRAINING)
            write_atomic(folder / CONFIG, self._settings)
            self._metrics, self._timing = (
                opened.enter_context(closing(JsonLines(folder / name, logs[name])))
                for name in (METRICS, TIMING)
            )
            self._opened = opened.pop_all()
        for logger in self._loggers:
            tell_settings(logger, to_tables(config))
        self._started = time.perf_counter() - (0.0 if checkpoint is None else checkpoint.seconds)
        self._last = update, self.seconds  # update and time of the last line

    @property
    def seconds(self) -> float:
        """Time spent on the run, earlier calls included up to their last checkpoint."""
        return time.perf_counter() - self._started

    def updated(self, update: Update) -> None:
        """Logs every `train.log_every`-th update."""
        if update.number % self._config.train.log_every == 0:
            cost = self._cost(update.number)
            self.log(update.record(), {n: v for n, v in cost.items() if n != "update"})
            self._timing.log(cost)

    def _cost(self, update: int) -> dict[str, Any]:
        """A line of timing.jsonl: what differs between equal runs."""
        (before, then), now = self._last, self.seconds
        self._last = update, now
        cost = {"update": update, "seconds": round(now, 3)}
        cost["updates_per_second"] = round((update - before) / max(now - then, 1e-9), 3)
        peak = peak_mib(self._learner.device)
        return cost if peak is None else cost | {"peak_mib": round(peak, 1)}

    def log(self, record: dict[str, Any], cost: dict[str, Any] | None = None) -> None:
        """Writes a record to metrics.jsonl, and passes it to every other logger with the cost."""
        self._metrics.log(record)
        for logger in self._loggers:
            logger.log(record | (cost or {}))

    def save(self, progress: Progress, carried: list[dict[str, Any]] | None = None) -> None:
        """Writes the checkpoint of this moment; the logs reach the disk before it does.

        Args:
            progress: after the last update.
            carried: of `Learner.carried`.

        Raises:
            DivergedError: a parameter is not finite; the checkpoint before is kept.
        """
        learner = self._learner
        check_parameters(learner.model, progress.update)
        on_gpu = learner.device.type == "cuda"
        checkpoint = Checkpoint(
            config=self._settings,
            progress=progress,
            model=learner.model.state_dict(),
            optimizer=learner.optimizer.state_dict(),
            rng=torch.get_rng_state(),
            logs={METRICS: self._metrics.sync(), TIMING: self._timing.sync()},
            seconds=self.seconds,
            average=None if learner.average is None else learner.average.module.state_dict(),
            best=learner.best,
            carried=carried,
            device_rng=torch.cuda.get_rng_state(learner.device) if on_gpu else None,
            fall_back=None if learner.fall_back is None else learner.fall_back.state,
        )
        save_checkpoint(self._folder / CHECKPOINT, checkpoint)

    def close(self) -> None:
        """Closes the logs."""
        self._opened.close()

    def discard(self) -> None:
        """Removes the files of a run that ended before its first update; call `close` first."""
        discard(self._folder)


class Unrecorded:
    """Stands in for a recorder in processes other than the first: the first one writes."""

    def __init__(self) -> None:
        self._started = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Time since the start of this process's part."""
        return time.perf_counter() - self._started

    def _ignore(self, *_: object) -> None:
        """Does nothing."""

    updated = log = save = close = discard = _ignore
