"""What a search in lists tells of itself: how much it had to meet for what it found."""

import numpy as np
import torch
from torch import Tensor

from index.hashing import Hash
from index.inverted_lists import InvertedLists
from index.list_budget import as_in_fullest
from index.list_search import are_small, needed_words
from index.recall_glances import GLANCED, NEIGHBORS


def before_a_glance(scores: np.ndarray) -> np.ndarray:
    """Prepares the room [Q, n] for scores of lists that a search fills in; returns it.

    Afterwards these are of the last memory, unless that was searched whole.
    """
    scores[:GLANCED, 0] = np.nan
    return scores


def glance_at(lists: InvertedLists, scores: np.ndarray, slots: np.ndarray) -> np.ndarray | None:
    """How many words a search had to meet for what the first queries of the last memory found.

    Args:
        lists: of one table, in which the search was.
        scores: as it left the room that `before_a_glance` has prepared, [Q, n].
        slots: what it found, int64 [B, Q, k].

    Returns:
        As of the fullest memory, NaN for nothing, [m, k]; None where that memory was searched
        whole.
    """
    from index.kernels.list_loops import count_above

    scores, slots = scores[:GLANCED], slots[-1, :GLANCED]
    slots = slots[:, _some(slots.shape[1])]
    if np.isnan(scores[:, 0]).any():
        return None
    memory = lists.batch_size - 1
    lengths = lists.lengths[memory * lists.lists :].numpy()
    homes = lists.list_of_slots(memory, slots) - memory * lists.lists
    own = scores[np.arange(len(scores))[:, None], np.maximum(homes, 0)]
    met = np.empty(own.shape)
    count_above(scores, own, lengths, met)
    met = (met + 1) * as_in_fullest(lists, memory)
    met[(slots < 0) | (homes < 0)] = np.nan
    return met


def glance_plainly(
    lists: InvertedLists, hashed: Hash, queries: Tensor, slots: Tensor, budget: int, first_row: int
) -> np.ndarray | None:
    """The same after a search in torch, for a hash that puts lists in order by scores.

    Args:
        lists, hashed: in which it was.
        queries: [B, Q, W].
        slots: what it found, int64 [B, Q, k].
        budget: of the search.
        first_row: of the last memory.
    """
    memory = lists.batch_size - 1
    mine, slots = queries[memory:, :GLANCED], slots[-1, :GLANCED, _some(slots.shape[2])]
    if hashed.list_scores(mine[:, :0], memory) is None or are_small(lists, budget)[memory]:
        return None
    needed = needed_words(lists, hashed, mine, memory, slots.clamp_min(0) + first_row)
    needed = needed * as_in_fullest(lists, memory)
    return needed.masked_fill(slots < 0, torch.nan).to("cpu", torch.float64).numpy()


def _some(neighbors: int) -> slice:
    """A few of so many, spread over all."""
    step = -(-neighbors // NEIGHBORS)
    return slice(step // 2, None, step)
