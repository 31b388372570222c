"""The layer below a model whose inputs are one-hot."""

from typing import Any

from torch import nn


class InputEmbedding(nn.Linear):
    """A linear map for one-hot inputs.

    Its weights are drawn from N(0, 1), as those of nn.Embedding, so that different one-hot inputs
    look as different to the controller as dense ones of unit variance do. Without it a one-hot
    input of many channels hardly moves a controller that has just been initialised.
    """

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.normal_(self.weight)


def make_embedding(
    input_size: int, embedding_size: int | None, **kind: Any
) -> InputEmbedding | None:
    """An `InputEmbedding`, or None without a size; `kind` is its device and dtype."""
    if embedding_size is None:
        return None
    return InputEmbedding(input_size, embedding_size, bias=False, **kind)
