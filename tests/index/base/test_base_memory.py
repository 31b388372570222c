"""`BaseMemory`: what is written is found again, in every form it may come in."""

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from index import BaseMemory, FileFormatError, NonFiniteError, ShapeError
from index.testing import METRICS, score

DTYPES = ("float32", "float16", "bfloat16", "int8")
# How far what is kept may be from a number, times the largest of its word.
NEAR = {"float32": 0.0, "float16": 2.0**-11, "bfloat16": 2.0**-8, "int8": 0.51 / 127}


def vectors(*shape: int, seed: int = 3) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def best_of(words: np.ndarray, query: np.ndarray, k: int, metric, eps: float) -> list[float]:
    """The k highest scores, by the definition of the metric."""
    return sorted((score(query, word, metric, eps) for word in words), reverse=True)[:k]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("count", [3, 300, 1100])
def test_search_finds_the_nearest_of_what_is_kept(tmp_path, dtype, metric, count: int) -> None:
    """By pieces and by stages, for float32 and float64 queries."""
    words = vectors(count, 5)
    base = BaseMemory.create(tmp_path / "base", words, dtype=dtype, metric=metric)
    kept = base.words_at(torch.arange(count), dtype=torch.float64)
    allowed = NEAR[dtype] * words.abs().amax(1, keepdim=True) + 1e-7
    assert ((kept - words).abs() <= allowed).all()
    for queries in (vectors(2, 5, seed=4).double(), vectors(2, 5, seed=5)):
        tolerance = 1e-12 if queries.dtype == torch.float64 else 1e-5
        for eps in (0.0, 0.3):
            found = base.search(queries, 4, norm_eps=eps)
            assert found.scores.dtype == queries.dtype
            for q, query in enumerate(queries.double().numpy()):
                slots = found.slots[q][found.slots[q] >= 0]
                assert len(slots) == min(4, count) == len(set(slots.tolist()))
                mine = [score(query, kept[s].numpy(), metric, eps) for s in slots.tolist()]
                scores = found.scores[q, : len(slots)].double().numpy()
                expected = best_of(kept.numpy(), query, 4, metric, eps)
                np.testing.assert_allclose(scores, mine, rtol=tolerance, atol=tolerance)
                np.testing.assert_allclose(scores, expected, rtol=tolerance, atol=tolerance)
    if count == 3:
        assert found.slots[:, 3].eq(-1).all() and found.scores[:, 3].eq(-torch.inf).all()


def forms(words: Tensor, folder: Path):
    """The same words in the forms that `create` takes."""
    array = words.numpy()
    np.save(folder / "words.npy", array)
    wide = np.zeros((len(array), 14), np.float32)
    wide[:, ::2] = array
    read_only = array.copy()
    read_only.flags.writeable = False
    yield "tensor", words
    yield "with gradient", words.clone().requires_grad_()
    yield "column major", words.t().contiguous().t()
    yield "float64", words.double()
    yield "array", array
    yield "strided", wide[:, ::2]
    yield "backwards", np.ascontiguousarray(array[::-1])[::-1]
    yield "read only", read_only
    yield "big endian", array.astype(">f4")
    yield "memmap", np.load(folder / "words.npy", mmap_mode="r")
    yield "pieces", iter([words[:100], array[100:101], words[101:101], words[101:].double()])
    yield "generator", (words[i : i + 7] for i in range(0, len(words), 7))
    yield "list", [words]


def test_words_come_in_any_form(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("index.base.source._PIECE_BYTES", 1000)  # so that there are many pieces
    words = vectors(205, 7)
    before = words.clone()
    for name, given in forms(words, tmp_path):
        base = BaseMemory.create(tmp_path / "base", given)
        assert (len(base), base.num_words, base.word_size) == (205, 205, 7), name
        assert torch.equal(base.words_at(torch.arange(205)), words), name
        assert sorted(p.name for p in tmp_path.iterdir()) == ["base", "words.npy"], name
    assert torch.equal(words, before)


def test_integers_are_words_too(tmp_path: Path) -> None:
    words = torch.arange(12).view(4, 3)
    for given in (words, words.numpy(), words.to(torch.int8)):
        base = BaseMemory.create(tmp_path / "base", given)
        assert torch.equal(base.words_at(torch.tensor([3, 0])), words[[3, 0]].float())


def test_words_at_any_shape_of_slots(tmp_path: Path) -> None:
    words = vectors(9, 4)
    base = BaseMemory.create(tmp_path / "base", words)
    slots = torch.tensor([[[8, -1]], [[0, 8]]])
    for dtype in (torch.float32, torch.float64):
        found = base.words_at(slots, dtype=dtype)
        assert found.shape == (2, 1, 2, 4) and found.dtype == dtype
        assert torch.equal(found[0, 0, 0], words[8].to(dtype)) and not found[0, 0, 1].any()
    found.zero_()  # a copy
    assert torch.equal(base.words_at(torch.tensor(8)), words[8])
    assert torch.equal(base.words_at(slots.int())[1, 0, 0], words[0])
    assert base.words_at(slots[:0]).shape == (0, 1, 2, 4)
    for wrong, text in ((9, "got 9"), (-2, "got -2"), (2**62, f"got {2**62}")):
        with pytest.raises(ValueError, match=rf"slots: expected -1 \(zeros\) or 0 \.\. 8, {text}"):
            base.words_at(torch.tensor([0, wrong]))
    for wrong in (torch.tensor([1.0]), torch.tensor([True]), [1]):
        with pytest.raises(ShapeError, match="slots: expected a tensor of integers"):
            base.words_at(wrong)
    with pytest.raises(ValueError, match="dtype: expected"):
        base.words_at(slots, dtype=torch.float16)


def test_wrong_queries(tmp_path: Path) -> None:
    base = BaseMemory.create(tmp_path / "base", vectors(9, 4))
    with pytest.raises(ShapeError, match=r"queries: expected shape \[Q, W=4\]"):
        base.search(vectors(2, 5), 1)
    with pytest.raises(NonFiniteError, match="queries: expected finite"):
        base.search(torch.full((1, 4), torch.nan), 1)
    with pytest.raises(ValueError, match="norm_eps: expected at least 0"):
        base.search(vectors(2, 4), 1, norm_eps=-1.0)
    with pytest.raises(ValueError, match="k: expected an integer of at least 1, got 0"):
        base.search(vectors(2, 4), 0)
    alone = base.search(vectors(4).numpy(), 20)
    assert isinstance(alone.slots, np.ndarray) and alone.slots.shape == (20,)
    assert base.search(vectors(0, 4), 2).slots.shape == (0, 2)
    assert not base.search(vectors(2, 4).requires_grad_(), 2).scores.requires_grad


def test_copies_are_the_same_object_and_pickles_open_it_again(tmp_path: Path) -> None:
    words = vectors(9, 4)
    base = BaseMemory.create(tmp_path / "base", words)
    assert copy.copy(base) is base and copy.deepcopy([base])[0] is base
    data = pickle.dumps(base)
    assert len(data) < 1000
    other = pickle.loads(data)
    assert other.identity == base.identity and torch.equal(other.words_at(torch.arange(9)), words)
    BaseMemory.create(tmp_path / "base", words)  # equal words, but another base
    with pytest.raises(FileFormatError, match=r"got .* made anew"):
        pickle.loads(data)


def test_a_base_that_is_open_stays_what_it_was(tmp_path: Path) -> None:
    old, new = vectors(900, 4), vectors(40, 6, seed=8)
    base = BaseMemory.create(tmp_path / "base", old)
    other = BaseMemory.create(tmp_path / "base", new, dtype="float16")
    assert torch.equal(base.words_at(torch.arange(900)), old)
    assert (other.num_words, other.word_size, other.dtype) == (40, 6, "float16")
    assert BaseMemory.open(tmp_path / "base").identity == other.identity != base.identity
    assert [p.name for p in tmp_path.iterdir()] == ["base"]


def test_bytes(tmp_path: Path) -> None:
    """Rows have as many bytes as their numbers, and a scale of 4 for int8."""
    for dtype, row in (("float32", 128), ("float16", 64), ("bfloat16", 64), ("int8", 36)):
        base = BaseMemory.create(tmp_path / "base", vectors(1000, 32), dtype=dtype)
        assert base.nbytes == 128 + 1000 * row
        assert 0 <= base.resident <= base.nbytes
        base.search(vectors(1, 32), 1)
        assert base.resident == base.nbytes
        assert "num_words=1000" in repr(base)


def test_cold_pages_are_asked_for_once(tmp_path: Path) -> None:
    base = BaseMemory.create(tmp_path / "base", vectors(4096, 32))
    file, asked = base._opened.words.file, []
    announce = file._announce
    file._announce = lambda pages: (asked.extend(pages.tolist()), announce(pages))
    slots = torch.tensor([0, 4095, 33, 1, 0])
    base.words_at(slots)
    # Rows of 128 bytes after 128 of the header: 32 in a page, row 31 the first of the second.
    assert asked == [0, 1, 128]
    base.words_at(slots)
    assert len(asked) == 3
    wide = BaseMemory.create(tmp_path / "wide", vectors(4, 5000))  # a row lies in several pages
    assert torch.equal(wide.words_at(torch.tensor([2])), vectors(4, 5000)[2:3])
