"""Centroids, against Lloyd's iteration in loops; and no index draws from the global generator."""

import numpy as np
import pytest
import torch
from torch import Tensor

from index import kmeans as kmeans_module
from index import make_index
from index.kmeans import half_squares, kmeans
from tests.index.oracle import CASES, config_of


def both(
    sample: Tensor, real: Tensor | None = None, count: int = 3, iterations: int = 1
) -> tuple[Tensor, Tensor]:
    """Centroids for seed 0, and how many words are nearest to each."""
    generator = torch.Generator().manual_seed(0)
    real = torch.ones(sample.shape[:2], dtype=torch.bool) if real is None else real
    return kmeans(sample, real, count, iterations=iterations, generator=generator)


def run(sample: Tensor, real: Tensor | None = None, count: int = 3, iterations: int = 1) -> Tensor:
    return both(sample, real, count, iterations)[0]


def lloyd(words: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """One iteration for one memory."""
    groups: list[list[np.ndarray]] = [[] for _ in centroids]
    for word in words:
        distances = [((word - c) ** 2).sum() for c in centroids]
        groups[int(np.argmin(distances))].append(word)
    means = [np.mean(g, 0) if g else c for g, c in zip(groups, centroids, strict=True)]
    return np.stack(means)


def error(words: Tensor, centroids: Tensor) -> float:
    return float(torch.cdist(words, centroids).amin(2).square().mean())


@pytest.mark.parametrize("at_once", [2**19, 40])
@pytest.mark.parametrize("count", [1, 3, 7])
def test_one_iteration_is_lloyds(monkeypatch, at_once: int, count: int) -> None:
    monkeypatch.setattr(kmeans_module, "SCORES_AT_ONCE", at_once)
    sample = torch.randn(2, 50, 4, dtype=torch.float64)
    found = run(sample, count=count)
    for b in range(2):
        words = sample[b].numpy()
        np.testing.assert_allclose(found[b], lloyd(words, words[:count]), atol=1e-12)


def test_without_iterations_they_are_the_first_real_words() -> None:
    sample = torch.randn(2, 6, 4)
    real = torch.tensor([[False, True, True, False, True, True], [True] * 6])
    found = run(sample, real, iterations=0)
    assert torch.equal(found, torch.stack((sample[0, [1, 2, 4]], sample[1, :3])))


@pytest.mark.parametrize("iterations", [1, 2, 4])
def test_what_is_no_word_does_not_count(iterations: int) -> None:
    """Far away, and in between: it must change nothing but the scale of random centroids."""
    sample = torch.randn(1, 30, 4, dtype=torch.float64)
    places = torch.randperm(80)[:30].sort().values
    padded = torch.full((1, 80, 4), 50.0, dtype=torch.float64)
    padded[:, places] = sample
    real = torch.zeros(1, 80, dtype=torch.bool)
    real[:, places] = True
    expected = run(sample, count=8, iterations=iterations)
    torch.testing.assert_close(run(padded, real, count=8, iterations=iterations), expected)


def test_centroids_beyond_the_words_do_not_begin_at_what_is_no_word() -> None:
    sample, real = torch.full((1, 20, 4), 50.0), torch.zeros(1, 20, dtype=torch.bool)
    sample[0, 3:8], real[0, 3:8] = torch.randn(5, 4), True
    found = run(sample, real, count=16, iterations=0)
    assert torch.equal(found[0, :5], sample[0, 3:8])
    assert not (found == 50).any()


@pytest.mark.parametrize("iterations", [1, 4])
def test_memories_do_not_mix(iterations: int) -> None:
    sample = torch.randn(3, 60, 4, dtype=torch.float64)
    sample[1] += 20
    sample[2] = sample[0]
    found = run(sample, count=8, iterations=iterations)
    for b in range(3):
        alone = run(sample[b : b + 1], count=8, iterations=iterations)
        torch.testing.assert_close(found[b], alone[0])
    assert not torch.equal(found[0], found[1] - 20)


@pytest.mark.parametrize("words", [0, 1, 5])
def test_more_centroids_than_words(words: int) -> None:
    sample = torch.randn(2, words, 4)
    real = torch.ones(2, words, dtype=torch.bool)
    found, counts = both(sample, real, count=16, iterations=4)
    assert found.shape == (2, 16, 4)
    assert counts.sum(1).tolist() == [words, words]
    if words == 0:
        return  # nothing is known of where they should be
    assert found.isfinite().all()
    assert ((counts > 0).sum(1) == words).all(), "each word has one of its own"
    assert error(sample, found) < 1e-6


@pytest.mark.parametrize("different", [1, 2, 9, 40])
@pytest.mark.parametrize("count", [4, 16, 30])
@pytest.mark.parametrize("seed", range(3))
def test_no_two_centroids_with_words_are_equal(different: int, count: int, seed: int) -> None:
    """Among many copies of few words. Otherwise a word and its copy could be in two lists."""
    random = torch.Generator().manual_seed(seed)
    kinds = torch.randn(2, different, 5, generator=random)
    which = (torch.rand(600, generator=random) ** 3 * different).long()
    sample = kinds[:, which]
    centroids, counts = both(sample, count=count, iterations=6)
    for b in range(2):
        alive = centroids[b, counts[b] > 0]
        assert 1 <= len(alive) <= min(count, different)
        assert len(alive.unique(dim=0)) == len(alive)
        assert counts[b].sum() == 600


def test_no_word_at_all() -> None:
    sample, real = torch.zeros(1, 5, 4), torch.zeros(1, 5, dtype=torch.bool)
    assert run(sample, real, count=4, iterations=4).isfinite().all()


def test_a_centroid_of_few_words_moves_to_where_many_are() -> None:
    """Three of four begin in a group of 3 words, where Lloyd's iterations alone leave them."""
    few = 100 + torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    many = torch.randn(60, 2)
    many[30:, 0] += 10
    sample = torch.cat((few, many)).unsqueeze(0).double()
    plain = sample[0, :4].numpy()
    for _ in range(2):
        plain = lloyd(sample[0].numpy(), plain)
    assert (plain[:, 0] > 50).sum() == 3
    found = run(sample, count=4, iterations=2)
    assert (found[0, :, 0] > 50).sum() == 2
    assert error(sample, found) < 0.3 * error(sample, torch.from_numpy(plain).unsqueeze(0))


def test_even_clusters_are_left_alone() -> None:
    """As many words at each: nothing moves after the first iteration."""
    centres = torch.tensor([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0], [9.0, 9.0]])
    sample = (centres.repeat(20, 1) + 0.1 * torch.randn(80, 2)).unsqueeze(0)
    once, often = (run(sample, count=4, iterations=i) for i in (1, 4))
    torch.testing.assert_close(once, often)


def test_a_centroid_moves_only_if_its_cluster_is_small() -> None:
    """One cluster is large, but none is smaller than half the mean."""
    centres = torch.tensor([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0], [9.0, 9.0]])
    words = centres.repeat_interleave(torch.tensor([10, 10, 10, 30]), 0)
    sample = torch.cat((centres, words)).unsqueeze(0)
    torch.testing.assert_close(run(sample, count=4, iterations=4)[0], centres)


def test_more_iterations_fit_better() -> None:
    sample = torch.randn(2, 400, 6)
    errors = [error(sample, run(sample, count=16, iterations=i)) for i in (0, 1, 4)]
    assert errors[0] > 1.1 * errors[1] > 1.1 * errors[2]


def test_half_squares() -> None:
    centroids, words = torch.randn(2, 9, 5), torch.randn(2, 7, 5)
    scores = words @ centroids.mT + half_squares(centroids)
    assert torch.equal(scores.argmax(2), torch.cdist(words, centroids).argmin(2))


@pytest.mark.parametrize("case", (*CASES, "lsh, always"))
def test_the_seed_decides_and_the_global_generator_is_left_alone(case: str) -> None:
    words, new = torch.randn(2, 700, 6), torch.randn(2, 40, 6)
    queries, slots = torch.randn(2, 5, 6), torch.arange(40).expand(2, -1)
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        index = make_index(config_of(case), batch_size=2, capacity=2**12, word_size=6)
        index.load(words)
        for _ in range(20):
            index.update(slots, new)
        index.update(slots + 2000, new)  # and now the tables grow
        found.append(index.search(queries, 8))
        index.reset(torch.tensor([True, False]))
        index.search(queries, 2)
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(found[0].slots, found[1].slots)
    assert torch.equal(found[0].scores, found[1].scores)
