"""Lists that hold int8 codes of their words find what the words themselves would."""

from typing import Any

import pytest
import torch

from index import IndexConfig, make_index
from index.compiled import use_compiled

pytest.importorskip("numba")
WIDTH = 24


def words_of(kind: str, random: torch.Generator, count: int) -> torch.Tensor:
    """Words [2, count, W] that are hard to tell apart by their codes."""
    words = torch.randn(2, count, WIDTH, generator=random)
    if kind == "nearly equal":  # to less than half a step of a code
        return words[:, :1] + 1e-3 * words
    if kind == "equal":
        return words[:, :3].repeat(1, -(-count // 3), 1)[:, :count]
    if kind == "one large number":
        words[..., 3] *= 50
    words[:, ::7] = 0
    return words


@pytest.mark.parametrize("kind", ["apart", "nearly equal", "equal", "one large number"])
def test_the_neighbors_are_those_of_the_form_in_torch(kind: str) -> None:
    """Which compares the words themselves, in the same lists."""
    random = torch.Generator().manual_seed(3)
    # All lists where rounding decides which are nearest.
    config = IndexConfig(kind="ivf", probes=6 if kind == "apart" else 64, exact_below=0)
    index: Any = make_index(config, batch_size=2, capacity=4096, word_size=WIDTH)
    index.reserve(1000)
    for step in range(8):
        words = words_of(kind, random, 400)
        slots = torch.stack([torch.randperm(900, generator=random)[:400] for _ in range(2)])
        queries = words[:, :5] + 0.1 * torch.randn(2, 5, WIDTH, generator=random)
        with use_compiled(step < 6):  # the form in torch writes codes, too
            index.update(slots, words)
            index.remove(slots[:, :3])
        with use_compiled(True):
            found = index.search(queries, 1 + 3 * step)
        with use_compiled(False):
            expected = index.search(queries, 1 + 3 * step)
        torch.testing.assert_close(found.scores, expected.scores, rtol=1e-6, atol=1e-6)
        if kind == "apart":
            assert torch.equal(found.slots, expected.slots)
    assert index._lists._held_words.words.dtype == torch.int8
