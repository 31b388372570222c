"""Words that are the same for all memories: an index learns from them once."""

import pytest
import torch

from index import IndexConfig
from index.registry import index_class
from tests.index.hashed_cases import KINDS, hashed
from tests.index.oracle import FORMS


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("compiled", FORMS)
def test_same_answers_as_of_copies(kind: str, compiled: bool) -> None:
    """And as of a memory alone; later on each memory goes its own way."""
    words = torch.randn(1, 3000, 16, generator=torch.Generator().manual_seed(0))
    queries = torch.randn(1, 8, 16, generator=torch.Generator().manual_seed(1))
    shared = hashed(kind, 4096, batch=3, compiled=compiled, probes=4)
    shared.load(words.expand(3, -1, -1))
    alone = hashed(kind, 4096, batch=1, compiled=compiled, probes=4)
    alone.load(words)
    found, expected = shared.search(queries.expand(3, -1, -1), 5), alone.search(queries, 5)
    assert torch.equal(found.slots, expected.slots.expand(3, -1, -1))
    torch.testing.assert_close(found.scores, expected.scores.expand(3, -1, -1))
    slots = torch.arange(40).expand(3, -1).clone()
    slots[1] = -1
    shared.update(slots, queries.expand(3, -1, -1).repeat(1, 5, 1))
    after = shared.search(queries.expand(3, -1, -1), 5)
    assert (after.slots[0] < 40).all() and (after.slots[2] < 40).all()
    assert torch.equal(after.slots[1], expected.slots[0])


@pytest.mark.parametrize("kind", KINDS)
def test_not_where_a_memory_keeps_words_of_its_own(kind: str) -> None:
    words = torch.randn(1, 2000, 16, generator=torch.Generator().manual_seed(0))
    index = hashed(kind, 4096, batch=2, probes=8)
    others = torch.randn(2, 3000, 16, generator=torch.Generator().manual_seed(2))
    index.load(others)
    index.load(words.expand(2, -1, -1))
    found = index.search(others[:, 2500:2510], 1)
    assert torch.equal(found.slots[:, :, 0], torch.arange(2500, 2510).expand(2, -1))


@pytest.mark.parametrize("kind", KINDS)
def test_no_memories_have_words_alike(kind: str) -> None:
    config = IndexConfig(kind=kind)
    index = index_class(kind)(config, batch_size=0, capacity=64, word_size=16)
    index.load(torch.zeros(1, 20, 16).expand(5, -1, -1)[:0])
    index.load(torch.zeros(0, 1, 16).expand(0, 20, 16))
    assert index.occupancy.tolist() == []
