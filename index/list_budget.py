"""How many words a query of an index with lists has to meet, and the looks at its recall."""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from index.hashing import Hash
from index.inverted_lists import InvertedLists
from index.list_costs import EACH_CALL, EXACT_COST, LOOK_AT_CALL, cost_of_a_look, wide_cost
from index.list_search import are_small, needed_words
from index.neighbors import empty_neighbors
from index.recall_costs import FAR_QUERIES, QUERIES, LookCosts
from index.recall_looks import Look
from index.recall_tuner import GROWTH

# Up to so many neighbors a compiled search keeps the best by insertion: it takes less than the form
# in torch. Among all words, with codes, up to the second.
COMPILED_K, _CODES_K = 256, 64
_NEEDED = 0.3  # what a number computed to find what a query needed costs, in the same way
_FARTHER = 0.5  # what words met beyond the others cost, times what a search does
# With so many words left a recall is had by meeting all, whatever the number of lists.
_FEW = 128


def budget_of(
    index: Any, lists: InvertedLists, hashed: Hash, queries: Tensor, k: int
) -> tuple[int, Look | None]:
    """How many words each of the queries has to meet, list after list; and a look, if it is time.

    Args:
        index: a `HashedIndex`; lists: its tables; hashed: by which they were chosen.
        queries: checked and scaled, [B, Q, W].
        k: at most the slots in use.
    """
    least, tuner = least_words(index, lists, k), index._tuner
    if tuner is None:
        return ruled_budget(index, least), None
    tuner.resize(lists.most_words)
    met = max(least, tuner.budget(k)) if tuner.knows(k) else index._in_use
    each, asked = queries.shape[1], queries.shape[0] * queries.shape[1]
    compiled = index._kernels() is not None

    def needed(memory: int, part: Tensor, slots: Tensor) -> Tensor:
        given = part, memory, slots + index._first_row[memory]
        by_fullest = as_in_fullest(lists, memory)
        return needed_words(lists, hashed, *given, compiled=compiled) * by_fullest

    def best(memory: int, part: Tensor, k: int) -> tuple[Tensor, Tensor]:
        if not _compares_codes(index, k):
            return index.best_of(memory, part, k)
        return best_by_lists(index, lists, hashed, memory, part, k)

    def costs() -> LookCosts:
        return look_costs(index, each, k)

    cost = search_cost(index, asked * index.word_size, met)
    given = {"cost": cost, "costs": costs, "best": best, "needed": needed}
    tell = partial(telling_memories, lists, tuner.budget(k) if tuner.knows(k) else None)
    look = Look.of(index, tuner, queries, k, memories=tell, **given)
    return max(least, tuner.budget(k)), look


def telling_memories(lists: InvertedLists, budget: int | None) -> list[int]:
    """Which memories tell how many words have to be met: not those that are searched whole.

    Args:
        lists: of all memories.
        budget: of searches; without it those memories that have half as many words as the fullest.
    """
    held = lists.words_in()
    some = 2 * held >= held.max() if budget is None else ~are_small(lists, budget)
    if not bool(some.any()):
        some = held == held.max()
    return (some & (held > 0)).nonzero()[:, 0].tolist()


def as_in_fullest(lists: InvertedLists, memory: int) -> float:
    """How many times as many words have to be met in the fullest memory as in this one."""
    return (lists.most_words / max(1, int(lists.words_in()[memory]))) ** GROWTH


def settled_budget(index: Any, k: int, queries: int) -> int | None:
    """How many words a query has to meet, if no search before the next look says otherwise.

    Args:
        index: a `HashedIndex`.
        k: of the searches; queries: of each memory.

    Returns:
        None before there were enough looks, and where lists do not pay.
    """
    tuner, hashed, lists = index._tuner, index._hash, index._lists
    if lists is None or hashed is None or index._filling is not None:
        return None
    least = least_words(index, lists, k)
    if tuner is None:
        return ruled_budget(index, least)
    if not tuner.is_sure(k):
        return None
    tuner.resize(lists.most_words)
    budget = max(least, tuner.budget(k))
    return budget if not index.may_do_without or index.pays(budget, hashed, queries, k) else None


def least_words(index: Any, lists: InvertedLists, k: int) -> int:
    """How many words a query has to meet at least; all if they are few."""
    held = lists.most_words
    few = held <= _FEW and index._tuner is not None
    return (held if few else k) * lists.tables


def ruled_budget(index: Any, least: int) -> int:
    """The budget of a given number of probes; of lists that grow, some are not in use."""
    size = index.size(index._in_use)
    length = -(-index._in_use // size.lists)
    return max(least, (index.config.probes or 1) * length * size.tables)


def best_by_lists(
    index: Any, lists: InvertedLists, hashed: Hash, memory: int, queries: Tensor, k: int
) -> tuple[Tensor, Tensor]:
    """`StoredIndex.best_of` one memory by what its lists hold, in compiled form.

    With codes that reads a fourth of the bytes.
    """
    found, l2 = empty_neighbors(queries, k), index.config.metric == "l2"
    hashed.find_in_all(queries, lists.arrays_of(memory, index._flat), l2, found)
    first = memory * (1 + index._room)  # rows were counted from that of the first memory
    return found.scores, torch.where(found.slots < 0, found.slots, found.slots - first)


def search_cost(index: Any, numbers: int, met: int) -> float:
    """What a search costs, in multiplications, in the way that is the cheaper one.

    Args:
        index: a `HashedIndex` with tables.
        numbers: of all queries together.
        met: words that each of them meets.
    """
    by_lists = numbers * (index._hash.scores + min(met, index._in_use))
    if index.may_do_without:
        by_lists = min(by_lists, numbers * index._in_use // EXACT_COST)
    return EACH_CALL + by_lists


def look_costs(index: Any, queries: int, k: int) -> LookCosts:
    """What it costs to look at the recall of a search of so many queries of each memory."""
    numbers, each = index.word_size * index._in_use, min(QUERIES, queries)
    of_all = cost_of_a_look(numbers, each, codes=_compares_codes(index, k))
    of_each = LOOK_AT_CALL / FAR_QUERIES + _NEEDED * index.word_size * index._hash.scores
    tuner = index._tuner
    far = tuner.far(k)
    if not tuner.knows(k) or 2 * far >= index._in_use * index._lists.tables:
        return LookCosts(of_all, of_each)
    more = index.batch_size * queries * index.word_size * max(0, far - tuner.budget(k))
    codes = index._lists.holds_codes
    return LookCosts(of_all, of_each, _FARTHER * more * wide_cost(index.word_size, codes=codes))


def _compares_codes(index: Any, k: int) -> bool:
    """Whether k neighbors among all words can be found by the codes in lists."""
    held = index._lists is not None and index._lists.holds_codes
    return held and k <= _CODES_K and index._kernels() is not None
