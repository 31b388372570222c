"""The sets of words that `benchmarks.index.defaults` and `.streaming` judge indexes by."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.index import drawn_words
from benchmarks.index.word_files import glove_words, mnist_words, omniglot_words
from index.errors import unknown_name
from index.metric import Metric

# Queries of a set that are kept: half of them for the steps, half to judge by.
QUERIES = 1024
# A set has half as many words again as a memory holds, where there are so many: churn takes them.
_SPARE = 1.5
# Norm of the noise of a query near a word, to the deviation of the words.
_NEAR = 0.3
_ALL: tuple[Metric, ...] = ("cosine", "dot", "l2")
# Words and queries in an order of their own, of so many words, seeded; None takes the data folder.
_Load = Callable[[int, torch.Generator, Path | None], tuple[Tensor, Tensor]]


@dataclass(frozen=True, kw_only=True)
class WordSet:
    """Words in random order, and queries that are not among them.

    Attributes:
        name: a key of `SETS`.
        size: words that a memory begins with, the first of `words`.
        words: [P, W] float32, P >= size; those behind `size` come later.
        queries: [Q, W].
        metrics: by which the set makes sense.
    """

    name: str
    size: int
    words: Tensor
    queries: Tensor
    metrics: tuple[Metric, ...]

    def moved(self) -> "WordSet":
        """The set elsewhere: the numbers of each word moved along by half its length.

        Distances and inner products within the set stay, so that it is as hard as before.
        """
        by = max(1, self.words.shape[1] // 2)
        return replace(self, words=self.words.roll(by, 1), queries=self.queries.roll(by, 1))

    def near(self, words: Tensor, generator: torch.Generator) -> Tensor:
        """Queries near words [n, W]: noise of .3 times the deviation of the set is added."""
        noise = torch.empty_like(words).normal_(generator=generator)
        return words + _NEAR * self.words[:4096].std(0) * noise


@dataclass(frozen=True)
class _Kind:
    size: int  # words of a memory, unless told
    load: _Load
    metrics: tuple[Metric, ...] = _ALL


def _drawn(draw: drawn_words.Draw) -> _Load:
    return lambda count, generator, folder: draw(count, QUERIES, generator)


def _wide(count: int, generator: torch.Generator, folder: Path | None) -> tuple[Tensor, Tensor]:
    words, queries = glove_words(folder)
    words = words[torch.randperm(len(words), generator=generator)[:count]]
    both = drawn_words.expanded(torch.cat([words, queries]), 768, generator)
    return both[: len(words)], both[len(words) :]


SETS: dict[str, _Kind] = {
    "glove": _Kind(131072, lambda count, generator, folder: glove_words(folder)),
    "mnist": _Kind(60000, lambda count, generator, folder: mnist_words(folder)),
    "mnist14": _Kind(60000, lambda count, generator, folder: mnist_words(folder, side=14)),
    "omniglot": _Kind(50000, lambda count, generator, folder: omniglot_words(folder, most=count)),
    "wide": _Kind(20000, _wide),
    "wide_gaussian": _Kind(20000, _drawn(drawn_words.gaussian(768))),
    "gaussian": _Kind(20000, _drawn(drawn_words.gaussian(64))),
    "uniform": _Kind(20000, _drawn(drawn_words.uniform)),
    "binary": _Kind(20000, _drawn(drawn_words.binary)),
    "equal": _Kind(20000, _drawn(drawn_words.equal)),
    "zero": _Kind(20000, _drawn(drawn_words.zero)),
    "lognormal": _Kind(32768, _drawn(drawn_words.lognormal)),
    "dense": _Kind(20000, _drawn(drawn_words.dense)),
    # By angle, or inner product, all of them are one word.
    "positions": _Kind(20000, _drawn(drawn_words.positions), ("l2",)),
    "clustered": _Kind(65536, _drawn(drawn_words.clustered)),
    "million": _Kind(2**20, _drawn(drawn_words.clustered), ("cosine",)),
}
# Those that are measured unless told; the largest takes long.
USUAL = tuple(name for name in SETS if name != "million")
REAL = ("glove", "mnist", "mnist14", "omniglot", "wide")


def load_set(
    name: str, *, most: int | None = None, seed: int = 0, folder: Path | None = None
) -> WordSet:
    """Reads or draws a set; the same seed and size give the same words.

    Args:
        name: a key of `SETS`.
        most: words of a memory, where the set has more.
        seed: of the draw, of the order, and of the choice.
        folder: of the real sets; see `word_files.data_folder`.

    Raises:
        UnknownNameError: there is no such set.
        OSError: the file of a real set is not there.
        ValueError: it is damaged or another.
    """
    if name not in SETS:
        raise unknown_name("set of words", name, SETS)
    kind = SETS[name]
    size = kind.size if most is None else min(most, kind.size)
    generator = torch.Generator().manual_seed(seed)
    count = round(_SPARE * size)
    words, queries = kind.load(count, generator, folder)
    chosen = torch.randperm(len(words), generator=generator)[:count]
    asked = torch.randperm(len(queries), generator=generator)[:QUERIES]
    return WordSet(
        name=name,
        size=min(size, len(words)),
        words=words[chosen].contiguous(),
        queries=queries[asked].contiguous(),
        metrics=kind.metrics,
    )


def regions(words: Tensor, count: int, *, seed: int = 0, rounds: int = 8) -> Tensor:
    """The nearest of `count` centres for each word, int64 [n]: k-means by Euclidean distance.

    Args:
        words: [n, W].
        count: centres; no more than words.
        seed: of the first centres.
        rounds: of Lloyd's algorithm, on 64 words a centre.
    """
    count = min(count, len(words))
    generator = torch.Generator().manual_seed(seed)
    words = words - words.mean(0)
    sample = words[torch.randperm(len(words), generator=generator)[: 64 * count]]
    centres = sample[:count].clone()
    for _ in range(rounds):
        near = _nearest(sample, centres)
        sums = torch.zeros_like(centres).index_add_(0, near, sample)
        members = torch.bincount(near, minlength=count).unsqueeze(1)
        centres = torch.where(members > 0, sums / members.clamp_min(1), centres)
    return _nearest(words, centres)


def _nearest(words: Tensor, centres: Tensor) -> Tensor:
    half = centres.square().sum(1) / 2
    return torch.cat([(part @ centres.T - half).argmax(1) for part in words.split(8192)])


def of_metrics(given: Sequence[Metric] | None, words: WordSet) -> list[Metric]:
    """Those metrics of a set that were asked for; all of them without a request."""
    return [metric for metric in words.metrics if given is None or metric in given]
