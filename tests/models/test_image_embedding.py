"""The embedding of images: its equations, what it leaves alone, and models above it."""

from typing import Any

import pytest
import torch
from torch.nn import functional

from sam import load_model, save_model
from sam.embedding import ImageEmbedding
from sam.errors import ConfigError
from sam.models import make_model
from tests.models.cases import SETTINGS, draw

SIDE, OTHERS, FEATURES = 6, 3, 4
IN = SIDE**2 + OTHERS
names = pytest.mark.parametrize("name", sorted(SETTINGS))


def embedding() -> Any:
    torch.manual_seed(3)
    return ImageEmbedding(IN, SIDE, FEATURES, dtype=torch.float64)


def build(name, **more) -> Any:
    torch.manual_seed(3)
    sizes = {"embedding_size": FEATURES, "image_size": SIDE}
    return make_model(name, IN, 2, **SETTINGS[name], **sizes, **more).double()


def convolved(images, weight):
    """A 3 x 3 convolution of stride 2 with a margin of one, by loops; images [n, C, S, S]."""
    side = images.shape[-1]
    framed = torch.zeros(*images.shape[:2], side + 2, side + 2, dtype=images.dtype)
    framed[:, :, 1:-1, 1:-1] = images
    places = range(0, side, 2)
    rows = [
        torch.stack(
            [(framed[:, None, :, y : y + 3, x : x + 3] * weight).flatten(2).sum(2) for x in places],
            2,
        )
        for y in places
    ]
    return torch.stack(rows, 2)


def normalised(values, norm):
    """By mean and variance over all but the channels."""
    over = [0, *range(2, values.dim())]
    mean, variance = values.mean(over, keepdim=True), values.var(over, False, keepdim=True)
    shape = [1, -1] + [1] * (values.dim() - 2)
    scaled = (values - mean) / (variance + norm.eps).sqrt()
    return scaled * norm.weight.view(shape) + norm.bias.view(shape)


def test_values_are_those_of_its_equations():
    layer, inputs = embedding(), draw(5, 2, IN)
    with torch.no_grad():
        for norm in (layer.first_norm, layer.second_norm, layer.norm):
            norm.weight.copy_(torch.rand_like(norm.weight) + 0.5)
            norm.bias.copy_(torch.randn_like(norm.bias))
        images = inputs[..., : SIDE**2].reshape(10, 1, SIDE, SIDE)
        found = normalised(convolved(images, layer.first.weight), layer.first_norm).clamp(min=0)
        found = normalised(convolved(found, layer.second.weight), layer.second_norm).clamp(min=0)
        found = normalised(found.flatten(1) @ layer.linear.weight.T, layer.norm)
        expected = torch.cat([found.view(5, 2, FEATURES), inputs[..., SIDE**2 :]], -1)
        assert torch.allclose(layer(inputs), expected, atol=1e-10)
    assert layer.out_features == expected.shape[-1]


def test_gradients_are_those_of_finite_differences():
    layer = embedding().eval()
    layer(draw(5, 2, IN))
    inputs = draw(1, 2, IN).requires_grad_()
    assert torch.autograd.gradcheck(lambda *_: layer(inputs), (inputs, *layer.parameters()))


def test_what_all_images_share_is_taken_away():
    """Without it, images that share most of their pixels look alike to a memory."""
    layer = embedding()
    inputs = draw(200, 1, IN) + 5 * draw(IN)
    with torch.no_grad():
        for _ in range(100):
            layer(inputs)
        features = layer.eval()(inputs)[:, 0, :FEATURES]
    assert features.mean(0).abs().max() < 0.05
    assert (features.std(0) - 1).abs().max() < 0.05


def test_a_single_image_is_normalised_by_the_running_statistics():
    layer, inputs = embedding(), draw(1, 1, IN)
    layer.first_norm.train(False)
    layer.second_norm.train(False)
    before = layer.norm.running_mean.clone()
    assert torch.equal(layer(inputs), layer.eval()(inputs))
    assert torch.equal(layer.norm.running_mean, before)
    assert layer.norm.num_batches_tracked == 0


@names
def test_a_call_equals_its_chunks_and_rows(name):
    model, inputs = build(name), draw(7, 3, IN)
    model(inputs)  # the running statistics are no longer those of a new layer
    model.eval()
    expected, _ = model(inputs)
    first, state = model(inputs[:4])
    second, _ = model(inputs[4:], state)
    assert torch.allclose(torch.cat([first, second]), expected, atol=1e-9)
    assert torch.allclose(model(inputs[:, 1:2])[0], expected[:, 1:2], atol=1e-9)


@names
def test_every_parameter_gets_a_gradient(name):
    model = build(name)
    model(draw(7, 3, IN))[0].square().sum().backward()
    for parameter in model.embedding.parameters():
        assert parameter.grad.isfinite().all() and parameter.grad.abs().max() > 0


@names
@pytest.mark.parametrize("shape", [(0, 3), (4, 0), (1, 1)])
def test_calls_without_steps_or_rows_or_with_one_image(name, shape):
    outputs, _ = build(name)(draw(*shape, IN))
    assert outputs.shape == (*shape, 2) and outputs.isfinite().all()


@names
def test_a_file_has_the_running_statistics(name, tmp_path):
    model, inputs = build(name), draw(7, 3, IN)
    model(inputs)
    save_model(model, tmp_path / "model")
    loaded = load_model(tmp_path / "model").eval()
    assert torch.equal(loaded(inputs)[0], model.eval()(inputs)[0])


def test_reset_draws_it_as_the_constructor_does():
    model, fresh = build("sam"), build("sam")
    model(draw(7, 3, IN))
    torch.manual_seed(3)
    model.reset_parameters()
    torch.manual_seed(3)
    fresh.reset_parameters()
    for name, value in model.state_dict().items():
        assert torch.equal(value, fresh.state_dict()[name]), name
    assert model.embedding.norm.running_mean.eq(0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 7, "embedding_size": 4}, "at most input_size=39 pixels, got 7 x 7"),
        ({"image_size": 0, "embedding_size": 4}, "image_size: expected an integer of at least 1"),
        ({"image_size": 6}, "image_size: expected embedding_size as well"),
    ],
)
@names
def test_wrong_sizes_are_refused(name, options, message):
    with pytest.raises(ConfigError, match=message):
        make_model(name, IN, 2, **options)


def test_a_layer_of_its_own_says_what_is_wrong():
    with pytest.raises(ConfigError, match="image_size: expected at most input_size=8 pixels"):
        ImageEmbedding(8, 3, 4)


def test_the_other_inputs_pass():
    inputs = draw(5, 2, IN)
    assert torch.equal(embedding()(inputs)[..., FEATURES:], inputs[..., SIDE**2 :])
    plain = ImageEmbedding(SIDE**2, SIDE, FEATURES, dtype=torch.float64)
    assert plain(inputs[..., : SIDE**2]).shape == (5, 2, FEATURES)
    assert functional.cosine_similarity(*plain(inputs[:2, :1, : SIDE**2]), dim=-1) < 1
