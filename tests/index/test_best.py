"""The best of blocks of scores, against sorting all of them."""

from typing import Any

import numpy as np
import pytest

numba = pytest.importorskip("numba")


def compiled() -> Any:
    from index.llvm.best import BLOCK, FEW, keep_best, keep_few_best

    @numba.njit
    def best_of(scores, best, slots):
        for start in range(0, len(scores), BLOCK):
            some = scores[start : start + BLOCK]
            if len(best) <= FEW:
                keep_few_best(some, start, best, slots)
            else:
                keep_best(some, start, best, slots)

    return best_of


def sorted_best(scores: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The best ones, first come first served where they are equal; -1 where there are fewer."""
    scores = np.where(np.isnan(scores), -np.inf, scores)
    order = np.argsort(-scores, kind="stable")[:count]
    return scores[order], np.where(scores[order] > -np.inf, order, -1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_best_of_all_blocks_are_kept(dtype: Any) -> None:
    best_of, random = compiled(), np.random.default_rng(3)
    kinds = {
        "drawn": random.standard_normal(256),
        "rising": np.arange(256.0),
        "falling": -np.arange(256.0),
        "equal": np.full(256, 0.25),
        "few values": random.integers(0, 3, 256).astype(float),
        "few words": np.where(np.arange(256) % 100 == 7, random.standard_normal(256), -np.inf),
        "none": np.full(256, -np.inf),
        "one lane": np.where(np.arange(256) % 16 == 5, np.arange(256.0), -5.0),
        "some are NaN": np.where(random.random(256) < 0.2, np.nan, random.standard_normal(256)),
        "most are NaN": np.where(np.arange(256) % 9 == 4, np.arange(256.0), np.nan),
        "infinite": np.where(np.arange(256) % 50 == 3, np.inf, random.standard_normal(256)),
        "with zeros": np.where(np.arange(256) % 2 == 0, 0.0, -0.0),
    }
    for name, drawn in kinds.items():
        scores = drawn.astype(dtype)
        for count in (*range(1, 10), 15, 16, 17, 31, 32):
            # Something stands behind the best ones that must not be touched.
            best, slots = np.full(36, -np.inf, dtype), np.full(36, -1)
            best[count:], slots[count:] = 77.0, 77
            best_of(scores, best[:count], slots[:count])
            wanted = sorted_best(scores, count)
            np.testing.assert_array_equal(best[:count], wanted[0], err_msg=f"{name} {count}")
            np.testing.assert_array_equal(slots[:count], wanted[1], err_msg=f"{name} {count}")
            assert (best[count:] == 77.0).all(), name
            assert (slots[count:] == 77).all(), name
