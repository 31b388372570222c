"""Eight scores at a time against a product in NumPy, for all ways in which words are kept."""

from typing import Any

import numpy as np
import pytest
import torch

from index.storage import as_array, storage_of

numba = pytest.importorskip("numba")
WIDTHS = (1, 3, 15, 16, 17, 32, 50, 100)
KINDS = [
    *[(torch.float32, name) for name in ("float32", "float16", "bfloat16", "int8")],
    *[(torch.float64, name) for name in (None, "float32", "int8")],
]


def compiled(dtype: torch.dtype) -> Any:
    """All at once: of rows 3 to 10, and of listed rows."""
    from index.llvm.dots import put_distances, put_dots, put_dots_of, put_lengths

    @numba.njit
    def scores(key, words, rows, out):
        put_dots(key, words, 3, out[0])
        put_distances(key, words, 3, out[1])
        put_dots_of(key, words, 1, rows, out[2])
        put_lengths(key, words, 3, out[3], out[4])

    return scores


def check(dtype: torch.dtype, name: Any) -> None:
    scores = compiled(dtype)
    random = torch.Generator().manual_seed(1)
    rows = np.array([0, 5, 3, 19, 2, 2, 0, 7, 9, 11], np.int32)
    for width in WIDTHS:
        storage = storage_of(name, dtype, width)
        words = torch.randn(20, width, dtype=dtype, generator=random)
        kept = storage.encode(words * torch.rand(20, 1, dtype=dtype, generator=random))
        known, key = storage.decode(kept).double(), torch.randn(width, generator=random)
        key = key.to(dtype)
        out = torch.full((5, 8), torch.nan, dtype=dtype)
        scores(key.numpy(), as_array(kept), rows, out.numpy())
        some, asked = known[3:11], key.double()
        # Without the scale of int8.
        plain = some / storage.scales(kept)[3:11].double() if name == "int8" else some
        wanted = torch.stack(
            [
                some @ asked,
                (some - asked).square().sum(1),
                known[rows[1:9].tolist()] @ asked,
                plain @ asked,
                plain.square().sum(1),
            ]
        )
        close = 1e-5 if dtype == torch.float32 else 1e-12
        torch.testing.assert_close(out.double(), wanted, rtol=close, atol=close * 200)


@pytest.mark.parametrize(("dtype", "name"), KINDS)
def test_scores_are_those_of_the_words_as_they_are_kept(dtype: torch.dtype, name: Any) -> None:
    check(dtype, name)


def test_halves_without_an_instruction_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    from index.llvm import kept_vectors

    monkeypatch.setattr(kept_vectors, "knows_half", lambda: False)
    check(torch.float32, "float16")
