"""Real words from files beside the checkout: GloVe, MNIST, Omniglot. Nothing is downloaded.

The folder holds ``ann``, ``mnist`` and ``omniglot``, as published. It is the argument, or the value
of ``SPARSE_SAM_DATA``, or ``../shared/data``; GloVe is also looked for where `find_glove` says.
"""

import gzip
import io
import os
import zipfile
from pathlib import Path

import numpy
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.index.index_words import FILE_NAME, find_glove, load_glove
from sam.train.extras import import_extra

FOLDER_VARIABLE = "SPARSE_SAM_DATA"
_DEFAULT = Path("../shared/data")
_SIDE = 20  # pixels, as one-shot learning uses Omniglot
_DRAWINGS = 32460
_TURNS = range(4)  # quarters
_HELD_OUT = 16  # of so many drawings one is for queries
_PIECE = 2048  # images shrunk at once
_IMAGES = 0x00000803  # the magic number of an IDX file of images


def data_folder(folder: Path | None) -> Path:
    """Where the files should be: as given, by the environment variable, or beside the checkout."""
    return folder if folder is not None else Path(os.environ.get(FOLDER_VARIABLE) or _DEFAULT)


def glove_words(folder: Path | None) -> tuple[Tensor, Tensor]:
    """131,072 words of 50 numbers and 1,000 queries that are not among them, float32.

    Raises:
        OSError: there is no such file.
        ValueError: it is damaged or another.
    """
    known = folder is not None or FOLDER_VARIABLE in os.environ
    path = data_folder(folder) / "ann" / FILE_NAME if known else None
    glove = load_glove(find_glove(path))
    return glove.words[0], glove.queries[0]


def mnist_words(folder: Path | None, *, side: int = 28) -> tuple[Tensor, Tensor]:
    """The 60,000 training images and the 10,000 test images, [n, side^2] in [0, 1].

    Args:
        folder: see `data_folder`.
        side: pixels; 14 averages squares of four.

    Raises:
        OSError, ValueError: as `glove_words`.
    """
    found = []
    for name in ("train", "t10k"):
        path = data_folder(folder) / "mnist" / f"{name}-images-idx3-ubyte.gz"
        content = gzip.decompress(path.read_bytes())
        magic, count, high, wide = numpy.frombuffer(content, ">u4", 4).tolist()
        if magic != _IMAGES or len(content) != 16 + count * high * wide:
            raise ValueError(f"{path}: expected an IDX file of images, got another or a part")
        pixels = numpy.frombuffer(content, numpy.uint8, offset=16).reshape(count, high, wide)
        found.append(_shrunk(pixels, side) / 255)
    return found[0], found[1]


def omniglot_words(folder: Path | None, *, most: int = 130000) -> tuple[Tensor, Tensor]:
    """Drawings of both sets, 32,460 in all, each turned four times, shrunk to 20 x 20; ink is 1.

    Every 16th drawing, in four turns too, is a query instead.

    Args:
        folder: see `data_folder`.
        most: words that are needed; of the drawings as many as make them are read, at even
            distances.

    Returns:
        Words and queries, [n, 400] in [0, 1].

    Raises:
        BackendMissingError: Pillow, which comes with the extra ``train``, is not installed.
        OSError, ValueError: as `glove_words`.
    """
    image = import_extra("PIL.Image")
    drawings = []
    wanted = most / len(_TURNS) * _HELD_OUT / (_HELD_OUT - 1)
    for name in ("background", "evaluation"):
        path = data_folder(folder) / "omniglot" / f"images_{name}.zip"
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):
                raise ValueError(f"{path}: expected a zip, got a file cut short, or another")
            with zipfile.ZipFile(file) as archive:
                members = sorted(one for one in archive.namelist() if one.endswith(".png"))
                for member in members[:: max(1, int(_DRAWINGS / wanted))]:
                    with image.open(io.BytesIO(archive.read(member))) as drawing:
                        drawings.append(numpy.asarray(drawing, dtype=bool))
    ink = _shrunk(~numpy.stack(drawings), _SIDE).view(-1, _SIDE, _SIDE)
    turned = torch.stack([ink.rot90(turns, (1, 2)) for turns in _TURNS], 1).flatten(2)
    held_out = torch.arange(len(ink)) % _HELD_OUT == 0
    return turned[~held_out].flatten(0, 1), turned[held_out].flatten(0, 1)


def _shrunk(images: numpy.ndarray, side: int) -> Tensor:
    """Images [n, H, W] as float32 [n, side^2], by the means of the areas that fall together."""
    found = torch.empty(len(images), side * side)
    for start in range(0, len(images), _PIECE):
        piece = torch.from_numpy(images[start : start + _PIECE].astype("float32"))
        small = functional.adaptive_avg_pool2d(piece, side)
        found[start : start + _PIECE] = small.flatten(1)
    return found
