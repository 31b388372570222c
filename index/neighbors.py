"""What an index returns: the neighbors of a query, and statistics of itself."""

from typing import NamedTuple

import torch
from torch import Tensor


class Neighbors(NamedTuple):
    """What a search found, per query best first."""

    slots: Tensor  # [B, Q, k] int64, no slot twice, -1 where fewer than k words exist
    scores: Tensor  # [B, Q, k], -inf where the slot is -1


def empty_neighbors(queries: Tensor, k: int) -> Neighbors:
    """The answer [B, Q, k] of a search that finds no word."""
    size = (*queries.shape[:2], k)
    slots = queries.new_full(size, -1, dtype=torch.int64)
    return Neighbors(slots, queries.new_full(size, -torch.inf))


class IndexStats(NamedTuple):
    """The state of an index in numbers. Cost: a look at the device, and O(slots in use)."""

    searching: str  # what answers a search now: "exact", or the kind
    occupancy: Tensor  # slots that hold a word, int64 [B]
    candidates: float  # words compared per query; of an approximate index, in its last search
    fill: float | None  # share of the places in lists that are taken; None without lists
    unplaced: int  # words that found no place in any table: only an exact search sees them
    rebuilds: int  # how often the tables were rebuilt, on growth included
    nbytes: int  # bytes held, copies of the words included
    recall_target: float | None = None  # what searches shall have; None where nothing is aimed at
    recall_estimate: float | None = None  # what they have, by the index's own looks
    watched: float = 0.0  # share of those looks in the work of all searches
