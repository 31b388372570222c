"""Omniglot's drawings as tensors: the characters of each split, and images turned and moved."""

import functools
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from sam.tasks.levels import SPLITS
from sam.tasks.omniglot_images import SIZE, load

TURNS = 4
_TRAINING, _ALL = 1200, 1623  # characters (Santoro et al. 2016)
_VALIDATION = 12  # one of so many training characters is held out


class Pixels(NamedTuple):
    """All drawings, and the characters of each split."""

    images: Tensor  # [characters * drawings, SIZE^2 + 1] uint8; the last pixel is paper
    drawings: int  # of a character
    characters: dict[str, Tensor]  # of each split


@functools.lru_cache(maxsize=4)
def read_pixels(source: Path, characters: str) -> Pixels:
    """Reads the drawings and parts the characters.

    Args:
        source: folder of the zip files.
        characters: ``"random"`` or ``"background"``, see `sam.tasks.Omniglot`.

    Raises:
        DataMissingError, BackendMissingError: as `sam.tasks.omniglot_images.load`.
    """
    images, background = load(source)
    count, drawings = images.shape[:2]
    flat = torch.from_numpy(images).view(count * drawings, SIZE**2)
    paper = torch.zeros(len(flat), 1, dtype=torch.uint8)
    order, training = torch.arange(count), background
    if characters == "random":
        order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
        training = round(count * _TRAINING / _ALL)
    for_training = order[:training]
    held_out = torch.arange(training) % _VALIDATION == _VALIDATION - 1
    parts = for_training[~held_out], for_training[held_out], order[training:]
    return Pixels(torch.cat([flat, paper], 1), drawings, dict(zip(SPLITS, parts, strict=True)))


@functools.lru_cache(maxsize=4)
def source_pixels(shift: int) -> Tensor:
    """Which pixel of a drawing each pixel shows, turned and moved, [4, (2 shift + 1)^2, SIZE^2].

    What was outside is pixel SIZE^2, paper.
    """
    numbers = torch.arange(SIZE**2).view(SIZE, SIZE)
    found = []
    for turns in range(TURNS):
        framed = torch.full((SIZE + 2 * shift,) * 2, SIZE**2)
        framed[shift : shift + SIZE, shift : shift + SIZE] = numbers.rot90(turns)
        windows = framed.unfold(0, SIZE, 1).unfold(1, SIZE, 1)
        found.append(windows.reshape(-1, SIZE**2))
    return torch.stack(found)
