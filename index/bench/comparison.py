"""Measures indexes side by side: seconds to build, update and search, recall, bytes.

    comparison = Comparison(Setting(memory_size=2**16), {"lsh": maker("lsh", setting)})
    comparison.load(); comparison.judge(); comparison.time(turns)

All indexes get the same calls in the same order, so that they hold the same words, and one exact
search is the reference for all. The timer is an argument.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from index.bench.traffic import Setting, Steps, Traffic
from index.bench.turns import Lap, Measured, Times
from index.config import IndexConfig
from index.neighbors import IndexStats, Neighbors
from index.recall_measure import recall_at_k
from index.registry import make_index

EXACT = "exact"
# Times things in turns; returns seconds by thing, phase and round.
TakeTurns = Callable[[Mapping[str, Measured]], Times]
# A turn takes about so long, with at least one step and at most so many: long enough for the clock,
# short enough that the load of the machine is the same for all indexes.
_TURN_SECONDS, _MOST_STEPS = 0.05, 20
# Queries of a memory searched at once when recall is judged; more would take more bytes at a time.
_AT_ONCE = 16


class Measurable(Protocol):
    """The part of `VectorIndex` that is measured."""

    def load(self, words: Tensor) -> None: ...
    def update(self, slots: Tensor, words: Tensor) -> None: ...
    def search(self, queries: Tensor, k: int) -> Neighbors: ...
    def stats(self) -> IndexStats: ...


Maker = Callable[[], Measurable]


class Judged(NamedTuple):
    """How well an index finds, over a sample of queries."""

    recall_1: float
    recall_k: float
    candidates: float  # words compared per query
    searching: str  # what answers a search: "exact", or the kind


def maker(config: str | IndexConfig, setting: Setting) -> Maker:
    """Makes the index of a configuration in the sizes of a setting, when called.

    Raises:
        ValueError: the metric is not the cosine, by which all are compared.
    """
    if isinstance(config, IndexConfig) and config.metric != "cosine":
        raise ValueError(f"metric: expected 'cosine' in a comparison, got {config.metric!r}")
    return lambda: make_index(
        config,
        batch_size=setting.batch_size,
        capacity=setting.memory_size,
        word_size=setting.word_size,
    )


class Comparison:
    """Indexes that hold the same words; the exact one is always among them.

    Args:
        setting: sizes, kind of words, seed.
        makers: by name. Without one called "exact" the exact index comes first.
    """

    def __init__(self, setting: Setting, makers: Mapping[str, Maker]) -> None:
        self.setting = setting
        self.traffic = Traffic(setting)
        self.indexes: dict[str, Measurable] = {}
        if EXACT not in makers:
            makers = {EXACT: maker(EXACT, setting), **makers}
        self._makers = makers

    def load(self) -> dict[str, float]:
        """Fills all memories; seconds that each index took, its making included."""
        words, seconds = self.traffic.fill(), {}
        for name, make in self._makers.items():
            start = time.perf_counter()
            index = make()
            index.load(words)
            seconds[name] = time.perf_counter() - start
            self.indexes[name] = index
        return seconds

    def judge(self, count: int = 256) -> dict[str, Judged]:
        """Recall at 1 and at K against exact search.

        Args:
            count: queries for each memory.
        """
        queries, k = self.traffic.queries(count), self.setting.top_k
        truth = search_all(self.indexes[EXACT], queries, k)
        judged = {}
        for name, index in self.indexes.items():
            found, stats = search_all(index, queries, k), index.stats()
            first, all_k = (float(recall_at_k(found, truth, n).mean()) for n in (1, k))
            judged[name] = Judged(first, all_k, stats.candidates, stats.searching)
        return judged

    def time(self, take_turns: TakeTurns) -> Times:
        """Seconds per step of every index.

        Afterwards the indexes differ in the slots of these steps until `rewrite` has replaced them.

        Args:
            take_turns: runs them in turns, with phases "update" and "search".

        Returns:
            By name and phase, a number for each round; the phases and whatever `take_turns` adds.
        """
        steps = self.traffic.steps()
        turns = {name: _Turn(i, steps, self.setting.top_k) for name, i in self.indexes.items()}
        times = take_turns(turns)
        return {
            name: {
                phase: [seconds / turns[name].length for seconds in rounds]
                for phase, rounds in phases.items()
            }
            for name, phases in times.items()
        }

    def rewrite(self, updates: Iterable[tuple[Tensor, Tensor]]) -> dict[str, float]:
        """Gives every index the same updates; seconds that each took, relearning included."""
        seconds = dict.fromkeys(self.indexes, 0.0)
        for slots, words in updates:
            for name, index in self.indexes.items():
                start = time.perf_counter()
                index.update(slots, words)
                seconds[name] += time.perf_counter() - start
        return seconds

    def bytes_held(self) -> dict[str, int]:
        """Bytes of every index, its copy of the words included."""
        return {name: index.stats().nbytes for name, index in self.indexes.items()}


class _Turn:
    """Some time steps of one index: updates and searches as a model makes them."""

    def __init__(self, index: Measurable, steps: Steps, top_k: int) -> None:
        self._index, self._steps, self._top_k, self._number = index, steps, top_k, 0
        self.length = 1
        start = time.perf_counter()
        for _ in range(2):  # the first may allocate, or compile
            start = time.perf_counter()
            self(lambda phase: None)
        fitting = _TURN_SECONDS / max(time.perf_counter() - start, 1e-9)
        self.length = int(min(max(fitting, 1), _MOST_STEPS))

    def __call__(self, lap: Lap) -> None:
        for _ in range(self.length):
            slots, words, queries = self._steps.at(self._number)
            self._number += 1
            self._index.update(slots, words)
            lap("update")
            self._index.search(queries, self._top_k)
            lap("search")


def search_all(index: Measurable, queries: Tensor, k: int, *, at_once: int = _AT_ONCE) -> Neighbors:
    """Searches for many queries [B, Q, W], a few of each memory at a time."""
    found = [index.search(some, k) for some in queries.split(at_once, 1)]
    return Neighbors(*(torch.cat(parts, 1) for parts in zip(*found, strict=True)))
