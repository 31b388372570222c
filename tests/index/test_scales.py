"""Exact scores and true neighbours whatever the lengths of words and queries are."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from index import IndexConfig, make_index, recall_at_k
from index.metric import Metric, unit
from tests.index.oracle import FORMS, score

METRICS: tuple[Metric, ...] = ("cosine", "dot", "l2")
DTYPES = {torch.float32: range(-30, 31, 6), torch.float64: range(-200, 201, 40)}
CLOSE = {torch.float32: 1e-5, torch.float64: 1e-13}
ZERO = torch.zeros(())


def searched(
    words: Tensor, queries: Tensor, k: int, *, exchanged: bool = False, **config: Any
) -> tuple[Tensor, Tensor]:
    """Slots and scores from an exact index of words [B, n, W] for queries [B, Q, W]."""
    batch, count, width = words.shape
    sizes: Any = {"batch_size": batch, "capacity": count, "word_size": width, "dtype": words.dtype}
    index = make_index(IndexConfig(**config), **sizes)
    slots = torch.arange(count).expand(batch, -1)
    if exchanged:  # the compiled form scales words and queries by itself
        index.reserve(count)
        return index.exchange(slots, words, queries, k)
    index.update(slots, words)
    return index.search(queries, k)


def scores_of(words: Tensor, queries: Tensor, metric: Metric, norm_eps: float = 0.0) -> np.ndarray:
    """All scores in float64, [B, Q, n]."""
    pairs = zip(words.numpy(), queries.numpy(), strict=True)
    return np.array([[[score(q, m, metric, norm_eps) for m in ms] for q in qs] for ms, qs in pairs])


def draw(*shape: int, dtype: torch.dtype, longest: float = 0.0, seed: int = 0) -> Tensor:
    """Normal vectors, the length of each 10 to some power of up to +-`longest`."""
    rng = np.random.default_rng(seed)
    powers = 10.0 ** rng.uniform(-longest, longest, (*shape[:-1], 1))
    return torch.from_numpy(rng.normal(size=shape) * powers).to(dtype)


def assert_true_cosines(words: Tensor, queries: Tensor, norm_eps: float = 0.0, **config: Any):
    """All words are found, and their scores are right to 1e-5 (in float64 to 1e-13)."""
    count, close = words.shape[1], CLOSE[words.dtype]
    config["norm_eps"] = norm_eps
    true = scores_of(words, queries, "cosine", norm_eps)
    for exchanged in (False, True):
        slots, scores = searched(words, queries, count, exchanged=exchanged, **config)
        assert torch.equal(slots.sort(2).values, torch.arange(count).expand_as(slots))
        found = np.take_along_axis(true, slots.numpy(), 2)
        np.testing.assert_allclose(scores.numpy(), found, rtol=0, atol=close)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("compiled", FORMS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_cosine_of_any_lengths(dtype: torch.dtype, compiled: bool, batch: int) -> None:
    """Of all words and all queries of one length each, and of mixed ones in one memory."""
    words, queries = draw(batch, 9, 5, dtype=dtype), draw(batch, 3, 5, dtype=dtype, seed=1)
    powers = [10.0**power for power in DTYPES[dtype]]
    for long in powers:
        for wide in powers:
            assert_true_cosines(long * words, wide * queries, compiled=compiled)
    longest = float(max(DTYPES[dtype]))
    mixed = draw(batch, 40, 5, dtype=dtype, longest=longest)
    queries = draw(batch, 8, 5, dtype=dtype, longest=longest, seed=1)
    mixed[:, ::7] = 0
    queries[:, 0] = -0.0
    assert_true_cosines(mixed, queries, compiled=compiled)


@pytest.mark.parametrize("compiled", FORMS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_cosine_at_the_ends_of_the_range(dtype: torch.dtype, compiled: bool) -> None:
    """Zeros of both signs, the smallest and largest numbers, and both in one word."""
    about = torch.finfo(dtype)
    small, least, most = about.smallest_normal * about.eps, about.smallest_normal, about.max
    rows = [
        [0.0, 0.0, 0.0],
        [-0.0, 0.0, -0.0],
        [small, 0.0, 0.0],
        [small, -small, 3 * small],
        [least, least, -small],
        [most, most, most],
        [-most, 0.0, most],
        [most, 1.0, least],
        [1.0, -small, 0.0],
    ]
    words = torch.tensor([rows], dtype=dtype)
    assert_true_cosines(words, words, compiled=compiled)
    _, scores = searched(words, words[:, :2], 9, compiled=compiled)
    assert torch.equal(scores, torch.zeros(1, 2, 9, dtype=dtype))


@pytest.mark.parametrize("compiled", FORMS)
@pytest.mark.parametrize("norm_eps", [1e-6, 1e-30, 4.0])
def test_the_epsilon_of_the_norms(norm_eps: float, compiled: bool) -> None:
    words = draw(2, 30, 5, dtype=torch.float32, longest=30)
    queries = draw(2, 5, 5, dtype=torch.float32, longest=30, seed=1)
    words[:, 3] = queries[:, 2] = 0
    assert_true_cosines(words, queries, norm_eps, compiled=compiled)
    _, scores = searched(words[:, 3:4], queries, 1, norm_eps=norm_eps, compiled=compiled)
    assert torch.equal(scores, torch.zeros(2, 5, 1))


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=8))
def test_a_unit_has_the_length_1_and_the_direction(numbers: list[float]) -> None:
    vector = torch.tensor(numbers, dtype=torch.float32)
    true = vector.double() / torch.linalg.vector_norm(vector.double())
    expected = true.nan_to_num_(0.0)  # of a vector of zeros
    torch.testing.assert_close(unit(vector, ZERO).double(), expected, rtol=1e-6, atol=1e-30)


@given(st.integers(-100, 100), st.floats(0, 1e-3))
def test_powers_of_two_change_nothing(power: int, root_eps: float) -> None:
    vectors, root = draw(4, 7, dtype=torch.float32), torch.tensor(root_eps)
    assert torch.equal(unit(vectors * 2.0**power, ZERO), unit(vectors, ZERO))
    lengths = torch.hypot(torch.linalg.vector_norm(vectors, dim=1, keepdim=True), root)
    assert torch.equal(unit(vectors, root), vectors / lengths), "the formula, where it can be used"
    with_a_short_one = torch.cat([vectors, torch.full((1, 7), 1e-25)])
    torch.testing.assert_close(unit(with_a_short_one, root)[:4], unit(vectors, root))


def test_no_vectors() -> None:
    assert unit(torch.zeros(2, 0, 5), ZERO).shape == (2, 0, 5)


@pytest.mark.parametrize("compiled", FORMS)
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("length", [1e-20, 1e-4, 1.0, 1e9, 1e18])
def test_the_best_words_of_any_length(length: float, metric: Metric, compiled: bool) -> None:
    words = length * draw(3, 3000, 4, dtype=torch.float32)
    queries = length * draw(3, 9, 4, dtype=torch.float32, seed=1)
    assert_best(words, queries, metric, compiled)


@pytest.mark.parametrize("compiled", FORMS)
def test_long_words_and_short_queries(compiled: bool) -> None:
    for long, wide in ((1e18, 1e-18), (1e-18, 1e18), (1e30, 1e-20)):
        words = long * draw(1, 3000, 8, dtype=torch.float32)
        assert_best(words, wide * draw(1, 9, 8, dtype=torch.float32, seed=1), "dot", compiled)


@pytest.mark.parametrize("compiled", FORMS)
@pytest.mark.parametrize("queries", [3, 20])
def test_positions_around_a_far_point(queries: int, compiled: bool) -> None:
    """20,000 points around one 6,000 km away, in metres, one km apart."""
    words = 6e6 + 1e3 * draw(1, 20_000, 3, dtype=torch.float32)
    around = 6e6 + 1e3 * draw(1, queries, 3, dtype=torch.float32, seed=1)
    assert_best(words, around, "l2", compiled)


def assert_best(words: Tensor, queries: Tensor, metric: Metric, compiled: bool) -> None:
    """The ten best of words [B, n, W] are found, but for ties to rounding, with right scores."""
    slots, scores = searched(words, queries, 10, metric=metric, compiled=compiled)
    if metric == "l2":
        true = -torch.cdist(
            queries.double(), words.double(), compute_mode="donot_use_mm_for_euclid_dist"
        ).square()
        size = true.abs()
    else:
        size = queries.double().norm(dim=2)[..., None] * words.double().norm(dim=2)[:, None]
        true = queries.double() @ words.double().mT
        true, size = (true / size, size / size) if metric == "cosine" else (true, size)
    assert bool((slots >= 0).all())
    # Rounding is relative, and at least of a few of the smallest steps between numbers.
    step = 4 * words.shape[2] * torch.finfo(torch.float32).smallest_normal * 2**-23
    found, off = true.gather(2, slots), 1e-6 * size.gather(2, slots) + step
    best = true.topk(10).values
    assert bool((found >= best - off).all()), "a better word was missed"
    assert bool(((scores.double() - found).abs() <= off).all())


@pytest.mark.parametrize("compiled", FORMS)
@pytest.mark.parametrize("metric", METRICS)
def test_many_equal_words(metric: Metric, compiled: bool) -> None:
    """Of 8,192 words 7,000 are equal, and the query is too; under dot some are longer."""
    words = draw(2, 8192, 6, dtype=torch.float32)
    words[:, :7000] = torch.ones(6)
    for count in (1, 9):
        queries = torch.ones(2, count, 6)
        slots, scores = searched(words, queries, 10, metric=metric, compiled=compiled)
        found = torch.from_numpy(scores_of(words[:, ::100], queries, metric)).amax(2)
        assert bool((scores >= found.unsqueeze(2) - 1e-5).all())
        for row in slots.flatten(0, 1).tolist():
            assert len(set(row)) == 10 and min(row) >= 0
            assert metric == "dot" or max(row) < 7000


def test_recall_does_not_depend_on_the_scale() -> None:
    """It was 1 for whatever words of a length of 1e-4, and for a miss among scores of 0."""
    for length in (1e-15, 1.0, 1e15):
        words, queries = (length * draw(1, n, 4, dtype=torch.float64) for n in (50, 3))
        for metric in ("dot", "l2"):
            near = make_index(IndexConfig(metric=metric), batch_size=1, capacity=50, word_size=4)
            near.load(words)
            exact, worse = near.search(queries, 5), near.search(queries, 10)
            worse = type(worse)(*(part[..., 5:] for part in worse))
            assert recall_at_k(exact, exact).tolist() == [[1.0] * 3]
            assert recall_at_k(worse, exact).tolist() == [[0.0] * 3]
