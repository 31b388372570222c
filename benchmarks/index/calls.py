"""What happens to a memory, call by call: the runbooks, and the queries that come with them."""

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from benchmarks.index.datasets import QUERIES, WordSet, regions
from benchmarks.index.truth import Truth
from index.bench.word_sources import WORDS

# A step of a model with 4 heads, K = 8 and a batch of 8, in one memory.
WRITES, ASKED = 36, 32
REGIONS = 64
# Queries are held out from the set, or near words in memory, or half of them each.
Queries = Literal["held_out", "near", "both"]
_NONE = torch.empty(0, dtype=torch.int64)


class Call(NamedTuple):
    """Words are removed, others are put, then the memory is searched."""

    removed: Tensor  # slots [n], all of which hold a word
    slots: Tensor  # [m], different ones
    words: Tensor  # [m, W]
    queries: Tensor  # [Q, W]


class Asker:
    """Draws queries for a memory that holds words of one set."""

    def __init__(
        self, words: WordSet, truth: Truth, generator: torch.Generator, which: Queries
    ) -> None:
        self._set, self._truth, self._generator, self._which = words, truth, generator, which

    def __call__(self, count: int = ASKED) -> Tensor:
        """Queries of a step, [count, W]."""
        held_out = self._held_out()
        if self._which == "held_out" or not bool(self._truth.held.any()):
            return held_out[torch.randint(len(held_out), (count,), generator=self._generator)]
        if self._which == "near":
            return self._set.near(self._truth.some(count, self._generator), self._generator)
        near = self._truth.some(count // 2, self._generator)
        chosen = torch.randint(len(held_out), (count - len(near),), generator=self._generator)
        return torch.cat([held_out[chosen], self._set.near(near, self._generator)])

    def to_judge(self) -> Tensor:
        """Queries that no step asks, up to 512."""
        if self._which == "held_out":
            return self._set.queries[len(self._set.queries) // 2 :]
        return self(QUERIES // 2)

    def _held_out(self) -> Tensor:
        return self._set.queries[: len(self._set.queries) // 2]


def churn(words: WordSet, truth: Truth, ask: Asker, generator: torch.Generator) -> Iterator[Call]:
    """Half of the slots, at random, get other words of the set; without such, each other's."""
    slots = torch.randperm(words.size, generator=generator)[: max(1, words.size // 2)]
    spare = words.words[words.size : words.size + len(slots)]
    if len(spare) < len(slots):
        spare = words.words[slots[torch.randperm(len(slots), generator=generator)]]
    yield from _replaced(slots, spare, ask)


def moved(words: WordSet, truth: Truth, ask: Asker, generator: torch.Generator) -> Iterator[Call]:
    """All slots, at random, get words of the set elsewhere; so do the queries, by and by."""
    other = words.moved()
    slots = torch.randperm(words.size, generator=generator)
    for number, call in enumerate(_replaced(slots, other.words[: len(slots)], ask)):
        share = number * WRITES / len(slots)
        at = torch.randint(len(other.queries) // 2, (ASKED,), generator=generator)
        new = other.queries[at]
        old = torch.rand(ASKED, 1, generator=generator) >= share
        yield call._replace(queries=torch.where(old, call.queries, new))


def insert(words: WordSet, truth: Truth, ask: Asker, generator: torch.Generator) -> Iterator[Call]:
    """An empty memory is filled, region after region."""
    order = regions(words.words[: words.size], REGIONS).argsort(stable=True)
    yield from _replaced(torch.arange(words.size), words.words[order], ask)


def delete(words: WordSet, truth: Truth, ask: Asker, generator: torch.Generator) -> Iterator[Call]:
    """The words of one region after another are removed, of every other region all of them."""
    where = regions(words.words[: words.size], REGIONS)
    for region in range(0, REGIONS, 2):
        for slots in (where == region).nonzero().squeeze(1).split(WRITES):
            yield Call(slots, _NONE, words.words[:0], ask())


def replace(words: WordSet, truth: Truth, ask: Asker, generator: torch.Generator) -> Iterator[Call]:
    """The words of one region after another are removed, and words of another take their slots."""
    where = regions(words.words, REGIONS)
    for region in range(0, REGIONS, 2):
        slots = (where[: words.size] == region).nonzero().squeeze(1)
        others = (where == region + 1).nonzero().squeeze(1)
        if len(slots) == 0 or len(others) == 0:
            continue
        chosen = others[torch.randint(len(others), (len(slots),), generator=generator)]
        for mine, new in zip(slots.split(WRITES), chosen.split(WRITES), strict=True):
            yield Call(mine, mine, words.words[new], ask())


def window(words: WordSet, truth: Truth, ask: Asker, generator: torch.Generator) -> Iterator[Call]:
    """The oldest words are removed, and words of the next region are put, in as many slots.

    Half of the memory is in use, and each slot by turns.
    """
    order = regions(words.words[: words.size], REGIONS).argsort(stable=True)
    slots, size = torch.arange(words.size), words.size // 2
    for start in range(0, words.size, WRITES):
        new = slots[start : start + WRITES]
        old = new - size
        yield Call(old[old >= 0], new, words.words[order[new]], ask())


def in_place(
    words: WordSet, truth: Truth, ask: Asker, generator: torch.Generator
) -> Iterator[Call]:
    """Slots are replaced at random, and half of the queries look for what was just written."""
    for call in churn(words, truth, ask, generator):
        chosen = torch.randint(len(call.slots), (ASKED // 2,), generator=generator)
        near = words.near(call.words[chosen], generator)
        yield call._replace(queries=torch.cat([call.queries[: ASKED - len(near)], near]))


def drift(words: WordSet, truth: Truth, ask: Asker, generator: torch.Generator) -> Iterator[Call]:
    """All slots are replaced three times: by region, by Gaussian words, by words in clusters.

    As a model's words do that is trained on. Queries are near words in memory.
    """
    count, width = words.size, words.words.shape[1]
    scale = float(words.words.norm(dim=1).mean())
    order = regions(words.words[:count], REGIONS).argsort(stable=True)
    kinds = [words.words[order]]
    for name in ("gaussian", "clustered"):
        source = WORDS[name](1, count, width, generator=generator)
        kinds.append(source.draw(count)[0] * scale)
    for new in kinds:
        yield from _replaced(torch.randperm(count, generator=generator), new, ask)


Runbook = Callable[[WordSet, Truth, Asker, torch.Generator], Iterator[Call]]


def _replaced(slots: Tensor, words: Tensor, ask: Asker) -> Iterator[Call]:
    for mine, new in zip(slots.split(WRITES), words.split(WRITES), strict=True):
        yield Call(_NONE, mine, new, ask())
