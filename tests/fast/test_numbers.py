"""Functions of one number and products of small matrices inside compiled loops, against NumPy."""

import numpy as np
import pytest
import torch

from tests.fast.compiled_and_plain import entered

pytest.importorskip("numba")

# From far below to far above where the functions change, and densely about 0.
GRID = np.concatenate(
    [
        np.linspace(-12, 12, 200_001),
        np.linspace(-1e-3, 1e-3, 2_001),
        np.geomspace(1e-30, 1e30, 2_001),
        -np.geomspace(1e-30, 1e30, 2_001),
    ]
)


@pytest.fixture(scope="module")
def add_product():
    """The plain product of small matrices."""
    from sam.fast.loops import matmul

    return entered(matmul.add_product)


@pytest.fixture(scope="module")
def functions():
    """tanh, sigmoid and softplus of arrays, each as a loop compiled as the library's loops are."""
    from index.compiled import inline
    from sam.fast.loops import numerics

    @inline
    def fill(given, outputs):
        for i in range(len(given)):
            outputs[0, i] = numerics.tanh(given[i])
            outputs[1, i] = numerics.sigmoid(given[i])
            outputs[2, i] = numerics.softplus(given[i])
            outputs[3, i] = numerics.exp(given[i])

    def apply(values):
        outputs = np.empty((4, len(values)), values.dtype)
        entered(fill)(values, outputs)
        return dict(zip(("tanh", "sigmoid", "softplus", "exp"), outputs, strict=True))

    return apply


def exact(values):
    """The same in float64 by NumPy, from formulas that neither overflow nor cancel."""
    small = np.exp(-np.abs(values))
    return {
        "tanh": np.tanh(values),
        "sigmoid": np.where(values > 0, 1.0, small) / (1 + small),
        "softplus": np.maximum(values, 0) + np.log1p(small),
        "exp": np.exp(np.minimum(values, 12)),
    }


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_functions_of_a_number(functions, dtype):
    values = np.sort(GRID).astype(dtype)
    found, wanted = functions(values), exact(values.astype(np.float64))
    assert all(outputs.dtype == dtype for outputs in found.values())
    error = 5e-7 if dtype == np.float32 else 2.1e-9  # above 20 softplus x is x
    for name in ("tanh", "sigmoid"):
        np.testing.assert_allclose(found[name], wanted[name], rtol=0, atol=error)
        steps = np.diff(found[name].astype(np.float64))
        assert steps.min() >= -4 * np.finfo(dtype).eps, "not monotone"
    np.testing.assert_allclose(found["softplus"], wanted["softplus"], rtol=2 * error, atol=error)
    few = np.abs(values) <= 12
    np.testing.assert_allclose(found["exp"][few], wanted["exp"][few], rtol=error)
    assert np.abs(found["tanh"]).max() <= 1
    assert found["sigmoid"].min() >= 0 and found["sigmoid"].max() <= 1
    assert found["softplus"].min() >= 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tanh_is_odd_and_exact_about_zero(functions, dtype):
    values = np.abs(GRID).astype(dtype)
    above, below = functions(values)["tanh"], functions(-values)["tanh"]
    np.testing.assert_array_equal(above, -below)
    small = values[values < 1e-4]
    np.testing.assert_allclose(functions(small)["tanh"], small, rtol=4e-7)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_that_are_not_finite(functions, dtype):
    found = functions(np.array([np.nan, np.inf, -np.inf], dtype))
    expected = {"tanh": [1, -1], "sigmoid": [1, 0], "softplus": [np.inf, 0], "exp": [np.inf, 0]}
    for name, limits in expected.items():
        assert np.isnan(found[name][0]), f"{name} of NaN"
        np.testing.assert_allclose(found[name][1:], limits, atol=5e-7)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products_of_small_matrices(add_product, dtype):
    generator = np.random.default_rng(0)
    columns = (1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 33, 64, 70)
    for rows in range(1, 10):
        for inner in range(1, 10):
            for width in columns:
                left = generator.standard_normal((rows, inner)).astype(dtype)
                right = generator.standard_normal((inner, width)).astype(dtype)
                # Rows of larger arrays, as a share of the batch is.
                room = generator.standard_normal((rows + 2, width)).astype(dtype)
                wanted = room.astype(np.float64)
                wanted[1:-1] += left.astype(np.float64) @ right
                add_product(room[1:-1], left, right)
                error = 40 * np.finfo(dtype).eps
                np.testing.assert_allclose(room, wanted, rtol=error, atol=error)


def in_panels(matrix):
    from sam.fast.packing import plain_panels

    panels = plain_panels([(torch.from_numpy(matrix), 0, matrix.shape[1])], back=True)
    return panels.contiguous().numpy()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products_with_packed_matrices(dtype):
    from sam.fast.loops import matmul

    add_packed = entered(matmul.add_packed)
    generator = np.random.default_rng(0)
    error = 40 * np.finfo(dtype).eps
    for rows in (*range(6), 8, 9):
        for inner in (0, 1, 5, 33):
            # Panels have 6 to 48 columns; a single row takes four at a time.
            for columns in (1, 5, 6, 7, 12, 24, 25, 48, 49, 191, 200):
                left = generator.standard_normal((rows, inner + 3)).astype(dtype)
                right = generator.standard_normal((inner, columns)).astype(dtype)
                room = generator.standard_normal((rows + 2, columns + 3)).astype(dtype)
                wanted = room.astype(np.float64)
                wanted[1:-1, 2:-1] += left[:, 1 : 1 + inner].astype(np.float64) @ right
                panels = in_panels(right)
                add_packed(room[1:-1], left, panels, columns, 2, 1)
                np.testing.assert_allclose(room, wanted, rtol=error, atol=error)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("back", [False, True])
def test_panels_of_matrices_side_by_side(dtype, back):
    from sam.fast.packing import panels_of, plain_panels

    for rows in (1, 3, 12, 23, 24, 48, 49):
        for widths in ((1,), (24,), (5, 7), (12, 12), (30, 20, 3), (48, 1)):
            stacked = []
            for _ in range(2):
                # Of a matrix that is a view of others, some columns.
                room = torch.randn(2, rows, 60, dtype=dtype)
                starts = [(room[i % 2], i, i + width) for i, width in enumerate(widths)]
                starts[0] = (room[0].t().contiguous().t(), *starts[0][1:])
                stacked.append(starts)
            found = panels_of(stacked, room, back=back)
            for panels, parts in zip(found, stacked, strict=True):
                np.testing.assert_array_equal(panels, plain_panels(parts, back=back).numpy())


def test_a_row_of_a_product_does_not_depend_on_the_others():
    from sam.fast.loops import matmul

    add_packed = entered(matmul.add_packed)
    left, right = (torch.randn(shape).numpy() for shape in ((7, 50), (50, 70)))
    panels = in_panels(right)
    all_rows, alone = np.zeros((2, 7, 70), np.float32)
    add_packed(all_rows, left, panels, 70, 0, 0)
    for row in range(7):
        add_packed(alone[row : row + 1], left[row : row + 1], panels, 70, 0, 0)
    np.testing.assert_array_equal(all_rows, alone)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_search_of_one_memory(dtype):
    from index.llvm.best import BLOCK
    from index.llvm.key_sums import KEYS
    from sam.fast.loops.access_forward import search

    find = entered(search)
    generator = np.random.default_rng(0)
    heads, scores = KEYS + 1, np.empty(KEYS * BLOCK, dtype)
    for size, top_k in zip((1, 3, 4, 8, 9, 16, 17, 33), (4, 1, 8, 9, 16, 32, 33, 40), strict=True):
        for count in (0, 1, 7, 8, 9, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5):
            units = generator.standard_normal((2, 1 + count, size)).astype(dtype)
            p = generator.standard_normal(heads * size + 5).astype(dtype)
            penalty = np.where(generator.random((2, 1 + count)) < 0.2, -np.inf, 0).astype(dtype)
            slots = np.full((heads, top_k), 7)
            cosine = np.full((heads, top_k), 7, dtype)
            assert find(1, p, units, penalty, count, slots, cosine, 1e-6, scores)
            for head in range(heads):
                key = p[head * size : (head + 1) * size].astype(np.float64)
                wanted = units[1, 1:] @ key / np.sqrt(key @ key + 1e-6) + penalty[1, 1:]
                best = np.argsort(-wanted)[:top_k]
                best = best[wanted[best] > -np.inf]
                np.testing.assert_array_equal(slots[head, : len(best)], best)
                np.testing.assert_array_equal(slots[head, len(best) :], -1)
                np.testing.assert_allclose(cosine[head, : len(best)], wanted[best], 2e-5, 1e-5)
                assert (cosine[head, len(best) :] == -np.inf).all()
    p[2] = np.nan
    assert not find(0, p, units, penalty, count, slots, cosine, 1e-6, scores)


def test_loops_over_time_count_no_references():
    """Each slice would be one atomic instruction more, on a number that all threads share."""
    from sam.fast.loops.matmul import add_packed
    from sam.fast.loops.sequence_backward import unroll_backward
    from sam.fast.loops.sequence_forward import advance, finish, unroll

    for loop in (add_packed, unroll, advance, finish, unroll_backward):
        assert loop.targetoptions["_nrt"] is False


def test_an_empty_product_adds_nothing(add_product):
    out = np.ones((5, 3))
    add_product(out, np.ones((5, 0)), np.ones((0, 3)))
    add_product(out[:0], np.ones((0, 2)), np.ones((2, 3)))
    np.testing.assert_array_equal(out, np.ones((5, 3)))
