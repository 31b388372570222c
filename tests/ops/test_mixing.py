"""Mixing of sparse read weights: NumPy loops, the plain form, finite differences."""

import numpy as np
import pytest
import torch

from sam.ops.mixing import mix_reads, mix_reads_plain
from sam.ops.ranking import add_and_keep, merge_repeats
from sam.ops.sparse import SparseWeights
from tests.reference.finite_differences import check_gradients

B, R = 3, 2


def draw(seed, *, high, links=6, words=3):
    """Modes, b, c and f: repeats within b and f and across all three, some pads, an empty head."""
    generator = torch.Generator().manual_seed(seed)

    def rand(*shape):
        return torch.rand(B, R, *shape, generator=generator).double()

    def weights(slots):
        return SparseWeights(slots, rand(slots.shape[2]) * (slots >= 0))

    def anywhere():
        return torch.randint(-1, high, (B, R, links), generator=generator)

    different = rand(high).argsort(2)[:, :, : min(words, high)]
    different[0, 0, 1:] = -1
    back, content, onwards = weights(anywhere()), weights(different), weights(anywhere())
    nothing = torch.zeros(B, dtype=torch.bool)
    nothing[-1] = True
    modes = rand(3) + 0.1
    return modes / modes.sum(2, keepdim=True), back.reset(nothing), content, onwards.reset(nothing)


@pytest.mark.parametrize("function", [mix_reads, mix_reads_plain])
@pytest.mark.parametrize("high", [2, 9, 1000])
def test_mix_follows_the_equation(function, high):
    modes, back, content, onwards = draw(high, high=high)
    top_k, merged = 3, 0
    found = function(modes, back, content, onwards, top_k)
    for b in range(B):
        for r in range(R):
            total = {}
            for mode, part in enumerate((back, content, onwards)):
                for slot, value in zip(part.slots[b, r].tolist(), part.values[b, r], strict=True):
                    merged += slot in total
                    total[slot] = total.get(slot, 0.0) + float(modes[b, r, mode] * value)
            best = sorted(total.items(), key=lambda pair: (-pair[1], pair[0]))
            best = [pair for pair in best if pair[1] > 0][:top_k]
            best += [(-1, 0.0)] * (top_k - len(best))
            assert found.slots[b, r].tolist() == [slot for slot, _ in best]
            np.testing.assert_allclose(found.values[b, r], [v for _, v in best], atol=1e-12)
    assert merged > 10, "slots must come repeatedly"
    assert (found.slots < 0).any() or high > 2


def test_equal_weights_keep_the_lower_slots():
    quarter = SparseWeights(torch.tensor([[[7, 2, 5, 3]]]), torch.full((1, 1, 4), 0.25))
    none = SparseWeights(quarter.slots[:, :, :0], quarter.values[:, :, :0])
    for function in (mix_reads, mix_reads_plain):
        found = function(torch.tensor([[[0.0, 1.0, 0.0]]]), none, quarter, none, 3)
        assert found.slots.tolist() == [[[2, 3, 5]]]


def test_a_mode_of_zero_takes_no_slots():
    _, back, content, onwards = draw(9, high=9)
    modes = torch.tensor([0.0, 1.0, 0.0]).double().expand(B, R, 3)
    for function in (mix_reads, mix_reads_plain):
        found = function(modes, back, content, onwards, 5)
        assert torch.equal(found.slots.sort(2).values[:, :, 2:], content.slots.sort(2).values)
        assert torch.equal(found.slots < 0, found.values == 0)


@pytest.mark.parametrize("high", [2, 9, 1000])
def test_gradients_equal_those_of_the_plain_form(high):
    modes, back, content, onwards = draw(high, high=high)
    results = []
    for function in (mix_reads, mix_reads_plain):
        leaves = [tensor.clone().requires_grad_() for tensor in (modes, content.values)]
        constant = [part.values.clone().requires_grad_() for part in (back, onwards)]
        found = function(
            leaves[0],
            SparseWeights(back.slots, constant[0]),
            SparseWeights(content.slots, leaves[1]),
            SparseWeights(onwards.slots, constant[1]),
            3,
        )
        (found.values * torch.arange(1.0, 4.0).double().roll(high)).sum().backward()
        assert all(part.grad is None for part in constant), "b and f are constants"
        results.append([found.slots, found.values.detach(), *(leaf.grad for leaf in leaves)])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
    chosen = (results[0][0][:, :, :, None] == content.slots[:, :, None]).any(2)
    assert (results[0][3] > 0).equal(chosen & (content.slots >= 0)) and chosen.any()
    assert (results[0][2] > 0).any()


def test_gradients_against_finite_differences():
    modes, back, content, onwards = draw(5, high=9)
    slots = mix_reads(modes, back, content, onwards, 3).slots

    def values(modes, values):
        given = modes, back, SparseWeights(content.slots, values), onwards
        found = mix_reads(*given, 3)
        assert torch.equal(found.slots, slots), "a perturbation must not change the choice"
        return found.values

    check_gradients(values, [modes, content.values])


@pytest.mark.parametrize("function", [mix_reads, mix_reads_plain])
def test_no_negative_weight_is_among_the_largest(function):
    """As of the slots that are not listed each has a larger one, 0."""
    modes = torch.tensor([[[0.5, 0.25, 0.25]]])
    none = SparseWeights(torch.tensor([[[-1]]]), torch.zeros(1, 1, 1))
    backward = SparseWeights(torch.tensor([[[4, 7, 2]]]), torch.tensor([[[-0.4, 0.2, -0.6]]]))
    content = SparseWeights(torch.tensor([[[2, 5]]]), torch.tensor([[[1.5, 0.2]]]))
    found = function(modes, backward, content, none, 6)
    assert found.slots.tolist() == [[[7, 2, 5, -1, -1, -1]]]
    torch.testing.assert_close(found.values, torch.tensor([[[0.1, 0.075, 0.05, 0.0, 0.0, 0.0]]]))


def test_repeats_are_added_up_at_the_first():
    slots = torch.tensor([[3, -1, 5, 3, 5, 3], [-1, -1, 2, 0, 1, 4]])
    values = torch.tensor([[1.0, 9.0, 2.0, 4.0, 8.0, 16.0], [1.0, 1.0, 1.0, 2.0, 3.0, 4.0]])
    found = merge_repeats(slots, values)
    assert found[0].tolist() == [[3, -1, 5, -1, -1, -1], [-1, -1, 2, 0, 1, 4]]
    assert found[1].tolist() == [[21.0, 0.0, 10.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 2.0, 3.0, 4.0]]


def test_of_equal_values_the_old_ones_are_kept_in_order():
    slots, values = torch.tensor([[8, 3, 5, -1]]), torch.tensor([[0.5, 0.25, 0.25, 0.0]])
    new_slots, new_values = torch.tensor([[1, 3, -1]]), torch.tensor([[0.5, 0.25, 0.0]])
    found = add_and_keep(slots, values, new_slots, new_values, 4)
    assert found[0].tolist() == [[8, 1, 3, 5]]
    assert found[1].tolist() == [[0.5, 0.5, 0.5, 0.25]]
    found = add_and_keep(slots, values, new_slots, new_values, 6)
    assert found[0].tolist() == [[8, 1, 3, 5, -1, -1]]
