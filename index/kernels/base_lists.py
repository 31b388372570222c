"""Compiled search in the lists of a base: `index.base.list_search.best_in_lists`."""

import numpy as np

from index.compiled import lean_inline, lean_jit
from index.kernels.blocks import any_above, close_block, prefetch_block, put_scores
from index.kernels.kept import scale_of
from index.kernels.kept_words import HIGH, LOW, cosine, put_word_of, row_count
from index.kernels.vectors import empty, insert, replace_least, sort_heap
from index.llvm.dots import WORDS, put_lengths

_SORTED_UP_TO = 32  # of more neighbors the best are kept as a heap
ROUNDED = 0.999  # of a square, which is a sum in another order


@lean_inline
def _put_cosines(words, at, end, query, eps, held):
    """As `blocks.put_scores`: w . q / sqrt(w . w + eps), by one look at each word."""
    begin = min(at, len(words) - WORDS)
    if begin < 0:
        for i in range(end - at):
            held[0, i] = cosine(words[at + i], query, eps)
        begin = at
    else:
        products, squares, usual = held[0], held[1], 0
        put_lengths(query, words, begin, products, squares)
        for i in range(WORDS):
            scale = scale_of(words[begin + i], query)
            squares[i] = scale * scale * squares[i] + query.dtype.type(eps)
            products[i] *= scale
            usual += squares[i] > LOW and squares[i] < HIGH
        if usual == WORDS:
            for i in range(WORDS):
                products[i] /= np.sqrt(squares[i])
        else:
            for i in range(WORDS):
                products[i] = cosine(words[begin + i], query, eps)
    return close_block(held[0], begin, at, end)


@lean_inline
def _look(words, start, end, ahead, query, kind, eps, shortest, held, best, rows, in_order):
    """Puts the rows of one list that are better than the last of the best among them.

    Meanwhile the words from row `ahead` on are prefetched. No word is shorter than `shortest`: so
    the products of a query tell of most words that their cosine is too low.
    """
    lowest = len(best) - 1 if in_order else 0
    least = best[lowest]
    for at in range(start, end, WORDS):
        prefetch_block(words, ahead + at - start)
        if kind == 0:
            if least > 0 and shortest > 0:
                first = put_scores(query, words, at, end, False, held[0])
                if not any_above(held[0], first, least * shortest):
                    continue
            first = _put_cosines(words, at, end, query, eps, held)
        else:
            first = put_scores(query, words, at, end, kind == 2, held[0])
        if not any_above(held[0], first, least):
            continue
        for i in range(WORDS):
            score = held[0, first + i]
            if score > least:
                if in_order:
                    insert(best, rows, score, at + i)
                else:
                    replace_least(best, rows, score, at + i)
                least = best[lowest]


@lean_jit
def are_asked_for(starts, chosen, counts, words, row_bytes, begin, page, asked):
    """Whether the system was asked for all pages of some lists; see `MappedRows.will_need`.

    Args:
        starts, chosen, counts: as of `best_in_lists`, whole without -1.
        words: in a row of the file.
        row_bytes: of a row; begin: where the first row begins in the file; page: bytes of one.
        asked: bool, for each page of the file.
    """
    for q in range(len(counts)):
        for c in range(counts[q]):
            low, high = starts[chosen[q, c]], starts[chosen[q, c] + 1]
            first = (low // words * row_bytes + begin) // page
            end = ((high + words - 1) // words * row_bytes + begin - 1) // page + 1
            for at in range(first, end):
                if not asked[at]:
                    return False
    return True


@lean_jit
def best_in_lists(words, starts, squares, queries, chosen, counts, kind, eps, held, scores, rows):
    """The k best rows of some lists for each query.

    Args:
        words: as they are kept, [n, width], list by list.
        starts: the first row of each list, and n at the end, int64 [L + 1].
        squares: of the cosine, the least w . w in each list, or 0, float32 [L].
        queries: [Q, W], divided by their norms for the cosine.
        chosen: lists, int64 [Q, C]; counts: how many of the C, int64 [Q], -1 for all lists.
        kind: 0 for cosine, 1 for dot, 2 for l2.
        eps: added inside the norms of words.
        held: room for scores, [2, 2 WORDS].
        scores, rows: go here, best first, [Q, k]; -inf and -1 where there are fewer.

    Cost: O(words in the lists W), and for each of the best so far O(k) or O(log k).
    """
    in_order = scores.shape[1] <= _SORTED_UP_TO
    for q in range(len(queries)):
        query, best, found = queries[q], scores[q], rows[q]
        empty(best, found)
        whole = counts[q] < 0
        count = 1 if whole else counts[q]
        for c in range(count):
            one = 0 if whole else chosen[q, c]
            begin, end = starts[one], starts[len(starts) - 1 if whole else one + 1]
            ahead = begin if whole else starts[chosen[q, min(c + 1, count - 1)]]
            given = words, begin, end, ahead, query
            square = 0.0 if whole else ROUNDED * np.float64(squares[one])
            shortest = query.dtype.type(np.sqrt(square + eps if square > LOW else 0.0))
            _look(*given, kind, eps, shortest, held, best, found, in_order)
        if not in_order:
            sort_heap(best, found)


@lean_jit
def put_slots(rows, slot_of, count, row_bytes, begin, page, asked, slots):
    """Writes the slots of rows, -1 for -1, from a file all of whose pages needed were asked for.

    Args:
        rows: int64 [Q, k]; slots: as many.
        slot_of: the slot of each row, int32 [n].
        count: of slots that there are.
        row_bytes, begin, page, asked: as of `are_asked_for`, of the file of `slot_of`.

    Returns:
        Whether all pages were, and slots are 0 .. count - 1.
    """
    inside = True
    for q in range(len(rows)):
        for j in range(rows.shape[1]):
            slots[q, j] = -1
            if rows[q, j] >= 0:
                slots[q, j] = slot_of[rows[q, j]]
                inside &= asked[(rows[q, j] * row_bytes + begin) // page]
                inside &= slots[q, j] >= 0 and slots[q, j] < count
    return inside


@lean_inline
def put_word(slot, words, layout, order, copy):
    """Copies the word of a slot; arguments as of `put_words`, and so the result."""
    row_bytes, begin, page, asked = layout
    row = slot
    if row < 0 or row >= row_count(words):
        return False
    if order is not None:
        places, (bytes_of_place, first, size, known) = order
        if not known[(row * bytes_of_place + first) // size]:
            return False
        row = np.int64(places[row])
        if row < 0 or row >= row_count(words):
            return False
    low, high = row * row_bytes + begin, (row + 1) * row_bytes + begin - 1
    for one in range(low // page, high // page + 1):
        if not asked[one]:
            return False
    put_word_of(words, row, copy)
    return True


@lean_jit
def put_words(slots, words, layout, order, at, into):
    """Copies words to rows of a table, if the system was asked for all pages that they lie on.

    Args:
        slots: int64 [m].
        words: `KeptWords`, n of them.
        layout: of their file, as the last arguments of `are_asked_for`.
        order: the row of each slot, int32 [n], and the layout of its file; None if it is the slot.
        at: rows of the table, int64 [m].
        into: [R, W].

    Returns:
        Whether all pages were, and all slots and rows are in range.
    """
    for i in range(len(slots)):
        if at[i] < 0 or at[i] >= len(into):
            return False
        if not put_word(slots[i], words, layout, order, into[at[i]]):
            return False
    return True
