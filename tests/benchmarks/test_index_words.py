"""GloVe's file is found and read, and a file that is something else is told from it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.index.index_words import DEFAULT, ENVIRONMENT_VARIABLE, find_glove, load_glove
from index import make_index, recall_at_k


def arrays(words: int = 200, queries: int = 20, size: int = 6) -> dict[str, np.ndarray]:
    """What the file holds, of random words."""
    draw = np.random.default_rng(0)
    base = draw.normal(size=(words, size)).astype("float16")
    query = draw.normal(size=(queries, size)).astype("float16")
    a, b = (x.astype("float64") for x in (query, base))
    cosines = a @ b.T / np.linalg.norm(a, axis=1)[:, None] / np.linalg.norm(b, axis=1)
    ids = np.argsort(-cosines, 1)[:, :100]
    best = np.take_along_axis(cosines, ids, 1)
    return {"base": base, "query": query, "cos_ids": ids.astype("int32"), "cos_sim": best}


def write(path: Path, **changes: Any) -> Path:
    """Writes the file; a change to None leaves an array out."""
    content: dict[str, Any] = arrays() | changes
    np.savez(path, **{name: array for name, array in content.items() if array is not None})
    return path


def test_answers_of_the_file_are_what_exact_search_finds(tmp_path: Path) -> None:
    glove = load_glove(write(tmp_path / "g.npz"))
    assert (glove.words.shape, glove.queries.shape) == ((1, 200, 6), (1, 20, 6))
    assert glove.words.dtype == glove.truth.scores.dtype == torch.float32
    index = make_index("exact", batch_size=1, capacity=200, word_size=6)
    index.load(glove.words)
    found = index.search(glove.queries, 10)
    assert float(recall_at_k(found, glove.truth, 10, eps=1e-5).min()) == 1.0
    assert torch.equal(found.slots, glove.truth.slots[..., :10])


@pytest.mark.skipif(not DEFAULT.exists(), reason="GloVe's file is not beside the checkout")
def test_the_real_file_is_as_described() -> None:
    glove = load_glove(DEFAULT)
    assert (glove.words.shape, glove.queries.shape) == ((1, 131072, 50), (1, 1000, 50))
    words = torch.nn.functional.normalize(glove.words[0, glove.truth.slots[0, :, 0]], dim=1)
    queries = torch.nn.functional.normalize(glove.queries[0], dim=1)
    torch.testing.assert_close((words * queries).sum(1), glove.truth.scores[0, :, 0])


def test_where_the_file_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
    assert find_glove(None) == DEFAULT
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(tmp_path))
    assert find_glove(None) == tmp_path / DEFAULT.name
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(tmp_path / "mine.npz"))
    assert find_glove(None) == tmp_path / "mine.npz"
    assert find_glove(Path("told.npz")) == Path("told.npz")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cos_sim": None}, "expected an array 'cos_sim', got base, query, cos_ids"),
        ({"base": np.zeros(5)}, r"expected 'base' with 2 dimensions, got \[5\]"),
        ({"query": np.zeros((20, 7))}, r"expected \[N, W\], .* got \[200, 6\], \[20, 7\]"),
        ({"cos_ids": np.zeros((3, 100))}, r"\[3, 100\], \[20, 100\]"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_glove(write(tmp_path / "g.npz", **changes))


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "g.npz")
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match="expected an npz, got a file cut short"):
        load_glove(path)
    path.write_text("words")
    with pytest.raises(ValueError, match="npz"):
        load_glove(path)
    with pytest.raises(OSError):
        load_glove(tmp_path / "none.npz")
