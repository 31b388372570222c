"""Causal attention, to stand beside the memories; `register_attention` makes it a name.

A layer looks at all steps so far, so that a step costs the more the longer the sequence is. Of one
layer a short convolution is needed to find a value by its key: a step's query is compared with the
keys of other steps, and the key token stands one step before its value.
"""

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from sam.errors import ConfigError
from sam.setting_checks import check_sizes


class AttentionLayer(nn.Module):
    """Attention of a step to itself and those before it, and a feed-forward part, both residual.

    Queries, keys and values each pass a causal depthwise convolution: a channel of them is a
    weighted sum of those of the last `taps` steps.

    Args:
        width: D, of the inputs and outputs.
        num_heads: heads, of D / heads channels each.
        taps: steps that the convolution sees, this one included.

    Cost: O(T^2 D + T D^2) time, and O(T D) bytes, for each batch row.
    """

    def __init__(self, width: int, num_heads: int, taps: int) -> None:
        super().__init__()
        self.num_heads, self.taps = num_heads, taps
        self.norm, self.inner_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.project = nn.Linear(width, 3 * width)
        self.convolution = nn.Conv1d(3 * width, 3 * width, taps, groups=3 * width)
        self.join = nn.Linear(width, width)
        self.inner = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Takes and returns [B, T, D]."""
        channels = self.project(self.norm(inputs)).transpose(1, 2)
        mixed = self.convolution(functional.pad(channels, (self.taps - 1, 0)))
        heads = mixed.unflatten(1, (3, self.num_heads, -1)).transpose(3, 4)  # [B, 3, H, T, D / H]
        query, key, value = (part.contiguous() for part in heads.unbind(1))
        found = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        joined = inputs + self.join(found.transpose(1, 2).flatten(2))
        return joined + self.inner(self.inner_norm(joined))


class NoState(NamedTuple):
    """What a model returns that carries nothing on."""

    trace: None = None  # what was read is not recorded


class Attention(nn.Module):
    """Layers of causal attention over a linear embedding, called like the models of the library.

    There are no encodings of positions beside the convolutions, so that it can be asked at lengths
    that it was not trained on. No state is carried on: each call is a sequence from its beginning.

    Args:
        input_size: I.
        output_size: O.
        width: D, of the embedding and the layers.
        num_heads: heads of a layer.
        num_layers: layers.
        taps: see `AttentionLayer`.

    Raises:
        ConfigError: a size is not positive, or `width` no multiple of `num_heads`.
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        *,
        width: int = 128,
        num_heads: int = 1,
        num_layers: int = 1,
        taps: int = 4,
    ) -> None:
        check_sizes(width=width, num_heads=num_heads, num_layers=num_layers, taps=taps)
        if width % num_heads:
            raise ConfigError(f"width: expected a multiple of num_heads={num_heads}, got {width}")
        super().__init__()
        self.embedding = nn.Linear(input_size, width, bias=False)
        self.layers = nn.ModuleList(
            AttentionLayer(width, num_heads, taps) for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, output_size)

    def forward(
        self, inputs: Tensor, state: NoState | None = None, *, trace: bool = False
    ) -> tuple[Tensor, NoState]:
        """Takes [T, B, I], and returns outputs [T, B, O]; each call begins anew."""
        features: Tensor = self.embedding(inputs.transpose(0, 1))
        for layer in self.layers:
            features = layer(features)
        return self.output(self.norm(features)).transpose(0, 1), NoState()
