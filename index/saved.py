"""How an index is written to a file, and takes what a file holds."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from torch import Tensor

from index.contents import Contents
from index.hooks import IndexHooks
from index.tensor_files import write_parts


class SavedIndex(IndexHooks):
    """An index that goes to a file and comes back."""

    batch_size: int
    batched: bool
    capacity: int
    word_size: int
    _like: Tensor

    def save(self, path: str | Path) -> None:
        """Writes settings, words and tables to a file for `load_index`; whole or not at all.

        A loaded index answers as this one does, to the last bit, if its backend saves its tables
        or is exact. What else was learned from the words is learned again, so that an approximate
        index may choose other slots once loaded.

        Args:
            path: the file to write or replace; a safetensors file.

        Raises:
            BackendMissingError: safetensors is not installed.
            NotImplementedError: a backend of your own does not say what to save.
            OSError: the file cannot be written.

        Cost: the bytes of the file, and while it is written three times as many in memory.
        """
        write_parts(path, "index", self._settings() | self._file_content())

    def content(self) -> dict[str, Any]:
        """What a state that this index is part of, or a pickle, holds: settings and words."""
        return self._settings() | self._content()

    def restored(self, given: Contents) -> Self:
        """This index, empty so far, with the words of a file.

        Raises:
            FileFormatError: the file is of an index with other settings or sizes.
        """
        for name, value in self._settings().items():
            given.same(name, value)
        self._restore(given)
        return self

    def _settings(self) -> dict[str, Any]:
        settings = {
            # Compiled or not is a matter of the machine.
            "config": replace(self.config, compiled=None).settings(),
            "batch_size": self.batch_size,
            "capacity": self.capacity,
            "word_size": self.word_size,
            "dtype": str(self._like.dtype).removeprefix("torch."),
        }
        # Said only where it is so: older files do not have it.
        return settings if self.batched else settings | {"batched": False}
