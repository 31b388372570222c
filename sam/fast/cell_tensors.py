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


class RecurrentState(NamedTuple):
    """The differentiable part of the state between two steps."""

    hidden: Tensor  # h, [B, C]
    cell: Tensor  # c, [B, C]
    reads: Tensor  # r, [B, H W]
    values: Tensor  # w^R, [B, H, K]


def data_addresses(carried: RecurrentState, slots: Tensor) -> tuple[int, ...]:
    """Where their numbers lie: somebody may have given a tensor other ones, by `data` or `set_`."""
    hidden, cell, reads, values = carried
    return (
        *(hidden.data_ptr(), cell.data_ptr(), reads.data_ptr()),
        *(values.data_ptr(), slots.data_ptr()),
    )
