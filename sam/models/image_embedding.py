"""An embedding of small images by convolutions, for inputs that are an image and something else."""

import torch
from torch import Tensor, nn

from sam.errors import ConfigError

_CHANNELS = 8, 16  # of the two convolutions; each halves the image


class ImageEmbedding(nn.Module):
    """Two convolutions and a linear map in place of the pixels.

        e_t = [linear(relu(conv(relu(conv(image_t))))) ; rest_t]

    A single layer of a controller has to learn for each pixel anew what a stroke is; a convolution
    learns it once for all places. The convolutions are 3 x 3 and take every second place.

    Args:
        input_size: I, of which the first ``image_size^2`` are the pixels, a row after another.
        image_size: side of the images, at least 4.
        embedding_size: numbers that an image becomes.
        device, dtype: of the parameters; torch's defaults without them.

    Raises:
        ConfigError: the images are larger than the inputs, or a size is not a whole number, or too
            small.

    Cost: about ``12 image_size^2 (embedding_size / 6 + 15)`` multiplications an image.
    """

    def __init__(
        self,
        input_size: int,
        image_size: int,
        embedding_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if not isinstance(image_size, int) or image_size < 4 or image_size**2 > input_size:
            raise ConfigError(
                f"image_size: expected a side of at least 4, and no more pixels than the "
                f"{input_size} inputs, got {image_size!r}"
            )
        super().__init__()
        self.image_size, self.in_features = image_size, input_size
        self.out_features = embedding_size + input_size - image_size**2
        first, second = _CHANNELS
        self.first = nn.Conv2d(1, first, 3, 2, 1, device=device, dtype=dtype)
        self.second = nn.Conv2d(first, second, 3, 2, 1, device=device, dtype=dtype)
        side = (((image_size + 1) // 2) + 1) // 2
        self.linear = nn.Linear(second * side**2, embedding_size, device=device, dtype=dtype)
        for layer in (self.first, self.second):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs [..., I] to [..., embedding_size + I - image_size^2]."""
        pixels = self.image_size**2
        images = inputs[..., :pixels].reshape(-1, 1, self.image_size, self.image_size)
        found = self.second(self.first(images).relu()).relu()
        embedded = self.linear(found.flatten(1)).view(*inputs.shape[:-1], -1)
        return torch.cat([embedded, inputs[..., pixels:]], -1)
