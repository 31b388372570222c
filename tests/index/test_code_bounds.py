"""Bounds and scores of a block of codes are those of a plain product, in every instruction."""

from typing import Any

import numpy as np
import pytest

numba = pytest.importorskip("numba")
llvm = pytest.importorskip("llvmlite.binding")
code_bounds = pytest.importorskip("index.llvm.code_bounds")

WAYS = {
    "every processor": (None, None),
    "avx2": ("avx2", ("llvm.x86.avx2.pmadd.wd", 8)),
    "avx512bw": ("avx512bw", ("llvm.x86.avx512.pmaddw.d.512", 16)),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("way", WAYS)
def test_bounds_are_those_of_a_plain_product(way: str, dtype: Any, monkeypatch: Any) -> None:
    needed, instruction = WAYS[way]
    if needed is not None and not llvm.get_host_cpu_features().get(needed):
        pytest.skip(f"this processor has no {needed}")
    monkeypatch.setattr(code_bounds, "_instruction", lambda: instruction)
    put = numba.extending.intrinsic(code_bounds._put_code_bounds)
    put_scores = numba.extending.intrinsic(code_bounds._put_code_scores)

    @numba.njit
    def bounds(pairs, codes, scales, block, factor, margin, least, out):
        return put(pairs, codes, scales, block, factor, margin, least, out)

    @numba.njit
    def scores(pairs, codes, scales, half, block, factor, least, out):
        return put_scores(pairs, codes, scales, half, block, factor, least, out)

    random = np.random.default_rng(0)
    for pairs in (8, 13):
        codes = random.integers(-127, 128, (3, pairs, 16, 2)).astype(np.int8)
        scales = random.random(48).astype(np.float32)
        query = random.integers(-32767, 32768, 2 * pairs)
        packed = ((query[1::2] << 16) | (query[::2] & 0xFFFF)).astype(np.int32)
        for block in range(3):
            found = np.zeros(16, dtype)
            given = packed, codes, scales, block, dtype(1e-3), dtype(0.5), dtype(2)
            above = bounds(*given, found)
            words = codes[block].astype(np.int64).transpose(1, 0, 2).reshape(16, -1)
            wanted = (words @ query * 1e-3 + 0.5) * scales[16 * block : 16 * block + 16]
            np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-3)
            assert above == sum(1 << i for i in range(16) if found[i] > 2)
            half = random.random(48).astype(np.float32)
            given = packed, codes, scales, half, block, dtype(1e-3), dtype(2)
            above = scores(*given, found)
            wanted += (
                half[16 * block : 16 * block + 16] - 0.5 * scales[16 * block : 16 * block + 16]
            )
            np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-3)
            assert above == sum(1 << i for i in range(16) if found[i] > 2)
