"""Whether an exact search is faster in compiled loops, or as a product and a top-k in torch.

Measured on the CPU: `python -m benchmarks.index.exact_neighbours`.
"""

# Compiled loops are faster up to so many words in use and so many queries of a memory; for more
# queries, only for few words. They always sum the distances of l2 faster.
_WORDS, _QUERIES = 2**14, 8
_WORDS_FOR_MANY_QUERIES = 2**9
# Rounded words they read as they are, where torch converts them first. That always pays for so many
# queries.
_QUERIES_OF_ROUNDED = 32
# Selecting many neighbours takes them longer than comparing. It pays for so many, or for one out of
# so many words.
_NEIGHBOURS, _NEIGHBOURS_L2, _WORDS_PER_NEIGHBOUR = 16, 64, 32


def compiled_pays(words: int, queries: int, k: int, *, l2: bool, rounds: bool) -> bool:
    """Whether compiled loops are the faster way to the true k best words.

    Args:
        words: in use.
        queries: of a memory, Q.
        k: how many are wanted.
        l2: whether that is the metric.
        rounds: whether words are kept rounded.
    """
    few = _NEIGHBOURS_L2 if l2 else _NEIGHBOURS
    if min(k, words) > max(few, words // _WORDS_PER_NEIGHBOUR):
        return False
    if rounds and queries <= _QUERIES_OF_ROUNDED:
        return True
    return words <= (_WORDS if queries <= _QUERIES else _WORDS_FOR_MANY_QUERIES) or l2
