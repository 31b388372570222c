"""A whole exchange over a base as one call: words written, then base and overlay searched.

It does what `index.base.layered.LayeredIndex` does in several calls, where the overlay compares
every word and the base has codes. Words of the base that a memory hides are left out while they are
compared, so there is nothing to ask for again.
"""

from typing import Any, NamedTuple

import numpy as np

from index.compiled import lean_inline, lean_jit
from index.kernels.base_codes import CodedLists, Room, best_in_coded_lists
from index.kernels.base_lists import are_asked_for
from index.kernels.exact_search import best_of_words
from index.kernels.grouped_lists import CodedCentroids, choose_lists
from index.kernels.prepare import scale_all, store
from index.kernels.slot_loops import entry, hand_out
from index.kernels.vectors import empty
from index.llvm.prefetch import prefetch

# What was found: all; or pages that the system has to be asked for first, of rows, of the lists
# that were chosen, or of slots, or numbers in the files that are wrong; or too few words.
DONE, ROWS, LISTS, SLOTS, FEW = range(5)
WRONG = 5  # a slot is out of range or the sum of all numbers not finite; nothing was changed


class Files(NamedTuple):
    """Of the files that are read: words in a row, bytes of it, where it begins, and pages."""

    words: Any  # 1, and three numbers and an array as `MappedRows.layout` has them
    codes: Any
    scales: Any
    slots: Any
    rows: Any


class Base(NamedTuple):
    """What does not change from call to call."""

    lists: CodedLists
    slot_of: Any  # of each row, int32 [n]
    row_of: Any  # of each slot, int32 [n]
    files: Files
    sizes: Any  # `ListSizes`
    centroids: CodedCentroids


class Overlay(NamedTuple):
    """What memories wrote. The first four are the tables of a `SlotMap`."""

    keys: Any
    places: Any
    slot_of: Any
    counts: Any
    covered: Any  # how many words of the base each has written over, int64 [B]
    hides_all: Any  # memories that see nothing of the base, bool [B]
    hidden: Any  # rows that each hides, in a table as `keys`, int64 [B, S]
    looked_at: Any  # places whose slots are in `hidden`, int64 [B]
    words: Any  # by place, divided by their norms, [B, 1 + room, W]
    penalty: Any  # 0 for a word that may be found, else -inf, [B, 1 + room]


class Scratch(NamedTuple):
    """Arrays that a call uses."""

    room: Room
    choice: Any  # `index.kernels.grouped_lists.Room`
    scaled: Any  # words and queries of each memory, [B, M + Q, W]
    queries: Any  # those of all memories, [B Q, W]
    last: Any  # int64 [B, M]
    chosen: Any  # lists, int64 [B Q, C]
    many: Any  # how many of them, int64 [B Q]
    own: Any  # scores and places that a memory has written, [Q, k] each
    seen: Any  # scores and rows of the base, [B Q, k] each
    held: Any  # [2 WORDS]


@lean_jit
def exchange(slots, words, queries, how, base, overlay, scratch, scores, found):
    """Puts words at slots, and finds the k nearest for queries.

    There must be room for M more slots of each memory in the tables and the words of the overlay.
    Whatever is returned, a call with the same arguments goes on where this one has stopped.

    Args:
        slots: int64 [B, M], -1 for none; words: [B, M, W]; queries: [B, Q, W].
        how: groups that are looked into together, how many words are enough, the eps inside of
            norms, whether words and queries are to be divided by theirs, and what every slot has to
            be below.
        base: `Base`; overlay: `Overlay`; scratch: `Scratch`.
        scores, found: scores and slots go here, [B, Q, k]; -inf and -1 where there are fewer.

    Returns:
        One of the numbers above.
    """
    looked, budget, eps, cosine, below = how
    given = slots, words, queries, cosine, eps, scratch.last, scratch.scaled
    finite, low, high = scale_all(*given)
    if not finite or low < -1 or high >= below:
        return WRONG
    _put(scratch.last, len(base.row_of), overlay, scratch.scaled)
    if not _hide(base, overlay):
        return ROWS
    count, each = slots.shape[1], queries.shape[1]
    for b in range(len(queries)):
        for q in range(each):
            one, given = scratch.queries[b * each + q], scratch.scaled[b, count + q]
            for w in range(len(one)):
                one[w] = given[w]
            scratch.many[b * each + q] = 0
            if not overlay.hides_all[b]:
                scratch.many[b * each + q] = choose_lists(
                    one,
                    (looked, budget),
                    base.sizes,
                    base.centroids,
                    scratch.choice,
                    scratch.chosen[b * each + q],
                )
    chosen, files, lists = (scratch.chosen, scratch.many), base.files, base.lists
    if not (
        are_asked_for(lists.starts, *chosen, *files.words)
        and are_asked_for(lists.starts, *chosen, *files.codes)
        and are_asked_for(lists.starts, *chosen, *files.scales)
    ):
        return LISTS
    seen, rows = scratch.seen
    best_in_coded_lists(
        lists, scratch.queries, *chosen, eps, scratch.room, overlay.hidden, seen, rows
    )
    _, row_bytes, begin, page, asked = files.slots
    for q in range(len(rows)):
        for j in range(rows.shape[1]):
            if rows[q, j] >= 0:
                if not asked[(rows[q, j] * row_bytes + begin) // page]:
                    return SLOTS
                prefetch(base.slot_of, rows[q, j], 0)
    state = DONE
    for b in range(len(queries)):
        used, own = overlay.counts[b], scratch.own
        mine = overlay.words[b, 1 : 1 + used], overlay.penalty[b, 1 : 1 + used]
        for q in range(each if used == 0 else 0):
            empty(own[0][q], own[1][q])
        if used > 0:
            asked = scratch.queries[b * each : (b + 1) * each]
            best_of_words(*mine, asked, False, scratch.held, *own)
        for q in range(each):
            at = b * each + q
            if not _to_slots(rows[at], base):
                return SLOTS
            both = (own[0][q], own[1][q]), (seen[at], rows[at])
            _merge(*both, overlay.slot_of[b], scores[b, q], found[b, q])
            less = scratch.many[at] >= 0 and not overlay.hides_all[b]
            if less and rows[at, rows.shape[1] - 1] < 0:
                state = FEW
    return state


@lean_inline
def _put(slots, bound, overlay, words):
    """Gives slots places where they have none, and stores their words there; -1 skipped."""
    for b in range(len(slots)):
        for m in range(slots.shape[1]):
            slot = slots[b, m]
            if slot >= 0:
                at = entry(slot, overlay.keys[b])
                if overlay.keys[b, at] < 0:
                    given = overlay.keys, overlay.places, overlay.slot_of, overlay.counts
                    hand_out(b, at, slot, *given)
                    overlay.covered[b] += slot < bound
                slots[b, m] = overlay.places[b, at]
    store(slots, words, overlay.words, overlay.penalty)


@lean_inline
def _hide(base, overlay):
    """Hides the rows of slots that have got a place since the last call.

    Returns:
        False where the system was not asked for their pages, or the file is wrong.
    """
    _, row_bytes, begin, page, asked = base.files.rows
    bound = len(base.row_of)
    for b in range(len(overlay.counts)):
        while overlay.looked_at[b] < overlay.counts[b]:
            slot = overlay.slot_of[b, overlay.looked_at[b]]
            if 0 <= slot < bound:
                if not asked[(slot * row_bytes + begin) // page]:
                    return False
                row = np.int64(base.row_of[slot])
                if row < 0 or row >= bound:
                    return False
                overlay.hidden[b, entry(row, overlay.hidden[b])] = row
            overlay.looked_at[b] += 1
    return True


@lean_inline
def _to_slots(rows, base):
    """Puts slots in the place of rows; False where slots are wrong."""
    for j in range(len(rows)):
        if rows[j] >= 0:
            slot = np.int64(base.slot_of[rows[j]])
            if slot < 0 or slot >= len(base.slot_of):
                return False
            rows[j] = slot
    return True


@lean_inline
def _merge(own, seen, slot_of, scores, slots):
    """The best of what a memory wrote, places that `slot_of` has slots for, and of a base."""
    mine, its = 0, 0
    for j in range(len(scores)):
        if own[0][mine] >= seen[0][its]:
            place = own[1][mine]
            scores[j], slots[j] = own[0][mine], slot_of[place] if place >= 0 else -1
            mine += 1
        else:
            scores[j], slots[j] = seen[0][its], seen[1][its]
            its += 1
