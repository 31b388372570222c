"""Whether lists are faster than comparing every word, and how long to do without them if not."""

from collections.abc import Callable

from index.table_parts import Parts

# What it costs to compare a query with a word in a list, times what it costs with one of all words
# in one product of many queries, under l2 a slower one; in torch; and an update and a search beside
# that, in multiplications of such a product. The product reads each word once for all queries of a
# memory: with so many queries half of its time is reading. Measured on the CPU:
# `python -m benchmarks.index.costs`.
_LIST_COST, _LIST_COST_IN_TORCH, _CALL_COST = {False: 4.0, True: 3.0}, 12.0, 4e6
_HALF_READING = 8
# A product reads all words once for all queries, where each query reads its lists: wide words do
# not stay in caches until the next query comes. So many numbers double what a word costs, of codes
# and of others. Measured with 200 to 784 numbers and 20,000 words, on a machine whose memory others
# used too.
_WIDE_CODES, _WIDE = 512, 256
# What a number computed to find lists costs beside that: with it come the order of the lists, and
# for updates the lists of new words and their upkeep. Measured with 36 updates and 32 queries a
# call, 20,000 and 60,000 words.
_SCORE_COST = {False: 6.0, True: 4.0}
# Words written for each query, beside those of that measurement: what a number computed to find the
# list of one costs, upkeep included. Estimated with 220 updates and 32 queries a call, on a machine
# with other work.
_WRITTEN, _WRITE_COST, _WORD_SCORES = 36 / 32, 2.0, 512
# Numbers in use, words times their size, from which lists pay. Under l2 comparing every word takes
# longer. On a GPU it was never measured.
_FROM, _LEAST_WORDS, _WORDS_ON_A_GPU = {False: 2**18, True: 2**17}, 2**9, 2**18
# A look at recall reads all words once for a few queries: what a multiplication costs there, times
# what it costs in searches and updates; with codes; and what each memory takes beside that.
_LOOK_COST, _LOOK_COST_OF_CODES, _LOOK_AT_MEMORY = 0.45, 0.3, 1.8e6
EACH_CALL = 6e5  # what a search takes beside its multiplications
LOOK_AT_CALL = 8e5  # and what it takes to look at one that does not compare all words
EXACT_COST = 4  # so many multiplications of an exact search take as long as one in lists
LOOKED_UP = 2.0  # what a word costs that is looked up, times what a dense copy does
_NEW = 0.1  # how much a call counts in what is known of words written for each query
# Tables that do not pay are tried again after so many times as many writes as there are words.
_FIRST_REST, _LONGEST_REST = 2, 64
# Those that do not pay are kept until such a share of all words was written.
_PATIENCE = 1 / 16


def lists_pay(
    budget: int,
    scores: int,
    numbers: int,
    words: int,
    *,
    queries: int,
    cost: float,
    l2: bool,
    compiled: bool,
    written: float = 0.0,
) -> bool:
    """Whether lists are the faster way to the words that a query has to meet.

    Args:
        budget: how many these are.
        scores: numbers computed for a query to find the lists.
        numbers: of all queries of the call together.
        words: in use.
        queries: of a memory.
        cost: of a word in a list, 1 for dense copies.
        l2: whether that is the metric.
        compiled: whether compiled forms are used.
        written: words for each query.
    """
    update = _WRITE_COST * min(scores, _WORD_SCORES) * max(0.0, written - _WRITTEN)
    each, score = _LIST_COST_IN_TORCH, 1.0
    if compiled:
        each, score = _LIST_COST[l2] * queries / (queries + _HALF_READING), _SCORE_COST[l2]
    return each * cost * budget + score * scores + update + _CALL_COST / max(1, numbers) < words


def wide_cost(word_size: int, *, codes: bool) -> float:
    """What a word of so many numbers costs in a list, times what a narrow one does."""
    return 1 + word_size / (_WIDE_CODES if codes else _WIDE)


def cost_of_a_look(numbers: int, queries: int, *, codes: bool) -> float:
    """What it costs to look at the recall of one query, in multiplications of searches.

    Args:
        numbers: words in use times their size.
        queries: of a memory that are looked at together.
        codes: whether words are compared by codes.
    """
    each = _LOOK_COST_OF_CODES if codes else _LOOK_COST
    return each * numbers + _LOOK_AT_MEMORY / max(1, queries)


def lists_from(word_size: int, *, l2: bool, compiled: bool, on_cpu: bool) -> int:
    """From how many words in use on lists may be faster than comparing every word."""
    if not on_cpu:
        return _WORDS_ON_A_GPU
    return max(_LEAST_WORDS, (1 if compiled else 2) * _FROM[l2] // word_size)


class Load(Parts):
    """How many words are written for each query, of the calls before."""

    def __init__(self) -> None:
        self.written, self._since = 0.0, 0

    def write(self, words: int) -> None:
        """Counts words written or removed, of all memories together."""
        self._since += words

    def search(self, queries: int, calls: int = 1) -> None:
        """Counts calls with so many queries each, of all memories together.

        Many words that were written at once tell little of the calls to come.
        """
        each, self._since = self._since / max(1, queries * calls), 0
        each = min(each, 2 * self.written + 1)
        self.written += (1 - (1 - _NEW) ** calls) * (each - self.written)


class Rest(Parts):
    """A time without tables, which begins when they do not pay.

    They are tried again once some times as many words were written as there are, each time after
    twice as many, or once there are twice as many words.
    """

    def __init__(self) -> None:
        self._times, self._left, self._words = 0, 0, 0
        self._since = 0  # words written since lists paid, or since the last time began

    def is_due(self, words: int) -> bool:
        """Whether lists that do not pay now have not paid for long, with so many words in use."""
        return self._since >= _PATIENCE * words

    def begin(self, words: int) -> None:
        """Begins one, with so many words in use."""
        self._times = min(2 * self._times + _FIRST_REST, _LONGEST_REST)
        self._left, self._words, self._since = self._times * words, words, 0

    def written(self, words: int) -> None:
        """Counts words of each memory written or removed."""
        self._left, self._since = max(0, self._left - words), self._since + words

    def lasts(self, words: int, written: int = 0) -> bool:
        """Whether it is not over, with so many words in use, and once so many are written."""
        return self._left > written and words < 2 * self._words

    def exchanges(self, words: int, below: Callable[[int], int], written: int) -> int:
        """How many exchanges it lasts for certain.

        Args:
            words: in use before the first of them.
            below: with how many of them fewer words than given stay in use for certain.
            written: words of each memory that each of them writes.
        """
        if not self.lasts(words):
            return 0
        return min((self._left - 1) // max(1, written), below(2 * self._words))
