"""Images embedded by convolutions: the equations by hand, what passes on, bad sizes."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from sam.errors import ConfigError
from sam.models import SAM, load_model, save_model
from sam.models.image_embedding import ImageEmbedding


def by_hand(image: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A 3 x 3 convolution of [C, s, s] at every second place, with a frame of zeros, and relu."""
    framed = functional.pad(image, (1, 1, 1, 1))
    places = range(0, image.shape[1], 2)
    patches = [[framed[:, y : y + 3, x : x + 3] for x in places] for y in places]
    found = [[(weight * patch).sum((1, 2, 3)) + bias for patch in row] for row in patches]
    return torch.stack([torch.stack(row, 1) for row in found], 1).relu()


@pytest.mark.parametrize("side", [4, 5, 7])
def test_the_embedding_by_hand(side: int) -> None:
    torch.manual_seed(0)
    layer = ImageEmbedding(side**2 + 3, side, 6, dtype=torch.float64)
    inputs = torch.randn(2, 3, side**2 + 3, dtype=torch.float64)
    found = layer(inputs)
    assert found.shape == (2, 3, 9) and layer.out_features == 9
    assert torch.equal(found[..., 6:], inputs[..., side**2 :])
    for place in ((0, 0), (1, 2)):
        image = inputs[place][: side**2].view(1, side, side)
        for step in (layer.first, layer.second):
            assert step.bias is not None
            image = by_hand(image, step.weight, step.bias)
        expected = layer.linear.weight @ image.flatten() + layer.linear.bias
        torch.testing.assert_close(found[place][:6], expected, rtol=0, atol=1e-10)


def test_a_model_with_images(tmp_path) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    model = SAM(30, 4, image_size=5, embedding_size=7, hidden_size=8, memory_size=16)
    assert model.input_size == 30 and model.cell.input_size == 7 + 5
    inputs = torch.randn(6, 2, 30)
    outputs, _ = model(inputs)
    outputs.sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and bool(parameter.grad.any()), name
    save_model(model, tmp_path / "model.safetensors")
    again, _ = load_model(tmp_path / "model.safetensors")(inputs)
    assert torch.equal(again, outputs)


@pytest.mark.parametrize("side", [3, 6, 2.5, None])
def test_sizes_that_do_not_fit(side: object) -> None:
    with pytest.raises(ConfigError, match="image_size: expected a side of at least 4"):
        ImageEmbedding(30, side, 7)  # type: ignore[arg-type]
