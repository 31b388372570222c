"""What memories wrote and what they see of a base: the compiled form of `index.base.merge`."""

import numpy as np

from index.compiled import jit, lean_jit
from index.kernels.slot_loops import entry


@jit
def merge(own_scores, own_places, scores_seen, slots_seen, more, memories, layers, scores, slots):
    """The k best of both for each query, best first.

    Args:
        own_scores, own_places: what the overlay found, best first, -1 beyond the last, [m, K].
        scores_seen, slots_seen: what the base found, likewise, [m, A].
        more: whether the base has more words than it was asked for.
        memories: of each query, int64 [m].
        layers: the slots in the table of each memory, int64 [B, S]; the slot of each place, int64
            [B, P]; and which memories see nothing of the base, bool [B].
        scores, slots: go here, [m, k]; -inf and -1 where there are fewer.

    Returns:
        Which queries may find better ones in the base, bool [m].
    """
    keys, slot_of, hides_all = layers
    short = np.zeros(len(scores), np.bool_)
    for i in range(len(scores)):
        b, own, seen, width = memories[i], 0, 0, slots_seen.shape[1]
        if hides_all[b]:
            seen = width
        for j in range(scores.shape[1]):
            while seen < width and slots_seen[i, seen] >= 0:
                slot = slots_seen[i, seen]
                if keys[b, entry(slot, keys[b])] != slot:
                    break
                seen += 1
            has_seen = seen < width and slots_seen[i, seen] >= 0
            has_own = own < own_places.shape[1] and own_places[i, own] >= 0
            if has_own and not (has_seen and scores_seen[i, seen] > own_scores[i, own]):
                scores[i, j], slots[i, j] = own_scores[i, own], slot_of[b, own_places[i, own]]
                own += 1
            elif has_seen:
                scores[i, j], slots[i, j] = scores_seen[i, seen], slots_seen[i, seen]
                seen += 1
            else:
                scores[i, j], slots[i, j] = -np.inf, -1
        if more and not hides_all[b] and slots_seen[i, width - 1] >= 0:
            short[i] = scores[i, -1] < scores_seen[i, width - 1]
    return short


@lean_jit
def most_hidden(covered, hides_all):
    """The most words of the base that a memory hides which sees some; -1 where none sees any.

    Args:
        covered: how many each has written over, int64 [B].
        hides_all: memories that see nothing of the base, bool [B].
    """
    most = -1
    for b in range(len(covered)):
        if not hides_all[b]:
            most = max(most, covered[b])
    return most
