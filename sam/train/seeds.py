"""Random generators made from the number of the update, so that none has to be saved."""

import zlib

import torch

_WORD = 0xFFFFFFFF


def generator_for(seed: int, update: int, stream: str = "train") -> torch.Generator:
    """A generator for one update of one run: the same for the same arguments, always.

    Two updates of a run never share a seed (before 2^32 of them): the mixing is one to one.
    Torch's CPU generator uses 32 bits of its seed only, so seeds are mixed here.

    Args:
        seed: the run's seed.
        update: number of the update, at least 0.
        stream: what the numbers are for; the streams of a run differ.

    Returns:
        A fresh CPU generator.
    """
    start = _mix(_mix(seed & _WORD) ^ zlib.crc32(stream.encode()) ^ (seed >> 32 & _WORD))
    return torch.Generator().manual_seed(_mix(start + update & _WORD))


def _mix(word: int) -> int:
    """Maps 32 bits to 32 bits, one to one, so that neighbours end up far apart.

    Multiplying by an odd number and xoring with a right shift can both be undone, so nothing
    collides; three rounds with odd multipliers let every input bit reach every output bit.
    """
    for multiplier in (0x7FEB352D, 0x846CA68B, 0x9E3779B1):
        word = (word ^ word >> 16) * multiplier & _WORD
    return word ^ word >> 15
