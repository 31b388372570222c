"""Functions of one number and products of small matrices inside compiled loops, against NumPy."""

import numpy as np
import pytest

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
        fill(values, outputs)
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
def test_products_of_small_matrices(dtype):
    from sam.fast.loops.matmul import add_product

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


def test_an_empty_product_adds_nothing():
    from sam.fast.loops.matmul import add_product

    out = np.ones((5, 3))
    add_product(out, np.ones((5, 0)), np.ones((0, 3)))
    add_product(out[:0], np.ones((0, 2)), np.ones((2, 3)))
    np.testing.assert_array_equal(out, np.ones((5, 3)))
