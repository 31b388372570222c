"""Omniglot's drawings as one array, read from the zip files in place and kept in a cache file.

The files ``images_background.zip`` and ``images_evaluation.zip`` hold 964 and 659 characters with
20 drawings each, ``SET/ALPHABET/character01/0001_01.png``, 105 x 105 pixels, ink 0 on paper 1.
"""

import contextlib
import functools
import hashlib
import io
import re
import tempfile
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sam.errors import BackendMissingError, DataMissingError
from sam.tasks.data_places import cache_folder, find_data

ENVIRONMENT_VARIABLE = "SPARSE_SAM_OMNIGLOT"
DEFAULT_FOLDER = "../shared/data/omniglot"
FILES = ("images_background.zip", "images_evaluation.zip")
SIZE = 20  # pixels of a side, after shrinking

_IMAGE = re.compile(r"(?P<character>[^/]+/[^/]+/[^/]+)/[^/]+\.png")
# An image has 105 x 105 pixels and about 200 bytes; far larger ones are not of this data set.
_MOST_BYTES, _MOST_SIDE, _MOST_IMAGES = 2**16, 1024, 10**6
_DAMAGE = (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, NotImplementedError)


class Drawings(NamedTuple):
    """All drawings, shrunk to 20 x 20."""

    images: np.ndarray  # [characters, drawings, SIZE, SIZE] uint8: ink 255, paper 0
    background: int  # so many of the characters, the first ones, are of the background set


def find_source(path: str | None) -> Path:
    """Finds the folder of the two zip files; see `sam.tasks.data_places.find_data`."""
    return find_data(
        "Omniglot", FILES, path=path, variable=ENVIRONMENT_VARIABLE, folder=DEFAULT_FOLDER
    )


@functools.lru_cache(maxsize=2)
def load(source: Path) -> Drawings:
    """Reads the drawings of both sets, from the cache if it has them.

    The cache file is named after the names and checksums of all images, so it is never out of date.
    If it cannot be written, nothing is kept.

    Args:
        source: folder of the zip files.

    Raises:
        DataMissingError: a file is damaged, or is not laid out as above.
        BackendMissingError: the images have to be read, and Pillow is not installed.

    Cost: about 10 s for the 32,460 images, or a fraction of a second from the cache.
    """
    listed = [_listed(source / name) for name in FILES]
    names = [name for one in listed for name in one]
    characters = [dict.fromkeys(_character(name) for name in one) for one in listed]
    background, count = len(characters[0]), sum(map(len, characters))
    if not names or len(names) % count:
        raise DataMissingError(
            f"Omniglot data {source}: expected as many drawings of each character, got "
            f"{len(names)} of {count}"
        )
    shape = count, len(names) // count, SIZE, SIZE
    checksums = "".join(f"{name} {crc}\n" for one in listed for name, crc in one.items())
    digest = hashlib.sha256(checksums.encode()).hexdigest()[:16]
    place = cache_folder() / f"omniglot-{SIZE}-{digest}.npy"
    images = _kept(place, shape)
    if images is None:
        images = np.concatenate(
            [_images(source / file, [*one]) for file, one in zip(FILES, listed, strict=True)]
        ).reshape(shape)
        _keep(place, images)
    return Drawings(images, background)


def _character(name: str) -> str:
    match = _IMAGE.fullmatch(name)
    assert match is not None  # `_listed` has only such names
    return match["character"]


def _listed(file: Path) -> dict[str, int]:
    """The images of a zip file, with their checksums, sorted by character and drawing."""
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
    except _DAMAGE as error:
        raise _damaged(file, error) from error
    images = {one.filename: one for one in entries if _IMAGE.fullmatch(one.filename)}
    largest = max((one.file_size for one in images.values()), default=0)
    if not images or len(images) > _MOST_IMAGES or largest > _MOST_BYTES:
        raise DataMissingError(
            f"Omniglot data {file}: expected small images SET/ALPHABET/CHARACTER/NAME.png, got "
            f"{len(images)}, the largest of {largest:,} bytes"
        )
    return {name: images[name].CRC for name in sorted(images)}


def _images(file: Path, names: list[str]) -> np.ndarray:
    """The images of a zip file, shrunk, [n, SIZE, SIZE] uint8."""
    try:
        with zipfile.ZipFile(file) as archive:
            return _shrunk(archive.read(name) for name in names)
    except _DAMAGE as error:
        raise _damaged(file, error) from error


def _shrunk(files: Iterable[bytes]) -> np.ndarray:
    """Decodes images and shrinks them, each pixel to the mean of what it covers."""
    try:
        from PIL import Image
    except ImportError as error:
        raise BackendMissingError(
            f"PIL: expected an installed package to read PNG files, got {error}; install it with: "
            "pip install 'sparse-access-memory[train]'"
        ) from error
    found = []
    for content in files:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            if max(image.size) > _MOST_SIDE:
                raise ValueError(f"an image of {image.size} pixels")
            ink = 255.0 - np.asarray(image.convert("L"), dtype=np.float64)
        height, width = ink.shape
        found.append((_means(height) @ ink @ _means(width).T).round().astype(np.uint8))
    return np.stack(found)


@functools.cache
def _means(side: int) -> np.ndarray:
    """How much of each of `side` pixels a shrunk pixel is made of, [SIZE, side]."""
    edges = np.arange(SIZE + 1)[:, None] * side / SIZE
    covered = (edges - np.arange(side)).clip(0, 1)  # by all shrunk pixels before each edge
    return np.diff(covered, axis=0) * SIZE / side


def _damaged(file: Path, error: Exception) -> DataMissingError:
    reason = (str(error).splitlines() or ["no reason given"])[0]
    return DataMissingError(
        f"Omniglot data {file}: expected a whole zip file of PNG images, got "
        f"{type(error).__name__}: {reason}. The file is damaged or cut short; fetch it again"
    )


def _kept(place: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """The array in the cache, if it is there and whole."""
    with contextlib.suppress(OSError, ValueError, EOFError):
        images = np.load(place, allow_pickle=False)
        if images.shape == shape and images.dtype == np.uint8:
            return images
    return None


def _keep(place: Path, images: np.ndarray) -> None:
    """Writes the array, whole or not at all."""
    with contextlib.suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=place.parent, suffix=".npy", delete=False) as file:
            np.save(file, images, allow_pickle=False)
        Path(file.name).replace(place)
