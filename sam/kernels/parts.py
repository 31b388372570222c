"""The tensors of a standard cell that get gradients."""

from typing import NamedTuple

from torch import Tensor


class Parameters(NamedTuple):
    """Of `nn.LSTMCell` and of the interface's linear layer."""

    weight_ih: Tensor  # [4 C, I + H W]
    weight_hh: Tensor  # [4 C, C]
    bias_ih: Tensor  # [4 C]
    bias_hh: Tensor  # [4 C]
    weight: Tensor  # [P, C]
    bias: Tensor  # [P]


class Carried(NamedTuple):
    """The differentiable part of the state between two steps."""

    hidden: Tensor  # h, [B, C]
    cell: Tensor  # c, [B, C]
    reads: Tensor  # r, [B, H W]
    values: Tensor  # w^R, [B, H, K]
