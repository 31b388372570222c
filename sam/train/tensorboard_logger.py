"""TensorBoard: curves of all numbers, and the settings of the run as hparams."""

from pathlib import Path
from typing import Any

from sam.train.extras import import_extra
from sam.train.names import TENSORBOARD
from sam.train.scalars import flat_settings, scalars


class TensorBoard:
    """Events for TensorBoard, in the folder `tensorboard` of the run.

    Args:
        folder: the run's folder.
        update: the run goes on after this update; later events of an earlier try are hidden.

    Raises:
        BackendMissingError: tensorboard is not installed.
    """

    def __init__(self, folder: Path, update: int) -> None:
        import_extra("tensorboard")
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder / TENSORBOARD), purge_step=update + 1)

    def settings(self, tables: dict[str, Any]) -> None:
        """Shows the settings in the tab "hparams", beside the error of the last updates."""
        from torch.utils.tensorboard.summary import hparams

        # `add_hparams` of the writer would begin a second file, as of another run.
        files: Any = self._writer.file_writer
        for event in hparams(flat_settings(tables), {"window_error": None}):
            files.add_summary(event)

    def log(self, record: dict[str, Any]) -> None:
        """Adds every number of the record; the update is the horizontal axis."""
        for name, value in scalars(record).items():
            self._writer.add_scalar(name, value, record["update"])

    def close(self) -> None:
        """Flushes and closes the writer."""
        self._writer.close()
