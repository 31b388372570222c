"""The input of a comparison of indexes: sizes, words, updates and queries, the same for all."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from index.bench.word_sources import QUERY_NOISE, WORDS, copies
from index.checks import MOST, MOST_SLOTS, check_at_least
from index.errors import unknown_name

# Slots that a SAM with 4 heads and K = 8 writes to at a step: for each head the words it reads, and
# a fresh one.
WRITES = 36
# Words that queries are made from; they are kept up to date.
_WATCHED = 1024
# Numbers of different updates, words and queries, which are cycled through. They have no common
# divisor, so that combinations do not repeat soon.
_SLOT_WINDOWS, _WORD_WINDOWS, _QUERY_WINDOWS = 60, 61, 59


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """Sizes of a measurement; the defaults are one step of SAM with 4 heads and K = 8.

    Attributes:
        memory_size: N, all slots of which hold a word.
        word_size: W.
        batch_size: B.
        queries: Q, searched at a step in each memory.
        top_k: K, found for each query.
        writes: slots replaced at a step in each memory.
        words: kind of words, a key of `index.bench.word_sources.WORDS`.
        seed: of all words, slots and queries.

    Raises:
        ValueError: a size is below 1, or more slots are replaced than there are.
        UnknownNameError: there are no words of that kind.
    """

    memory_size: int
    word_size: int = 32
    batch_size: int = 8
    queries: int = 4
    top_k: int = 8
    writes: int = WRITES
    words: str = "clustered"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("memory_size", "word_size", "batch_size", "queries", "top_k", "writes"):
            most = MOST_SLOTS if name in ("memory_size", "writes") else MOST
            check_at_least(name, getattr(self, name), most=most)
        if self.writes > self.memory_size:
            raise ValueError(
                f"writes: expected at most memory_size={self.memory_size}, got {self.writes}"
            )
        if self.words not in WORDS:
            raise unknown_name("words", self.words, WORDS)


class Steps:
    """Prepared updates and queries of time steps: lists of [B, M], [B, M, W] and [B, Q, W]."""

    def __init__(self, slots: list[Tensor], words: list[Tensor], queries: list[Tensor]) -> None:
        self._slots, self._words, self._queries = slots, words, queries

    def at(self, number: int) -> tuple[Tensor, Tensor, Tensor]:
        """Slots, words and queries of step `number`."""
        return (
            self._slots[number % len(self._slots)],
            self._words[number % len(self._words)],
            self._queries[number % len(self._queries)],
        )


class Traffic:
    """Words, updates and queries for memories that are full.

    Slots are replaced in a random order that comes round after N of them, so that none comes twice
    in a call, and memory b is N / B places ahead of memory b - 1.

    Args:
        setting: sizes, kind of words and seed.
    """

    def __init__(self, setting: Setting) -> None:
        size, batch = setting.memory_size, setting.batch_size
        self.setting = setting
        self._generator = torch.Generator().manual_seed(setting.seed)
        self._source = WORDS[setting.words](
            batch, size, setting.word_size, generator=self._generator
        )
        self._order = torch.randperm(size, generator=self._generator)
        self._ahead = torch.arange(batch).mul(size // batch).unsqueeze(1)
        self._next = 0
        watched = torch.randperm(size, generator=self._generator)[:_WATCHED]
        self._place = torch.full((size,), -1)  # of a watched slot among the watched
        self._place[watched] = torch.arange(len(watched))
        self._watched = watched
        self._known = torch.empty(0)

    def fill(self) -> Tensor:
        """The words that the memories begin with, [B, N, W]."""
        words = self._source.draw(self.setting.memory_size)
        self._known = words[:, self._watched]
        return words

    def renew(self) -> None:
        """From now on words come from another distribution of their kind: new clusters."""
        self._source.renew()

    def updates(self, count: int, *, per_call: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields new words for the next `count` slots of each memory, `per_call` at a time.

        As slots [B, M], none twice in a row, and words [B, M, W].
        """
        while count > 0:
            length = min(count, per_call, self.setting.memory_size)
            yield self._replaced(self._window(self._next, length), self._source.draw(length))
            self._next += length
            count -= length

    def rewrites(self, calls: int, *, hot: int, noise: float) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields `calls` updates of the same `hot` slots, with noisy copies of their first words.

        As slots [B, M], none twice in a row, and words [B, M, W]. The slots are among those that
        queries are made from; `noise` is the norm of what is added.
        """
        hot = min(hot, len(self._watched))
        base = self._known[:, :hot].clone()
        batch, length = self.setting.batch_size, min(self.setting.writes, hot)
        for _ in range(calls):
            which = torch.randperm(hot, generator=self._generator)[:length]
            words = copies(base[:, which], noise, generator=self._generator)
            yield self._replaced(self._watched[which].expand(batch, -1).contiguous(), words)

    def queries(self, count: int) -> Tensor:
        """Noisy copies of words in memory, [B, count, W]."""
        which = torch.randint(len(self._watched), (count,), generator=self._generator)
        return copies(self._known[:, which], QUERY_NOISE, generator=self._generator)

    def steps(self) -> Steps:
        """Time steps to be timed; each index may take another number of them.

        Their slots are the next ones of `updates`: after 60 `writes` of those all indexes hold the
        same words again.
        """
        setting = self.setting
        windows = min(_SLOT_WINDOWS, setting.memory_size // setting.writes)
        starts = range(self._next, self._next + windows * setting.writes, setting.writes)
        return Steps(
            [self._window(start, setting.writes) for start in starts],
            [self._source.draw(setting.writes) for _ in range(_WORD_WINDOWS)],
            [self.queries(setting.queries) for _ in range(_QUERY_WINDOWS)],
        )

    def _window(self, start: int, length: int) -> Tensor:
        places = torch.arange(start, start + length) + self._ahead
        return self._order[places % self.setting.memory_size]

    def _replaced(self, slots: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
        """Records the new words of watched slots."""
        places = self._place[slots]
        rows, columns = (places >= 0).nonzero(as_tuple=True)
        self._known[rows, places[rows, columns]] = words[rows, columns]
        return slots, words
