"""The choices of `ivf`: inverted lists, by the scores of all centroids or of those in groups."""

import numpy as np

from index.compiled import lean_inline, lean_jit
from index.kernels.centroid_loops import put_scores_of
from index.kernels.highest import FIRST, choose_highest
from index.kernels.lanes import fill_lanes, find_highest, pop_highest
from index.kernels.list_loops import is_small, look_at_lists
from index.kernels.list_moves import move_word
from index.kernels.vectors import dot

_AT_ONCE = 256  # centroids that all vectors of a memory are compared with before the next ones


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
def choose_lists(scores, lists, budget, room, order, chosen, counts):
    """The lists with the highest scores, until together they have enough words.

    Args:
        scores: of each query for each list, -inf for no list, [B, Q, n].
        lists: `ListSizes` with L = 1.
        budget: how many words are enough.
        room: `LaneRoom`; order: room, int64 [n].
        chosen: lists with words go here, numbered through, best first, int64 [B, Q, C].
        counts: how many they are, int64 [B, Q]; -1 for all of a small memory.
    """
    for b in range(len(scores)):
        few, count = is_small(b, lists, budget), FIRST
        for q in range(scores.shape[1]):
            given = scores[b, q], b * scores.shape[2], lists, budget, count, room
            count = -1 if few else _choose(*given, order, chosen[b, q])
            counts[b, q] = count


@lean_jit
def put_nearest(slots, words, most, arrays, lists, room, moved, near, scores, begin):
    """Moves words to the lists of the nearest centroids, as `nearest_in_groups` and `put_words` do.

    Args:
        slots: int64 [B, M], each at most once in a row; -1 is skipped.
        words: [B, M, W].
        most: groups that are looked into.
        arrays: `CentroidArrays`; lists: `ListArrays`, changed.
        room: `LaneRoom`.
        moved, near, scores: room, [1, W], [1, G] and [1, n].
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
        for w in range(moved.shape[1]):
            moved[0, w] = words[b, i, w] - arrays.center[b, w]
        if near.shape[1]:
            _put_scores(moved, arrays.group_columns[b], arrays.group_half[b], False, near)
            home = _nearest_member(b, moved[0], near[0], most, arrays, room, scores[0])
        else:
            _put_scores(moved, arrays.columns[b], arrays.half[b], False, scores)
            fill_lanes(scores[0], room.lanes)
            home = find_highest(scores[0], room.lanes)
        if not move_word(b, b * stride + 1 + slots[b, i], 0, b * many + home, lists):
            return at
    return slots.size


@lean_jit
def find_near(queries, by_product, l2, budget, arrays, lists, room, order, rooms, best):
    """The k best words of the lists with the highest scores, which together have enough words.

    Args:
        queries: [B, Q, W].
        by_product: whether lists are ordered by q.c, and not by the distance.
        l2: as `look_into`.
        budget: how many words are enough.
        arrays: `CentroidArrays`; lists: `ListArrays`.
        room: `LaneRoom`.
        order: room for lists, int64 [2, n].
        rooms: room for [Q, W] and [Q, n] numbers, and `Room`.
        best: scores and slots go here, best first, [B, Q, k]; see `look_into`.

    Returns:
        As `look_into`.

    Cost: O(Q (n W + words in the lists W)) for each memory.
    """
    moved, scores, held = rooms
    many, stride = arrays.centroids.shape[1], len(lists.list_of) // len(queries)
    met, short, chosen, like_last = 0, 0, order[1], FIRST
    for b in range(len(queries)):
        few = is_small(b, lists, budget)
        if not few:
            for q in range(queries.shape[1]):
                for w in range(moved.shape[1]):
                    moved[q, w] = queries[b, q, w]
                    if not by_product:
                        moved[q, w] -= arrays.center[b, w]
            _put_scores(moved, arrays.columns[b], arrays.half[b], by_product, scores)
        for q in range(queries.shape[1]):
            query, count = queries[b, q], many
            if not few:
                given = scores[q], b * many, lists, budget, like_last, room
                count = like_last = _choose(*given, order[0], chosen)
            mine = chosen[: 0 if few else count]
            given = query, mine, b * many, count, lists, l2, False, held
            reached = look_at_lists(*given, b * stride, best[0][b, q], best[1][b, q])
            for c in range(count):
                met += lists.lengths[b * many + c if few else mine[c]]
            short += np.int64(reached < min(best[0].shape[2], lists.totals[b]))
    return met, short


@lean_inline
def _choose(scores, first, lists, budget, guess, room, order, chosen):
    """Writes the lists with the highest scores, and returns how many they are.

    Together they have enough words; `first` is the number of the first list, `guess` how many are
    thought to be needed.
    """
    lengths = lists.lengths[first : first + len(scores)]
    count = choose_highest(scores, lengths, budget, guess, room, order, chosen)
    for c in range(count):
        chosen[c] += first
    return count


@lean_inline
def _put_scores(vectors, columns, half, by_product, scores):
    """Writes c.v + half of all centroids for each vector; or c.v, and -inf for what is not in use.

    Args:
        vectors: [m, W]; columns: of the centroids, [W, n]; half: [n].
        by_product: which of the two.
        scores: [m, n].
    """
    width, many = columns.shape
    for begin in range(0, many, _AT_ONCE):
        end = min(begin + _AT_ONCE, many)
        for i in range(len(vectors)):
            vector, mine = vectors[i], scores[i, begin:end]
            for j in range(len(mine)):
                mine[j] = 0 if by_product else half[begin + j]
            for w in range(0, width - 3, 4):
                a, b, c, d = vector[w], vector[w + 1], vector[w + 2], vector[w + 3]
                p, q = columns[w, begin:end], columns[w + 1, begin:end]
                r, s = columns[w + 2, begin:end], columns[w + 3, begin:end]
                for j in range(len(mine)):
                    mine[j] += a * p[j] + b * q[j] + c * r[j] + d * s[j]
            for w in range(width - width % 4, width):
                a, p = vector[w], columns[w, begin:end]
                for j in range(len(mine)):
                    mine[j] += a * p[j]
            if by_product:
                for j in range(len(mine)):
                    mine[j] = -np.inf if half[begin + j] == -np.inf else mine[j]


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
        put_scores_of(vector, members, centroids, half, scores)
        found += len(members)
        for j in range(len(members)):
            if scores[j] > best:
                best, home = scores[j], np.int64(members[j])
    if found == 0:
        for one in range(len(centroids)):
            score = dot(centroids[one], vector) + half[one]
            if score > best:
                best, home = score, np.int64(one)
    return home
