"""What an index says about itself."""

from typing import NamedTuple

from torch import Tensor


class IndexStats(NamedTuple):
    """How an index stands. Taking it costs a look at the device, and O(slots in use)."""

    searching: str  # what answers a search now: "exact", or the kind
    occupancy: Tensor  # slots that hold a word, int64 [B]
    candidates: float  # words compared per query; of an approximate one, in its last search
    fill: float | None  # share of the places in buckets that are taken; None without buckets
    unplaced: int  # words that found no place in any table: only an exact search sees them
    rebuilds: int  # how often the tables were made anew, on growth included
    nbytes: int  # bytes held, copies of the words included
