"""The layer below a model: for one-hot inputs, or for images."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sam.errors import ConfigError

_CHANNELS = 8, 32  # of the two convolutions


class InputEmbedding(nn.Linear):
    """A linear map for one-hot inputs.

    Its weights are drawn from N(0, 1), as those of nn.Embedding, so that different one-hot inputs
    look as different to the controller as dense ones of unit variance do. Without it a one-hot
    input of many channels hardly moves a controller that has just been initialised.
    """

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.normal_(self.weight)


class ImageEmbedding(nn.Module):
    """Features of an image, for inputs of which the first S^2 are one of S x S pixels.

        relu(norm(conv_3x3, stride 2)), of 8 and then of 32 channels;  norm(linear)

    with batch normalisation (Ioffe and Szegedy 2015), as the embeddings of matching networks have
    it (Vinyals et al. 2016). It takes away what all images have in common, or else all of them look
    alike to a content-based memory. The other inputs come after the features, as they are.

    In training the statistics are those of all steps and rows of a call, so its sequences are not
    independent of one another; otherwise they are the running ones.

    Args:
        input_size: I, at least S^2.
        image_size: S, pixels of a side.
        num_features: E, of the image; the output is [..., E + I - S^2].
        device, dtype: of the parameters; torch's defaults without them.

    Raises:
        ConfigError: a size is not positive, or an image has more pixels than there are inputs.

    Cost: O(S^2 E) time a step and row, of all steps at once.
    """

    def __init__(
        self,
        input_size: int,
        image_size: int,
        num_features: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if not isinstance(image_size, int) or image_size < 1:
            raise ConfigError(f"image_size: expected an integer of at least 1, got {image_size!r}")
        if image_size**2 > input_size:
            raise ConfigError(
                f"image_size: expected at most input_size={input_size} pixels, got "
                f"{image_size} x {image_size}"
            )
        super().__init__()
        kind: Any = {"device": device, "dtype": dtype}
        self.in_features, self.image_size = input_size, image_size
        self.num_features = num_features
        self.out_features = image_width(input_size, image_size, num_features)
        few, many = _CHANNELS
        side = (image_size + 3) // 4  # each convolution halves it, rounded up
        # Their biases would be taken away by the normalisation after them.
        self.first = nn.Conv2d(1, few, 3, 2, 1, bias=False, **kind)
        self.first_norm = Normalisation(few, **kind)
        self.second = nn.Conv2d(few, many, 3, 2, 1, bias=False, **kind)
        self.second_norm = Normalisation(many, **kind)
        self.linear = nn.Linear(many * side**2, num_features, bias=False, **kind)
        self.norm = Normalisation(num_features, **kind)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.image_size}, {self.num_features}"

    def forward(self, inputs: Tensor) -> Tensor:
        """Embeds inputs [..., I]."""
        pixels, others = inputs.split(
            [self.image_size**2, self.in_features - self.image_size**2], -1
        )
        found = pixels.reshape(-1, 1, self.image_size, self.image_size)
        found = self.first_norm(self.first(found)).relu()
        found = self.second_norm(self.second(found)).relu()
        found = self.norm(self.linear(found.flatten(1)))
        return torch.cat([found.view(*inputs.shape[:-1], self.num_features), others], -1)


class Normalisation(nn.BatchNorm2d):
    """Batch normalisation of [n, C] or [n, C, S, S]; of a single number a channel by the running
    statistics, in training too, where torch's own raises an error."""

    def forward(self, input: Tensor) -> Tensor:
        alone = input.numel() <= self.num_features
        training = self.training and not alone
        if training:
            self.num_batches_tracked.add_(1)  # type: ignore[union-attr]
        return functional.batch_norm(
            input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            training,
            self.momentum or 0.0,
            self.eps,
        )


def image_width(input_size: int, image_size: int, num_features: int) -> int:
    """Width of what an `ImageEmbedding` puts out."""
    return num_features + input_size - image_size**2


def embedded_width(input_size: int, embedding_size: int | None, image_size: int | None) -> int:
    """Width of what `make_embedding` puts out, of sizes that were not checked."""
    if embedding_size is None:
        return input_size
    return (
        embedding_size
        if image_size is None
        else image_width(input_size, image_size, embedding_size)
    )


def make_embedding(
    input_size: int, embedding_size: int | None, image_size: int | None = None, **kind: Any
) -> InputEmbedding | ImageEmbedding | None:
    """An embedding of one-hot inputs, or of images where `image_size` is given; `kind` is its
    device and dtype.

    Returns:
        None without an `embedding_size`.

    Raises:
        ConfigError: an `image_size` without `embedding_size`, or with too many pixels.
    """
    if image_size is not None:
        if embedding_size is None:
            raise ConfigError("image_size: expected embedding_size as well, got none")
        return ImageEmbedding(input_size, image_size, embedding_size, **kind)
    if embedding_size is None:
        return None
    return InputEmbedding(input_size, embedding_size, bias=False, **kind)
