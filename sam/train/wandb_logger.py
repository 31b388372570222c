"""Weights & Biases, for those who have an account or a server of it; the extra `wandb`."""

import secrets
from pathlib import Path
from typing import Any

from sam.errors import BackendMissingError
from sam.train.extras import import_extra
from sam.train.names import WANDB
from sam.train.scalars import flat_settings, scalars

_ID = "id.txt"
_INSTALL = "pip install 'sparse-access-memory[wandb]'"


class WandB:
    """A run of Weights & Biases, named after the run's folder, with its files in `wandb` there.

    Project, entity, server and offline mode are taken from the environment variables of wandb, such
    as WANDB_PROJECT and WANDB_MODE.

    Args:
        folder: the run's folder.
        update: the run goes on after this update, and keeps its id; what an earlier try has sent of
            later updates is not sent again.

    Raises:
        BackendMissingError: wandb is not installed.
    """

    def __init__(self, folder: Path, update: int) -> None:
        try:
            wandb: Any = import_extra("wandb")
        except BackendMissingError as error:
            raise BackendMissingError(f"{str(error).partition(';')[0]}; {_INSTALL}") from error
        place = folder / WANDB
        place.mkdir(parents=True, exist_ok=True)
        if update == 0 or not (place / _ID).exists():
            (place / _ID).write_text(secrets.token_hex(4))
        identity = (place / _ID).read_text().strip()
        self._run = wandb.init(dir=str(folder), id=identity, name=folder.name, resume="allow")

    def settings(self, tables: dict[str, Any]) -> None:
        """Tells the settings."""
        self._run.config.update(flat_settings(tables), allow_val_change=True)

    def log(self, record: dict[str, Any]) -> None:
        """Sends every number of the record; the update is the step."""
        self._run.log(scalars(record), step=record["update"])

    def close(self) -> None:
        """Ends the run there."""
        self._run.finish()
