"""Exact search: the compiled form of `index.scan.scan`, for few words and queries."""

from index.compiled import lean_inline, lean_jit
from index.kernels.blocks import any_above, put_scores
from index.kernels.vectors import empty, insert, replace_least, sort_heap
from index.llvm.dots import WORDS

_BLOCK = 64  # words that all queries are compared with before the next ones
# Up to so many of the best are kept sorted, more as a heap.
_SORTED_UP_TO = 32


@lean_inline
def best_of_words(words, penalty, queries, l2, held, scores, rows):
    """The k best of one memory's words for each of its queries.

    Args:
        words: as they are kept, [R, width].
        penalty: 0 for a word that may be found, else -inf, [R].
        queries: [Q, W].
        l2: whether a score is minus the squared distance, and not an inner product.
        held: room for 2 WORDS scores.
        scores, rows: go here, best first, [Q, k]; -inf and -1 where there are fewer words.

    Cost: O(Q R W), and O(log k) for each word that is among the best so far.
    """
    count, in_order = len(queries), scores.shape[1] <= _SORTED_UP_TO
    for q in range(count):
        empty(scores[q], rows[q])
    for start in range(0, len(words), _BLOCK):
        end = min(start + _BLOCK, len(words))
        for q in range(count):  # which read the block from the cache
            best, where = scores[q], rows[q]
            lowest = len(best) - 1 if in_order else 0
            least = best[lowest]
            for at in range(start, end, WORDS):
                first = put_scores(queries[q], words, at, end, l2, held)
                for i in range(min(WORDS, end - at)):
                    held[first + i] += penalty[at + i]
                if not any_above(held, first, least):
                    continue
                for i in range(WORDS):
                    if held[first + i] > least:
                        if in_order:
                            insert(best, where, held[first + i], at + i)
                        else:
                            replace_least(best, where, held[first + i], at + i)
                        least = best[lowest]
    if not in_order:
        for q in range(count):
            sort_heap(scores[q], rows[q])


@lean_jit
def best_of_all(words, penalty, used, vectors, skip, l2, held, scores, slots):
    """`best_of_words` for every memory, of the words in its first slots.

    Args:
        words: as they are kept, [B, 1 + room, width]; penalty: [B, 1 + room]. Row 0 is no slot.
        used: R, slots looked at.
        vectors: the queries of each memory, after `skip` others, [B, skip + Q, W].
        l2: whether a score is minus the squared distance, and not an inner product.
        held: room for 2 WORDS scores.
        scores, slots: go here, [B, Q, k].
    """
    for b in range(len(words)):
        mine, closed = words[b, 1 : 1 + used], penalty[b, 1 : 1 + used]
        best_of_words(mine, closed, vectors[b, skip:], l2, held, scores[b], slots[b])
