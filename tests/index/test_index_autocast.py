"""Inside of autocast an index computes in its own width, whatever is called."""

import pytest
import torch

from tests.index.hashed_cases import KINDS, hashed
from tests.index.oracle import FORMS


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("compiled", FORMS)
def test_tables_that_a_removal_rebuilds(kind: str, compiled: bool) -> None:
    words = torch.randn(2, 300, 16, generator=torch.Generator().manual_seed(0))
    given = {"compiled": compiled, "refresh_after": 0.1, "recall": 1.0}
    inside, outside = (hashed(kind, 512, **given) for _ in range(2))
    for index, is_on in ((inside, True), (outside, False)):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_on):
            index.load(words)
            index.search(words[:, :2], 1)
            for slots in torch.arange(120).expand(2, -1).split(30, 1):
                index.remove(slots)
    found, expected = (index.search(words[:, 130:140], 1) for index in (inside, outside))
    assert torch.equal(found.slots, expected.slots)
    torch.testing.assert_close(found.scores, expected.scores)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("compiled", FORMS)
def test_rows_that_are_put(kind: str, compiled: bool) -> None:
    words = torch.randn(2, 600, 16, generator=torch.Generator().manual_seed(0))
    index = hashed(kind, 1024, compiled=compiled, recall=1.0)
    other = hashed(kind, 1024, batch=1, compiled=compiled, recall=1.0)
    index.load(words)
    other.load(words[1:])
    for each, some in ((index, words), (other, words[1:])):
        each.search(some[:, :2], 1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        index.put(torch.tensor([0]), other)
    found = index.search(words[1:, :20].expand(2, -1, -1), 1)
    assert torch.equal(found.slots[..., 0], torch.arange(20).expand(2, -1))
