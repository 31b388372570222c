"""What several keys score with several words at a time, against a product in NumPy."""

import numpy as np
import pytest

numba = pytest.importorskip("numba")
APART = 11  # numbers between what two keys score


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_keys_score_with_words(dtype: type) -> None:
    """Also words whose numbers do not fill the last vector; nothing else is written."""
    from index.llvm.key_sums import KEYS, put_key_sums, put_sums

    @numba.njit
    def scores(keys, words, more, one, out):
        put_key_sums(keys, words, 3, more, APART, out)
        put_sums(keys, words, 3, more, APART, one)

    random = np.random.default_rng(1)
    for width in (1, 3, 15, 16, 17, 32, 50):
        keys = random.standard_normal((KEYS, width)).astype(dtype)
        words = random.standard_normal((12, width)).astype(dtype)
        more = random.standard_normal(12).astype(dtype)
        one, out = np.full(APART, np.nan, dtype), np.full(KEYS * APART, np.nan, dtype)
        scores(keys.reshape(-1), words, more, one, out)
        wanted = keys.astype(float) @ words.astype(float).T + more
        close = 1e-5 if dtype == np.float32 else 1e-12
        found = out.reshape(KEYS, APART)
        np.testing.assert_allclose(found[:, :4], wanted[:, 3:7], rtol=close, atol=close * 20)
        np.testing.assert_allclose(one[:8], wanted[0, 3:11], rtol=close, atol=close * 20)
        assert np.isnan(found[:, 4:]).all() and np.isnan(one[8:]).all()
