"""The least lengths of words in lists: what they let a search skip is never among the best."""

import pytest
import torch

from index import BaseMemory
from index.base.list_tables import SQUARES
from index.compiled import use_compiled

pytest.importorskip("numba")


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize("lengths", ["alike", "mixed", "tiny", "with zeros"])
def test_the_same_neighbors_as_in_torch(tmp_path, lengths, dtype):
    random = torch.Generator().manual_seed(5)
    words = torch.randn(3000, 20, generator=random)
    words /= words.norm(dim=1, keepdim=True)
    queries = words[::100] + 0.1 * torch.randn(30, 20, generator=random)
    if lengths == "mixed":
        words *= 10 ** torch.empty(3000, 1).uniform_(-3, 3, generator=random)
    if lengths == "tiny":
        words *= 1e-4
    if lengths == "with zeros":
        words[::9] = 0
    base = BaseMemory.create(tmp_path / "base", words, index="ivf", dtype=dtype, recall=0.99)
    assert SQUARES in base._header.files
    for eps in (0.0, 1e-4):
        with use_compiled(True):
            found = base.search(queries, 5, norm_eps=eps)
        with use_compiled(False):
            expected = base.search(queries, 5, norm_eps=eps)
        torch.testing.assert_close(found.scores, expected.scores, rtol=0, atol=2e-6)
        # Which of two words with nearly the same score comes first is rounding.
        assert (found.slots == expected.slots).float().mean() > 0.98


def test_lengths_that_say_nothing(tmp_path):
    """Squares that overflow or vanish are not relied on; nor are those of other metrics kept."""
    words = torch.randn(600, 8, generator=torch.Generator().manual_seed(1))
    words[::2] *= 1e18
    words[1::2] *= 1e-25
    base = BaseMemory.create(tmp_path / "base", words, index="ivf", recall=1.0)
    found = base.search(words[:50], 1)
    assert found.slots[:, 0].tolist() == list(range(50))
    dot = BaseMemory.create(tmp_path / "dot", words[1::2], index="ivf", metric="dot")
    assert SQUARES not in dot._header.files
