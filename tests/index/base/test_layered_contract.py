"""An index over a base whose words are hidden keeps the contract of `index.testing`."""

import pytest
import torch

from index import BaseMemory, make_index
from index.testing import CHECKS
from tests.index.oracle import config_of

COUNT = 6


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory):
    """Makes a base of six words, one for each metric and word size."""
    made = {}

    def base(metric: str, word_size: int) -> BaseMemory:
        key = metric, word_size
        if key not in made:
            generator = torch.Generator().manual_seed(word_size)
            words = torch.randn(COUNT, word_size, generator=generator)
            path = tmp_path_factory.mktemp("bases") / f"{metric}{word_size}"
            made[key] = BaseMemory.create(path, words, metric=metric)
        return made[key]

    return base


def maker(bases, kind: str, *, one_by_one: bool):
    """A function that makes an index over a base none of whose words is seen any more."""

    def make(*, metric, **sizes):
        base = bases(metric, sizes["word_size"])
        index = make_index(config_of(kind, metric), base=base, **sizes)
        if one_by_one:
            slots = torch.arange(COUNT).repeat(index.batch_size, 1)
            index.remove(slots if index.batched else slots[0])
        else:
            index.reset()
        return index

    return make


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(
    ("kind", "one_by_one"), [("exact", False), ("exact", True), ("ivf, always", True)]
)
def test_contract(bases, kind: str, one_by_one: bool, check) -> None:
    check(maker(bases, kind, one_by_one=one_by_one))
