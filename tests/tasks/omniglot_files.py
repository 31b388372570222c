"""A tiny Omniglot: few characters, whose drawings are told apart by their pixels."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

SIDE = 40  # pixels, so that each pixel of the shrunk image is the mean of 2 x 2


def drawing(character: int, number: int) -> np.ndarray:
    """Random ink, [20, 20] bool, the same each time."""
    return np.random.default_rng([character, number]).random((20, 20)) < 0.4


def png(ink: np.ndarray, side: int = SIDE) -> bytes:
    """A file of one bit a pixel, ink 0 on paper 1."""
    image = pytest.importorskip("PIL.Image")
    large = ink.repeat(side // len(ink), 0).repeat(side // len(ink), 1)
    file = io.BytesIO()
    image.fromarray(~large).save(file, format="PNG")
    return file.getvalue()


def write(folder: Path, *, background: int = 24, evaluation: int = 8, drawings: int = 4) -> Path:
    """Writes both zip files; the characters are numbered through both."""
    folder.mkdir(parents=True, exist_ok=True)
    first = 0
    for name, count in (("background", background), ("evaluation", evaluation)):
        with zipfile.ZipFile(folder / f"images_{name}.zip", "w") as archive:
            archive.writestr(f"images_{name}/", "")
            for character in range(first, first + count):
                alphabet, own = divmod(character, 6)
                for number in range(drawings):
                    place = f"images_{name}/Alphabet_{alphabet}/character{own:02}"
                    file = f"{place}/{character + 1:04}_{number + 1:02}.png"
                    archive.writestr(file, png(drawing(character, number)))
        first += count
    return folder
