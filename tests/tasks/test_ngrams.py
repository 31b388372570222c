"""N-grams: inputs, targets, the distribution, and the optimal predictor against counting."""

import math

import pytest
import torch
from torch import Tensor

from sam.errors import ConfigError
from sam.tasks import Batch, NGrams
from sam.tasks.ngrams import optimal_bits


def counted(bits: list[int], context: int) -> float:
    """The optimal predictor's cross-entropy, by counting in a dict."""
    seen: dict[tuple[int, ...], list[int]] = {}
    cost = 0.0
    for t, bit in enumerate(bits):
        if t < context:
            cost += 1
            continue
        zeros_and_ones = seen.setdefault(tuple(bits[t - context : t]), [0, 0])
        chance = (zeros_and_ones[bit] + 0.5) / (sum(zeros_and_ones) + 1)
        cost -= math.log2(chance)
        zeros_and_ones[bit] += 1
    return cost


def test_each_bit_is_shown_at_the_step_after_it(generator: torch.Generator) -> None:
    batch = NGrams().sample(3, generator=generator, level=9)
    assert batch.inputs.shape == (9, 3, 2) and batch.targets.shape == (9, 3, 1)
    assert not batch.inputs[0].any()
    assert torch.equal(batch.inputs[1:].argmax(2), batch.targets[:-1, :, 0].long())
    assert torch.equal(batch.inputs[1:].sum(2), torch.ones(8, 3))
    assert batch.mask.all()
    assert batch.slices["length"].tolist() == [9, 9, 9]


@pytest.mark.parametrize(
    ("context", "length"), [(1, 40), (3, 200), (5, 200), (5, 5), (5, 6), (4, 2)]
)
def test_the_optimal_predictor_counts(
    context: int, length: int, generator: torch.Generator
) -> None:
    batch = NGrams(context=context).sample(6, generator=generator, level=length)
    bits = batch.targets[:, :, 0].long()
    expected = torch.tensor([counted(row, context) for row in bits.T.tolist()])
    torch.testing.assert_close(optimal_bits(bits, context).float(), expected)


def test_the_optimum_is_that_of_the_paper(generator: torch.Generator) -> None:
    bits = NGrams().sample(3000, generator=generator).targets[:, :, 0].long()
    assert abs(float(optimal_bits(bits, 5).mean()) - 133.3) < 1.5  # its standard error is .35


def test_contexts_have_probabilities_of_their_own(generator: torch.Generator) -> None:
    """After the same context the same coin is thrown: of long runs most coins are unfair."""
    bits = NGrams(context=1).sample(400, generator=generator, level=2000).targets[:, :, 0]
    after_one = _share(bits, bits[:-1] == 1)
    after_zero = _share(bits, bits[:-1] == 0)
    # Beta(1/2, 1/2) lies below .1 or above .9 with probability .41, and both are independent.
    for share in (after_one, after_zero):
        assert abs(float(((share < 0.1) | (share > 0.9)).float().mean()) - 0.41) < 0.08
        assert abs(float(share.mean()) - 0.5) < 0.08
    both = torch.corrcoef(torch.stack([after_one, after_zero]))
    assert abs(float(both[0, 1])) < 0.2


def _share(bits: Tensor, where: Tensor) -> Tensor:
    """Of each sequence, the share of ones among the bits after the marked ones."""
    return (bits[1:] * where).sum(0) / where.sum(0).clamp(min=1)


def test_measures_of_a_fair_coin(generator: torch.Generator) -> None:
    task = NGrams()
    batch: Batch = task.sample(4, generator=generator)
    measures = task.measures(torch.zeros(200, 4, 1), batch)
    optimal = optimal_bits(batch.targets[:, :, 0].long(), 5)
    torch.testing.assert_close(measures["optimal bits"], optimal)
    torch.testing.assert_close(measures["above optimal %"], 100 * (200 / optimal - 1))


def test_bad_settings_are_named() -> None:
    with pytest.raises(ConfigError, match="context: expected a whole number >= 1, got 0"):
        NGrams(context=0)
    with pytest.raises(ConfigError, match="context: expected at most 16, got 17"):
        NGrams(context=17)
    with pytest.raises(ConfigError, match="min_length: expected at most max_length=100, got 200"):
        NGrams(max_length=100)
