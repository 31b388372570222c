"""What is tested, and how a part of the contract is written."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from index.config import IndexConfig
from index.metric import Metric
from index.neighbors import Neighbors
from index.registry import as_index_config, make_index
from index.testing.dictionary import DictIndex
from index.vector_index import VectorIndex

Make = Callable[..., VectorIndex]
Subject = str | IndexConfig | Make
METRICS: tuple[Metric, ...] = ("cosine", "dot", "l2")
CHECKS: list[Callable[[Subject], None]] = []
"""The parts of the contract: each raises AssertionError if an index does not keep it."""


def part(check: Callable[[Subject], None]) -> Callable[[Subject], None]:
    """Adds a check to the contract, seeded."""

    @functools.wraps(check)
    def seeded(subject: Subject) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            check(subject)

    CHECKS.append(seeded)
    return seeded


@contextmanager
def raises(error: type[Exception]) -> Iterator[None]:
    """Asserts that the block raises such an error."""
    try:
        yield
    except error:
        return
    raise AssertionError(f"expected {error.__name__}, got no error")


def pair(
    subject: Subject,
    *,
    batch_size: int | None = 2,
    capacity: int = 64,
    word_size: int = 5,
    metric: Metric = "cosine",
    dtype: torch.dtype = torch.float32,
) -> tuple[VectorIndex, DictIndex]:
    """An empty index and its oracle."""
    sizes: Any = {
        "batch_size": batch_size,
        "capacity": capacity,
        "word_size": word_size,
        "dtype": dtype,
    }
    if isinstance(subject, str | IndexConfig):
        index = make_index(replace(as_index_config(subject), metric=metric), **sizes)
    else:
        index = subject(metric=metric, **sizes)
    return index, DictIndex(batch_size or 1, metric, index.config.norm_eps or 0.0)


def filled(
    subject: Subject, count: int = 12, **options: Any
) -> tuple[VectorIndex, DictIndex, Tensor]:
    """An index with words at slots 0 .. count-1 of each memory, its oracle, and queries."""
    index, oracle = pair(subject, **options)
    slots = torch.stack([torch.randperm(count) for _ in range(index.batch_size)])
    words = torch.randn(index.batch_size, count, index.word_size, dtype=index.dtype)
    for store in (index, oracle):
        store.update(slots, words)
    queries = torch.randn(index.batch_size, 3, index.word_size, dtype=index.dtype)
    return index, oracle, queries


def answer(index: VectorIndex, queries: Tensor, k: int) -> Neighbors:
    """A copy of what the index answers, to compare before and after."""
    near = index.search(queries, k)
    return Neighbors(near.slots.clone(), near.scores.clone())
