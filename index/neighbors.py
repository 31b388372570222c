"""What a search returns."""

from typing import NamedTuple

import torch
from torch import Tensor


class Neighbors(NamedTuple):
    """What a search found, per query best first."""

    slots: Tensor  # [B, Q, k] int64, no slot twice, -1 where fewer than k words exist
    scores: Tensor  # [B, Q, k], -inf where the slot is -1


def nothing(queries: Tensor, k: int) -> Neighbors:
    """The answer [B, Q, k] of a search that finds no word."""
    size = (*queries.shape[:2], k)
    slots = queries.new_full(size, -1, dtype=torch.int64)
    return Neighbors(slots, queries.new_full(size, -torch.inf))
