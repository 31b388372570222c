"""The attention that stands beside the memories."""

import math

import pytest
import torch
from torch import Tensor

from benchmarks.learning.attention import Attention, AttentionLayer
from sam.errors import ConfigError


def attended(layer: AttentionLayer, inputs: Tensor) -> Tensor:
    """The layer in loops over steps and heads, [T, D] of one batch row."""
    projected = layer.project(layer.norm(inputs))
    weights, bias = layer.convolution.weight, layer.convolution.bias
    assert bias is not None
    mixed = []
    for step in range(len(inputs)):
        taps = range(max(0, step - layer.taps + 1), step + 1)
        mixed.append(sum(weights[:, 0, tap - step - 1] * projected[tap] for tap in taps) + bias)
    query, key, value = torch.stack(mixed).chunk(3, dim=1)
    parts = []
    for head in range(layer.num_heads):
        size = inputs.shape[1] // layer.num_heads
        own = slice(head * size, (head + 1) * size)
        rows = []
        for step in range(len(inputs)):
            scores = key[: step + 1, own] @ query[step, own] / math.sqrt(size)
            rows.append(scores.softmax(dim=0) @ value[: step + 1, own])
        parts.append(torch.stack(rows))
    joined = inputs + layer.join(torch.cat(parts, dim=1))
    return joined + layer.inner(layer.inner_norm(joined))


@pytest.mark.parametrize("taps", [1, 3])
def test_a_layer_is_its_loops(taps: int) -> None:
    torch.manual_seed(0)
    layer = AttentionLayer(8, 2, taps).double()
    inputs = torch.randn(2, 5, 8, dtype=torch.float64, requires_grad=True)
    fast, slow = layer(inputs), torch.stack([attended(layer, row) for row in inputs])
    assert torch.allclose(fast, slow, atol=1e-12)
    leaves = [inputs, *layer.parameters()]
    along = torch.randn_like(fast)
    for one, other in zip(
        torch.autograd.grad(fast, leaves, along),
        torch.autograd.grad(slow, leaves, along),
        strict=True,
    ):
        assert torch.allclose(one, other, atol=1e-12)


def test_later_steps_change_nothing() -> None:
    torch.manual_seed(0)
    model = Attention(6, 3, width=8, num_layers=2)
    inputs = torch.randn(7, 2, 6)
    changed = inputs.clone()
    changed[4:] = 0
    before, state = model(inputs)
    after, _ = model(changed, state)
    assert before.shape == (7, 2, 3)
    assert torch.allclose(before[:4], after[:4], atol=1e-6)
    assert not torch.allclose(before[4:], after[4:], atol=1e-3)


def test_sizes_are_checked() -> None:
    with pytest.raises(ConfigError, match="taps"):
        Attention(6, 3, taps=0)
    with pytest.raises(ConfigError, match="width: expected a multiple of num_heads=3, got 8"):
        Attention(6, 3, width=8, num_heads=3)
