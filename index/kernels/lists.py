"""The choices of `ivf`: inverted lists, by the scores of all centroids or of those in groups."""

import numpy as np

from index.compiled import lean_inline, lean_jit
from index.kernels.lanes import fill_lanes, find_highest, pop_highest
from index.kernels.list_loops import is_small, look_at_lists
from index.kernels.list_moves import move_word
from index.kernels.vectors import dot
from index.llvm.dots import WORDS, put_dots, put_dots_of


@lean_jit
def nearest_lists(scores, room, homes):
    """Writes the list of the highest score of each word, [B, M, n], to `homes` [B, M, 1]."""
    for b in range(scores.shape[0]):
        for i in range(scores.shape[1]):
            fill_lanes(scores[b, i], room.lanes)
            homes[b, i, 0] = find_highest(scores[b, i], room.lanes)


@lean_jit
def nearest_in_groups(words, near, most, arrays, room, scores, homes):
    """`nearest_lists` among the lists of the nearest groups.

    Args:
        words: less the mean, [B, M, W].
        near: scores of the groups for them, [B, M, G]; altered.
        most: so many groups are looked into.
        arrays: `CentroidArrays`.
        room: `LaneRoom`.
        scores: room, [n].
        homes: the lists go here, [B, M, 1].
    """
    for b in range(words.shape[0]):
        for i in range(words.shape[1]):
            given = words[b, i], near[b, i], most
            homes[b, i, 0] = _nearest_member(b, *given, arrays, room, scores)


@lean_jit
def choose_lists(scores, lists, budget, room, chosen, counts):
    """The lists with the highest scores, until together they have enough words.

    Args:
        scores: of each query for each list, -inf for no list, [B, Q, n]; altered.
        lists: `ListSizes` with L = 1.
        budget: how many words are enough.
        room: `LaneRoom`.
        chosen: lists with words go here, numbered through, best first, int64 [B, Q, n].
        counts: how many they are, int64 [B, Q]; -1 for all of a small memory.
    """
    for b in range(len(scores)):
        few = is_small(b, lists, budget)
        for q in range(scores.shape[1]):
            given = scores[b, q], b * scores.shape[2], lists, budget, room
            counts[b, q] = -1 if few else _choose(*given, chosen[b, q])


@lean_jit
def put_nearest(slots, words, most, arrays, lists, room, moved, near, scores, begin):
    """Moves words to the lists of the nearest centroids, as `nearest_in_groups` and `put_words` do.

    Args:
        slots: int64 [B, M], each at most once in a row; -1 is skipped.
        words: [B, M, W].
        most: groups that are looked into.
        arrays: `CentroidArrays`; lists: `ListArrays`, changed.
        room: `LaneRoom`.
        moved, near, scores: room, [W], [G] and [n].
        begin: the words before it are in their lists, of all B M.

    Returns:
        As `put_words`.
    """
    count, many = slots.shape[1], arrays.centroids.shape[1]
    stride = len(lists.list_of) // len(slots)
    for at in range(begin, slots.size):
        b, i = at // count, at % count
        if slots[b, i] < 0:
            continue
        for w in range(len(moved)):
            moved[w] = words[b, i, w] - arrays.center[b, w]
        if len(near):
            _put_scores(moved, arrays.group_centers[b], arrays.group_half[b], False, near)
            home = _nearest_member(b, moved, near, most, arrays, room, scores)
        else:
            _put_scores(moved, arrays.centroids[b], arrays.half[b], False, scores)
            fill_lanes(scores, room.lanes)
            home = find_highest(scores, room.lanes)
        if not move_word(b, b * stride + 1 + slots[b, i], 0, b * many + home, lists):
            return at
    return slots.size


@lean_jit
def find_near(queries, by_product, l2, budget, arrays, lists, room, chosen, rooms, best):
    """The k best words of the lists with the highest scores, which together have enough words.

    Args:
        queries: [B, Q, W].
        by_product: whether lists are ordered by q.c, and not by the distance.
        l2: as `look_into`.
        budget: how many words are enough.
        arrays: `CentroidArrays`; lists: `ListArrays`.
        room: `LaneRoom`.
        chosen: room for lists, int64 [n].
        rooms: room for [W] and [n] numbers, and `Room`.
        best: scores and slots go here, best first, [B, Q, k]; see `look_into`.

    Returns:
        As `look_into`.

    Cost: O(Q (n W + words in the lists W)) for each memory.
    """
    moved, scores, held = rooms
    many, stride = arrays.centroids.shape[1], len(lists.list_of) // len(queries)
    met, short = 0, 0
    for b in range(len(queries)):
        few = is_small(b, lists, budget)
        for q in range(queries.shape[1]):
            query, count = queries[b, q], many
            if not few:
                for w in range(len(moved)):
                    moved[w] = query[w] if by_product else query[w] - arrays.center[b, w]
                _put_scores(moved, arrays.centroids[b], arrays.half[b], by_product, scores)
                count = _choose(scores, b * many, lists, budget, room, chosen)
            mine = chosen[: 0 if few else count]
            given = query, mine, b * many, count, lists, l2, False, held
            reached = look_at_lists(*given, b * stride, best[0][b, q], best[1][b, q])
            for c in range(count):
                met += lists.lengths[b * many + c if few else mine[c]]
            short += np.int64(reached < min(best[0].shape[2], lists.totals[b]))
    return met, short


@lean_inline
def _choose(scores, first, lists, budget, room, chosen):
    """Writes the lists with the highest scores, which are altered, and returns how many they are.

    Together they have enough words; `first` is the number of the first list.
    """
    met, count = 0, 0
    fill_lanes(scores, room.lanes)
    while met < budget and pop_highest(scores, room.lanes, room.place, 0) > -np.inf:
        one = first + room.place[0]
        if lists.lengths[one] > 0:
            chosen[count] = one
            count += 1
            met += lists.lengths[one]
    return count


@lean_inline
def _put_scores(vector, centroids, half, by_product, scores):
    """Writes c.v + half of all centroids [n, W]; or c.v, and -inf for what is not in use."""
    whole = len(centroids) - len(centroids) % WORDS
    for at in range(0, whole, WORDS):
        put_dots(vector, centroids, at, scores[at:])
    for j in range(whole, len(centroids)):
        scores[j] = dot(centroids[j], vector)
    for j in range(len(centroids)):
        if not by_product:
            scores[j] += half[j]
        elif half[j] == -np.inf:
            scores[j] = -np.inf


@lean_inline
def _nearest_member(b, vector, near, most, arrays, room, scores):
    """The list with the nearest centroid among those in the nearest groups, or among all.

    Args:
        b: the memory.
        vector: less the mean, [W].
        near: scores of the groups for it, [G]; altered.
        most: so many groups are looked into.
        arrays: `CentroidArrays`.
        room: `LaneRoom`.
        scores: room, [n].
    """
    centroids, half = arrays.centroids[b], arrays.half[b]
    best, home, found = scores.dtype.type(-np.inf), np.int64(0), 0
    fill_lanes(near, room.lanes)
    for _ in range(min(most, len(near))):
        pop_highest(near, room.lanes, room.place, 0)
        group = room.place[0]
        members = arrays.members[b, group, : arrays.sizes[b, group]]
        _put_member_scores(vector, members, centroids, half, scores)
        found += len(members)
        for j in range(len(members)):
            if scores[j] > best:
                best, home = scores[j], np.int64(members[j])
    if found == 0:
        _put_scores(vector, centroids, half, False, scores)
        for one in range(len(centroids)):
            if scores[one] > best:
                best, home = scores[one], np.int64(one)
    return home


@lean_inline
def _put_member_scores(vector, members, centroids, half, scores):
    """Writes c.v + half of some centroids to scores[: len(members)]."""
    count = len(members)
    whole = count - count % WORDS
    for at in range(0, whole, WORDS):
        put_dots_of(vector, centroids, at, members, scores[at:])
    if whole < count and count >= WORDS:
        put_dots_of(vector, centroids, count - WORDS, members, scores[count - WORDS :])
        whole = count
    for j in range(whole, count):
        scores[j] = dot(centroids[np.int64(members[j])], vector)
    for j in range(count):
        scores[j] += half[np.int64(members[j])]
