"""What the hashes compute, against their definitions in loops and all buckets there are."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from index.centroids import Centroids
from index.ivf import Lists
from index.lsh import EqualLengthHyperplanes, Hyperplanes, lengthened
from index.product import Cells, split
from index.topk import argmax, select_words, topk

WIDTHS = [1, 2, 15, 16, 17, 255, 256, 257, 272, 512, 992, 1000]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("ties", [False, True])
def test_argmax_is_torchs(width: int, ties: bool) -> None:
    scores = torch.randint(5, (3, 40, width)).double() if ties else torch.randn(3, 40, width)
    values, positions = argmax(scores)
    assert torch.equal(values, scores.amax(-1))
    assert torch.equal(scores.gather(-1, positions.unsqueeze(-1)).squeeze(-1), values)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("ties", [False, True])
def test_highest_are_torchs(width: int, ties: bool) -> None:
    scores = torch.randint(5, (3, 20, width)).double() if ties else torch.randn(3, 20, width)
    for k in {1, min(4, width), min(16, width), min(63, width), width}:
        positions = topk(scores, k)
        assert positions.shape == (3, 20, k)
        assert torch.equal(scores.gather(-1, positions), scores.topk(k).values)
        assert (positions.sort(-1).values.diff(dim=-1) > 0).all(), "a position came twice"


@given(st.integers(1, 1000), st.integers(0, 999), st.integers(0, 2**16))
def test_any_width(width: int, k: int, seed: int) -> None:
    scores = torch.rand(1, 2, width, generator=torch.Generator().manual_seed(seed))
    k = 1 + k % width
    assert torch.equal(scores.gather(-1, topk(scores, k)), scores.topk(k).values)
    assert torch.equal(argmax(scores)[1], scores.argmax(-1))


def test_all_but_the_first_may_be_out_of_the_question() -> None:
    scores = torch.full((1, 1, 512), -torch.inf)
    scores[0, 0, 77] = -3.0
    assert argmax(scores)[1].item() == topk(scores, 5)[0, 0, 0].item() == 77


def test_select_words() -> None:
    scores = torch.randn(2, 3, 4)
    assert torch.equal(select_words(scores, None), scores.view(6, 4))
    assert torch.equal(select_words(scores, torch.tensor([4, 0])), scores[[1, 0], [1, 0]])


ZERO = torch.zeros((), dtype=torch.float64)  # the threshold of words around 0


def hyperplanes(
    bits: int, tables: int, *, through_origin: bool = False
) -> tuple[Hyperplanes, Tensor, Tensor]:
    """A hash of words of 5 numbers, its planes, and how far each is from the origin."""
    planes = torch.randn(5, tables * bits, dtype=torch.float64)
    thresholds = torch.randn(tables * bits, dtype=torch.float64)
    thresholds = ZERO.expand(tables * bits) if through_origin else thresholds
    return Hyperplanes(planes, thresholds, tables), planes, thresholds


@pytest.mark.parametrize("through_origin", [True, False])
@pytest.mark.parametrize(("bits", "tables"), [(1, 1), (3, 4), (12, 2)])
def test_lsh_codes_are_sides_of_hyperplanes(bits: int, tables: int, through_origin: bool) -> None:
    hashed, planes, thresholds = hyperplanes(bits, tables, through_origin=through_origin)
    assert (hashed.tables, hashed.lists, hashed.scores) == (tables, 2**bits, tables * bits)
    words = torch.randn(2, 7, 5, dtype=torch.float64)
    lists, error = hashed.choices(words)
    assert error is None
    for b, m, t in itertools.product(range(2), range(7), range(tables)):
        sides = [float(planes[:, t * bits + i] @ words[b, m]) for i in range(bits)]
        above = [sides[i] > thresholds[t * bits + i] for i in range(bits)]
        assert lists[b, m, t] == sum(2**i for i in range(bits) if above[i])
    assert torch.equal(hashed.probes(words, 1), lists.unsqueeze(3))
    if through_origin:
        assert torch.equal(hashed.choices(3 * words).lists, lists), "the length counts"


@pytest.mark.parametrize("through_origin", [True, False])
@pytest.mark.parametrize(("bits", "probes"), [(1, 2), (2, 3), (3, 8), (4, 16), (8, 3), (8, 200)])
def test_lsh_probes_are_the_nearest_of_all_buckets(
    bits: int, probes: int, through_origin: bool
) -> None:
    """By the sum of the squared margins of the hyperplanes crossed."""
    hashed, planes, thresholds = hyperplanes(bits, 3, through_origin=through_origin)
    queries = torch.randn(2, 9, 5, dtype=torch.float64)
    found = hashed.probes(queries, probes)
    assert found.shape == (2, 9, 3, probes)
    for b, q, t in itertools.product(range(2), range(9), range(3)):
        table = slice(t * bits, (t + 1) * bits)
        sides = (queries[b, q] @ planes[:, table] - thresholds[table]).tolist()

        def cost(code: int, sides: list[float] = sides) -> float:
            crossed = (s * s for i, s in enumerate(sides) if (code >> i) & 1 != (s > 0))
            return sum(crossed)

        best = sorted(range(2**bits), key=cost)[:probes]
        assert found[b, q, t].tolist() == best


def test_lsh_crosses_the_nearest_hyperplanes_only() -> None:
    """Of 12 planes a query crosses the 8 nearest to it."""
    bits, probes = 12, 256
    hashed, planes, thresholds = hyperplanes(bits, 2)
    assert hashed.most_probes == probes
    queries = torch.randn(2, 5, 5, dtype=torch.float64)
    found, own = hashed.probes(queries, probes), hashed.choices(queries).lists
    margins = (queries @ planes - thresholds).view(2, 5, 2, bits).square()
    near = margins.argsort(3)[..., :8]
    for b, q, t in itertools.product(range(2), range(5), range(2)):
        costs = {0: 0.0}
        for i in near[b, q, t].tolist():
            costs |= {code | 1 << i: cost + margins[b, q, t, i] for code, cost in costs.items()}
        best = sorted(costs, key=lambda code: costs[code])
        assert found[b, q, t].tolist() == [code ^ int(own[b, q, t]) for code in best]


def equal_length(
    words: Tensor, bits: int, tables: int, *, thresholds: Tensor = ZERO
) -> tuple[EqualLengthHyperplanes, Tensor]:
    """A hash for inner products with words, and its planes."""
    planes = torch.randn(6, tables * bits, dtype=torch.float64)
    thresholds = thresholds.expand(tables * bits)
    longest = words.norm(dim=2).max()
    return EqualLengthHyperplanes(planes, thresholds, tables, longest), planes


@pytest.mark.parametrize("metric", ["cosine", "dot"])
def test_lsh_agreement_tells_the_angle(metric: str) -> None:
    """P(bit of x = bit of y) = 1 - angle / pi; under dot, of the vectors with one number more."""
    words, queries = torch.randn(1, 6, 5).double(), 2 * torch.randn(1, 4, 5).double()
    hashed, x, y = hyperplanes(1, 20_000, through_origin=True)[0], words, queries
    if metric == "dot":
        hashed, _ = equal_length(words, 1, 20_000)
        rest = (words.norm(dim=2).max() ** 2 - words.square().sum(2)).clamp_min(0).sqrt()
        x = torch.cat((words, rest.unsqueeze(2)), 2)
        y = torch.cat((queries, torch.zeros(1, 4, 1)), 2)
    agree = hashed.choices(words).lists.unsqueeze(1) == hashed.probes(queries, 1).view(1, 4, 1, -1)
    cosines = (y @ x.mT) / y.norm(dim=2, keepdim=True) / x.norm(dim=2).unsqueeze(1)
    expected = 1 - cosines.acos() / math.pi
    # Five standard deviations of a share of 20,000.
    torch.testing.assert_close(agree.double().mean(3), expected, rtol=0, atol=0.018)
    if metric == "dot":  # all words are as long as one another, so the order is the metric's
        assert torch.equal(cosines.argsort(2), (queries @ words.mT).argsort(2))


def test_lsh_makes_words_equally_long_and_keeps_inner_products() -> None:
    words, queries = torch.randn(2, 9, 5).double(), torch.randn(2, 4, 5).double()
    longest = words.norm(dim=2).max()
    longer = lengthened(words, longest)
    torch.testing.assert_close(longer.norm(dim=2), longest.expand(2, 9))
    padded = torch.cat((queries, torch.zeros(2, 4, 1)), 2)
    torch.testing.assert_close(padded @ longer.mT, queries @ words.mT)


def test_lsh_compares_queries_as_long_as_words_with_thresholds() -> None:
    """Under dot the length of a query says nothing, whatever the thresholds."""
    words, queries = 3 * torch.randn(2, 40, 5).double(), torch.randn(2, 9, 5).double()
    thresholds = 3 * torch.randn(3 * 4, dtype=torch.float64)
    hashed, planes = equal_length(words, 4, 3, thresholds=thresholds)
    scaled = queries * (words.norm(dim=2).max() / queries.norm(dim=2, keepdim=True))
    plain = Hyperplanes(planes[:5], thresholds, 3)
    expected = plain.probes(scaled, 4)
    for length in (1.0, 1e-9, 1e9):
        assert torch.equal(hashed.probes(length * queries, 4), expected)
    assert not torch.equal(plain.probes(queries, 4), expected), "or it would be no wonder"


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_lsh_knows_what_to_do_with_nothing(metric: str) -> None:
    zero = torch.zeros(1, 1, 5, dtype=torch.float64)
    hashed, _, thresholds = hyperplanes(4, 3, through_origin=metric == "cosine")
    longer = 5 * torch.ones(1, 1, 5, dtype=torch.float64)  # than any when the tables were made
    if metric == "dot":
        known = torch.ones(1, 1, 5, dtype=torch.float64)
        hashed, planes = equal_length(known, 4, 3, thresholds=thresholds)
        plain = Hyperplanes(planes[:5], thresholds, 3)  # there is no number left to append
        assert torch.equal(hashed.choices(longer).lists, plain.choices(longer).lists)
    codes = hashed.choices(torch.cat((zero, longer), 1)).lists
    assert ((codes >= 0) & (codes < 16)).all()
    probes = hashed.probes(zero, 16).sort(3).values
    assert torch.equal(probes, torch.arange(16).expand(1, 1, 3, 16))


def order(scores: list[float], count: int) -> list[int]:
    """Positions of the lowest, in order."""
    return sorted(range(len(scores)), key=scores.__getitem__)[:count]


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize(("lists", "dead"), [(1, 0), (3, 1), (20, 4), (272, 200)])
def test_ivf_lists_are_the_nearest(metric, offset: float, lists: int, dead: int) -> None:
    """Of those in use; far from the origin too, where all is computed around a center."""
    center = offset * torch.ones(2, 1, 4, dtype=torch.float64)
    centroids = torch.randn(2, lists, 4, dtype=torch.float64)
    alive = torch.arange(lists).expand(2, -1) >= dead
    words, queries = center + torch.randn(2, 6, 4).double(), center + torch.randn(2, 3, 4).double()
    hashed = Lists(Centroids(centroids, alive, center), metric)
    assert hashed.scores == hashed.lists == hashed.most_probes == lists
    chosen, error = hashed.choices(words)
    assert error is None and chosen.shape == (2, 6, 1)
    for b, m in itertools.product(range(2), range(6)):
        distances = [float((words[b, m] - center[b] - c).norm()) for c in centroids[b, dead:]]
        assert chosen[b, m].item() == dead + order(distances, 1)[0]
    found = hashed.probes(queries, lists)
    assert found.shape == (2, 3, 1, lists)
    assert (found[..., lists - dead :] == -1).all()
    for b, q in itertools.product(range(2), range(3)):
        query = queries[b, q]
        if metric == "dot":
            badness = [-float(query @ c) for c in centroids[b, dead:]]
        else:
            badness = [float((query - center[b] - c).norm()) for c in centroids[b, dead:]]
        best = [dead + i for i in order(badness, lists)]
        assert found[b, q, 0, : lists - dead].tolist() == best
        assert hashed.probes(queries[b : b + 1], 1, b)[0, q].item() == best[0], "of one memory"


def halves(vector: Tensor) -> tuple[list[float], list[float]]:
    """The first half is the longer one; of one number both are the whole."""
    numbers = vector.tolist()
    middle = (len(numbers) + 1) // 2
    if len(numbers) == 1:
        return numbers, numbers
    return numbers[:middle], numbers[middle:] + [0.0] * (len(numbers) % 2)


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize("width", [1, 2, 5, 8])
@pytest.mark.parametrize(("entries", "probes"), [(1, 1), (2, 3), (7, 16), (272, 16), (5, 25)])
def test_product_cells_are_the_nearest(metric, width: int, entries: int, probes: int) -> None:
    books = torch.randn(4, entries, (width + 1) // 2, dtype=torch.float64)
    words, queries = torch.randn(2, 4, width).double(), torch.randn(2, 2, width).double()
    center = torch.zeros(2, 1, width, dtype=torch.float64)
    hashed = Cells(books, center, metric)
    lists, error = hashed.choices(words)
    assert error is not None
    assert (hashed.lists, hashed.scores, hashed.tables) == (entries**2, 2 * entries, 1)

    def costs(vector: Tensor, b: int, by_product: bool) -> list[list[float]]:
        """How far each half is from each entry."""
        parts = [torch.tensor(half).double() for half in halves(vector)]
        if by_product:
            return [[-float(x @ c) for c in books[2 * b + h]] for h, x in enumerate(parts)]
        return [
            [float((x - c).square().sum()) for c in books[2 * b + h]] for h, x in enumerate(parts)
        ]

    for b, m in itertools.product(range(2), range(4)):
        one, two = costs(words[b, m], b, False)
        assert lists[b, m].item() == order(one, 1)[0] * entries + order(two, 1)[0]
        assert float(error[b, m]) == pytest.approx(min(one) + min(two), abs=1e-12)
    found = hashed.probes(queries, probes)
    assert found.shape == (2, 2, 1, probes)
    for b, q in itertools.product(range(2), range(2)):
        one, two = costs(queries[b, q], b, metric == "dot")
        sums = [x + y for x in one for y in two]
        assert found[b, q, 0].tolist() == order(sums, probes)


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize("width", [1, 4, 5])
def test_product_computes_around_its_center(metric, width: int) -> None:
    """Words far from the origin go where they would near it, and so do queries but under dot."""
    books = torch.randn(4, 7, (width + 1) // 2, dtype=torch.float64)
    words, queries = torch.randn(2, 4, width).double(), torch.randn(2, 3, width).double()
    center = torch.full((2, 1, width), 2.0**20, dtype=torch.float64)
    near, far = Cells(books, torch.zeros_like(center), metric), Cells(books, center, metric)
    words, queries = words.float().double(), queries.float().double()
    assert torch.equal(far.choices(words + center).lists, near.choices(words).lists)
    moved = queries if metric == "dot" else queries + center
    assert torch.equal(far.probes(moved, 9), near.probes(queries, 9))


@pytest.mark.parametrize("width", [1, 2, 5])
def test_halves_together_keep_distances(width: int) -> None:
    """But for words of one number, whose distances double: the order is the same."""
    words = torch.randn(2, 3, width)
    parts = split(words)
    assert parts.shape == (4, 3, (width + 1) // 2)
    lengths = parts.square().sum(2).view(2, 2, 3).sum(1)
    torch.testing.assert_close(lengths, words.square().sum(2) * (2 if width == 1 else 1))
