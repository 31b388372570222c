"""Lookup among real vectors: those of words of a language, which lie close together."""

import functools
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sam.errors import ConfigError, DataMissingError
from sam.tasks.data_places import find_data
from sam.tasks.drawing import random_bits
from sam.tasks.levels import check_whole
from sam.tasks.lookup import BIT, PIECE, Lookup
from sam.tasks.task import Batch

ENVIRONMENT_VARIABLE = "SPARSE_SAM_VECTORS"
FOLDER, FILE = "../shared/data/ann", "glove-6b-50d-131k.npz"
_ORDER = 0  # seed of the order in which vectors are divided into those of training and others


@dataclass(frozen=True, kw_only=True, slots=True)
class VectorLookup(Lookup):
    """`Lookup` whose keys are real vectors, by default GloVe's of 131,072 words (Pennington et al.
    2014), each with a value of random bits.

    In training the words of a batch are drawn, each at most once, from ``train_words`` vectors,
    with new bits each time. The other vectors are never seen in training: words of the splits valid
    and test are drawn from them, and those that `pieces` makes a base of.

    Args:
        path: an .npy file of vectors [n, key_size], an .npz file with such an array named "base",
            or the folder of GloVe's file; by default the environment variable
            ``SPARSE_SAM_VECTORS``, then ``../shared/data/ann``.
        train_words: vectors of training, in a fixed random order.
        key_size: numbers of a vector, as in the file.
        base, min_words, max_words, questions, bits, noise: as in `Lookup`.

    Raises:
        DataMissingError: there are no vectors, or damaged ones.
        ConfigError: a setting is too small, or there are fewer vectors than it says.
        FileNotFoundError, FileFormatError: there is no base in the folder that is given.
    """

    path: str | None = None
    train_words: int = 16384
    key_size: int = 50

    def __post_init__(self) -> None:
        Lookup.__post_init__(self)
        check_whole("train_words", self.train_words, 1)
        if self.max_words > self.train_words:
            raise ConfigError(
                f"max_words: expected at most train_words={self.train_words}, got {self.max_words}"
            )
        count, width = self._keys().shape
        if width != self.key_size:
            raise ConfigError(
                f"key_size: expected that of the vectors, {width}, got {self.key_size}"
            )
        if count <= self.train_words:
            raise ConfigError(
                f"train_words: expected fewer than there are vectors, {count}, got "
                f"{self.train_words}"
            )

    def pieces(self, count: int, *, seed: int = 0) -> Iterator[Tensor]:
        """Words for a base, of the first `count` vectors that training never sees.

        Raises:
            ConfigError: there are not so many.
        """
        keys = self._of_split("test")
        if count > len(keys):
            raise ConfigError(f"count: expected at most {len(keys)} unseen vectors, got {count}")
        generator = torch.Generator().manual_seed(seed)
        for done in range(0, count, PIECE):
            yield self._with_values(keys[done : min(done + PIECE, count)], generator)

    def _draw_held_out(
        self, batch_size: int, level: int, generator: torch.Generator, split: str
    ) -> Iterator[Batch]:
        words = None if self.base else self._drawn_words(level, generator, split)
        yield self._asked(batch_size, words, generator)

    def _words(self, count: int, generator: torch.Generator) -> Tensor:
        return self._drawn_words(count, generator, "train")

    def _drawn_words(self, count: int, generator: torch.Generator, split: str) -> Tensor:
        keys = self._of_split(split)
        if count > len(keys):
            raise ConfigError(
                f"level: expected at most {len(keys)} words, the vectors of {split}, got {count}"
            )
        chosen = torch.randperm(len(keys), generator=generator)[:count]
        return self._with_values(keys[chosen], generator)

    def _with_values(self, keys: Tensor, generator: torch.Generator) -> Tensor:
        bits = random_bits((len(keys), self.bits), generator)
        return torch.cat([keys, BIT * (2 * bits - 1)], 1)

    def _of_split(self, split: str) -> Tensor:
        keys = self._keys()
        return keys[: self.train_words] if split == "train" else keys[self.train_words :]

    def _keys(self) -> Tensor:
        """All vectors, of length 1, in the fixed order."""
        file = _file(self.path)
        return _read(str(file), file.stat().st_mtime_ns)


def _file(path: str | None) -> Path:
    if path is not None and Path(path).expanduser().is_file():
        return Path(path).expanduser().resolve()
    where: Any = {"path": path, "variable": ENVIRONMENT_VARIABLE, "folder": FOLDER}
    return find_data("GloVe", (FILE,), **where) / FILE


@functools.lru_cache(maxsize=2)
def _read(file: str, changed: int) -> Tensor:
    try:
        with open(file, "rb") as stream:
            given = np.load(stream, allow_pickle=False)
            vectors = given if isinstance(given, np.ndarray) else given["base"]
        if vectors.ndim != 2 or vectors.dtype.kind != "f" or not vectors.size:
            raise ValueError(f"{vectors.dtype} {[*vectors.shape]}")
        keys = torch.from_numpy(vectors.astype(np.float32))
        if not bool(keys.isfinite().all()) or not bool(keys.any(1).all()):
            raise ValueError("numbers that are not finite, or a vector of zeros")
    except (ValueError, EOFError, LookupError, zipfile.BadZipFile, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataMissingError(
            f"vectors {file}: expected an .npy file of floats [n, K], or an .npz file with such an "
            f"array named base, got {reason}"
        ) from error
    order = torch.randperm(len(keys), generator=torch.Generator().manual_seed(_ORDER))
    return functional.normalize(keys, dim=1)[order]
