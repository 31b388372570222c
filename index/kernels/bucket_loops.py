"""Compiled forms of `index.buckets`: insert words into buckets, and search in buckets."""

import numpy as np

from index.buckets import ATTEMPTS, BLOCK, SCATTER
from index.compiled import inline
from index.kernels.prefetch import prefetch
from index.kernels.vectors import closeness, dot, empty, holds, insert

_AHEAD = 16  # so many words ahead of the one that is compared are prefetched


@inline
def _block(bucket, size, row, attempt):
    """The first place of the block of a bucket that a word looks into."""
    blocks = size // BLOCK
    return (bucket * blocks + ((row * SCATTER >> 16) + attempt) % blocks) * BLOCK


@inline
def _free_place(held_rows, block):
    """The first free place of a block, or -1."""
    for place in range(block, block + BLOCK):
        if held_rows[place] == 0:
            return place
    return -1


@inline
def _copy(source, target):
    for w in range(len(target)):
        target[w] = source[w]


@inline
def _claim_slot(row, block, vector, tables):
    """Inserts a word into the first free place of a block, with L = 1; returns whether it did."""
    place = _free_place(tables.held_rows, block)
    if place >= 0:
        tables.held_rows[place], tables.places[row, 0] = row, place
        _copy(vector, tables.held_words[place])
    return place >= 0


@inline
def insert_words(slots, vectors, homes, again, tables, failed):
    """Moves words to their first choice of bucket: `Buckets.put` without other choices.

    Args:
        slots: int64 [B, M], each at most once in a row; -1 is skipped.
        vectors: M words of each memory, and what comes after them, [B, M + Q, W].
        homes: buckets, int64 [B, M, L].
        again: whether words that found no place look into one more block, after all have looked.
        tables: are changed; L = 1 if `again`.
        failed: b M + i of the words that found no place in any table goes here.

    Returns:
        The number of words, and of those that failed.
    """
    held_rows, places, size, buckets = tables.held_rows, tables.places, tables.size, tables.buckets
    count, most = places.shape[1], slots.shape[1]
    nowhere, stride = len(held_rows) - size, len(places) // len(slots)
    for b in range(len(slots)):
        for i in range(most):
            prefetch(places, b * stride + 1 + slots[b, i], 0)
    for b in range(len(slots)):
        for i in range(most):
            row = b * stride + 1 + slots[b, i]
            for t in range(count if slots[b, i] >= 0 else 0):
                bucket = (b * count + t) * buckets + homes[b, i, t]
                prefetch(held_rows, _block(bucket, size, row, 0), 0)
                old, first = np.int64(places[row, t]), ((b * count + t) * buckets) * size
                away = old - first - homes[b, i, t] * size  # from the first place of the bucket
                if old != nowhere and (away < 0 or away >= size):
                    held_rows[old] = 0
                    places[row, t] = nowhere
    real, lost = 0, 0
    for b in range(len(slots)):
        for i in range(most):
            if slots[b, i] < 0:
                continue
            row, seated = b * stride + 1 + slots[b, i], False
            for t in range(count):
                place = np.int64(places[row, t])
                if place == nowhere:
                    bucket = (b * count + t) * buckets + homes[b, i, t]
                    place = _free_place(held_rows, _block(bucket, size, row, 0))
                    if place < 0:
                        continue
                    held_rows[place], places[row, t] = row, place
                seated = True
                if count == 1:
                    _copy(vectors[b, i], tables.held_words[place])
            real += 1
            if not seated:
                failed[lost] = b * most + i
                lost += 1
    if again:
        first, lost = failed[:lost], 0
        for one in first:
            b, i = one // most, one % most
            row, bucket = b * stride + 1 + slots[b, i], b * buckets + homes[b, i, 0]
            if not _claim_slot(row, _block(bucket, size, row, 1), vectors[b, i], tables):
                failed[lost] = one
                lost += 1
    return real, lost


@inline
def insert_further(slots, vectors, failed, homes, tables):
    """Moves words for which `insert_words` found no place to other buckets: `Buckets._spill`.

    In each attempt all words first choose a block and then claim places in the order given, as in
    torch, where each of the two is done for all words at once.

    Args:
        slots, vectors: as for `insert_words`.
        failed: b M + i of the words, in order; altered.
        homes: choices of bucket for each of them, best first, the one that it failed in included,
            int64 [len(failed), C]; altered.
        tables: with L = 1.

    Returns:
        The number of words without a place.
    """
    most, left, stride = slots.shape[1], len(failed), len(tables.places) // len(slots)
    blocks = np.empty(left, np.int64)
    for attempt in range(2, ATTEMPTS):
        for one in range(left):
            b, i = failed[one] // most, failed[one] % most
            row, blocks[one] = b * stride + 1 + slots[b, i], -1
            for home in homes[one]:
                block = _block(b * tables.buckets + home, tables.size, row, attempt)
                if _free_place(tables.held_rows, block) >= 0:
                    blocks[one] = block
                    break
        still = 0
        for one in range(left):
            b, i = failed[one] // most, failed[one] % most
            row = b * stride + 1 + slots[b, i]
            if blocks[one] < 0 or not _claim_slot(row, blocks[one], vectors[b, i], tables):
                failed[still] = failed[one]
                _copy(homes[one], homes[still])
                still += 1
        left = still
    return left


@inline
def _candidates(probes, first, tables, by_row, found):
    """Lists the words in the buckets [L, P] that a query looks into; returns how many."""
    size, count = tables.size, 0
    for t in range(probes.shape[0]):
        for p in range(probes.shape[1]):
            start = (first + t * tables.buckets + probes[t, p]) * size
            rows = tables.held_rows[start : start + size]
            for at in range(len(rows)):
                found[count] = rows[at] if by_row else start + at
                count += np.int64(rows[at] != 0)
    return count


@inline
def _prefetch_buckets(probes, first, tables):
    """Prefetches the rows in the buckets [Q, L, P] of a memory's queries."""
    for q in range(probes.shape[0]):
        for t in range(probes.shape[1]):
            for p in range(probes.shape[2]):
                start = (first + t * tables.buckets + probes[q, t, p]) * tables.size
                for block in range(0, tables.size, BLOCK):
                    prefetch(tables.held_rows, start + block, 0)


@inline
def _keep_best(query, source, some, later, l2, by_row, best, tags):
    """Compares a query with words, and prefetches those that come later.

    Args:
        source: [.., W]; some: where words are in it; later: as many, where others are.
        l2, by_row: as in `look`; by_row, a word may come again.
        best, tags: scores, and where their words are, best first.
    """
    empty(best, tags)
    least, line = best[-1], max(1, 64 // source.itemsize)
    for j in range(len(some)):
        ahead, at = np.int64(later[j]), np.int64(some[j])
        for w in range(0, len(query), line):
            prefetch(source, ahead, w)
        score = closeness(source[at], query) if l2 else dot(source[at], query)
        if score > least and not (by_row and holds(tags, at)):
            insert(best, tags, score, at)
            least = best[-1]


@inline
def look(vectors, probes, tables, l2, scores, slots):
    """The k best of the words in some buckets: `index.rescore.best_candidates`.

    Args:
        vectors: Q queries of each memory, and what comes before them, [B, M + Q, W].
        probes: buckets that they look into, int64 [B, Q, L, P].
        tables: where they are.
        l2: whether a score is minus the squared distance, and not an inner product.
        scores, slots: go here, best first, [B, Q, k]; -inf and -1 where there are fewer words.

    Cost: O(Q L P size + C W) for each memory, of C words that were found.
    """
    batch_size, queries, count, wide = probes.shape
    skip, by_row = vectors.shape[1] - queries, count > 1
    source = tables.words if by_row else tables.held_words
    found = np.empty(queries * count * wide * tables.size + _AHEAD, np.int32)
    ends = np.zeros(queries + 1, np.int64)
    for b in range(batch_size):
        first_row, first = b * (len(tables.words) // batch_size) + 1, b * count * tables.buckets
        _prefetch_buckets(probes[b], first, tables)
        for q in range(queries):
            new = found[ends[q] :]
            ends[q + 1] = ends[q] + _candidates(probes[b, q], first, tables, by_row, new)
        found[ends[queries] : ends[queries] + _AHEAD] = 0
        for q in range(queries):
            query, best, tags = vectors[b, skip + q], scores[b, q], slots[b, q]
            some = found[ends[q] : ends[q + 1]]
            later = found[ends[q] + _AHEAD : ends[q + 1] + _AHEAD]
            if l2:
                _keep_best(query, source, some, later, True, by_row, best, tags)
            else:
                _keep_best(query, source, some, later, False, by_row, best, tags)
            for j in range(len(best)):
                if tags[j] >= 0:
                    tags[j] = (tags[j] if by_row else tables.held_rows[tags[j]]) - first_row
