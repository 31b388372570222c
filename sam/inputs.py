"""What a sequence model is given: checked, unpacked, time first."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from sam.errors import NonFiniteError, ShapeError
from sam.shape_checks import check_shape
from sam.transforms import check_values

Starts = Tensor | np.ndarray | Sequence[bool] | Sequence[Sequence[bool]]
"""Where episodes begin: bool [T, B], [B, T] with `batch_first`, [T] without a batch."""


class SequenceInputs(NamedTuple):
    """Inputs of one call, in the layout the models work in."""

    inputs: Tensor  # [T, B, I]
    starts: Tensor | None  # bool [T, B]: a batch row begins a new episode
    lengths: Tensor | None  # int64 [B] on the CPU: steps of each row, where they differ
    within: Tensor | None  # bool [T, B]: which steps those are
    shortest: int  # steps that all rows take
    packed: PackedSequence | None  # what the inputs were unpacked from
    batched: bool = True  # else B is 1, and outputs are [T, O]

    def stretches(self) -> list[tuple[int, int]]:
        """First step, and the one behind the last, of each stretch: with it some batch row begins
        anew, with its other steps none does."""
        if len(self.inputs) == 0:
            return []
        if self.starts is None:
            return [(0, len(self.inputs))]
        begins = self.starts[1:].any(1).tolist()
        edges = [0, *(step for step, any_row in enumerate(begins, 1) if any_row)]
        return list(zip(edges, [*edges[1:], len(self.inputs)], strict=True))

    def active(self, step: int) -> Tensor | None:
        """Batch rows whose sequence has not ended at a step, bool [B]; None if that is all."""
        return None if self.within is None or step < self.shortest else self.within[step]

    def returned(self, outputs: Tensor, batch_first: bool) -> Tensor | PackedSequence:
        """Outputs [T, B, O] in the form that the inputs came in."""
        if not self.batched:
            return outputs.squeeze(1)
        if self.packed is None or self.lengths is None:
            return outputs.transpose(0, 1) if batch_first else outputs
        order, back = self.packed.sorted_indices, self.packed.unsorted_indices
        lengths = self.lengths
        if order is not None:
            outputs, lengths = outputs.index_select(1, order), lengths.sort(descending=True).values
        data = pack_padded_sequence(outputs, lengths).data
        return PackedSequence(data, self.packed.batch_sizes, order, back)


def check_inputs(
    inputs: Tensor | PackedSequence,
    input_size: int,
    starts: Starts | None,
    like: Tensor,
    batch_first: bool,
) -> SequenceInputs:
    """Checks what a sequence model was given and brings it into one form.

    Args:
        inputs: [T, B, I], or [B, T, I] with `batch_first`, or [T, I] for a batch of one; or packed
            sequences of different lengths, of which T is the longest. Under autocast float32 and
            half precision become the parameters' dtype.
        input_size: I.
        starts: bool [T, B], or [B, T] with `batch_first`, or [T] as the inputs; a tensor, an array
            or lists; or None.
        like: a parameter of the model, for device and dtype.
        batch_first: which layout the caller uses.

    Raises:
        ShapeError: type, shape, dtype or device is not what the model takes.
        NonFiniteError: an input is NaN or infinite.
        UnsupportedError: the call is exported or traced, or on the meta device.

    Cost: O(T B I). Away from the CPU it waits for the device, once or a few times a sequence, so
    that no step has to.
    """
    order = "B T" if batch_first else "T B"
    packed, lengths = None, None
    if isinstance(inputs, PackedSequence):
        check_shape("inputs.data", inputs.data, "steps I", {"I": input_size})
        packed = inputs
        inputs, lengths = pad_packed_sequence(packed, batch_first=batch_first)
    if not isinstance(inputs, Tensor):
        raise ShapeError(
            f"inputs: expected a tensor [{order} I] or a PackedSequence, "
            f"got {type(inputs).__name__}"
        )
    batched = inputs.dim() != 2
    if not batched:
        order, batch_first, inputs = "T", False, _checked(inputs, "T I", input_size, like)[:, None]
    else:
        inputs = _checked(inputs, f"{order} I", input_size, like)
    check_values(inputs)
    if not _is_finite(inputs):
        raise NonFiniteError("inputs: expected finite values, got NaN or infinity")
    if starts is not None:
        starts = _checked_starts(starts, order, inputs)
        starts = starts if batched else starts[:, None]
    if batch_first:
        inputs = inputs.transpose(0, 1)
        starts = None if starts is None else starts.transpose(0, 1)
    if lengths is None:
        return SequenceInputs(inputs, starts, None, None, len(inputs), None, batched)
    steps = torch.arange(len(inputs), device=inputs.device)
    within = steps[:, None] < lengths.to(inputs.device)
    if starts is not None:
        # Where a row has ended nothing begins: its state stays that after its last step.
        starts = starts & within
    return SequenceInputs(inputs, starts, lengths, within, int(lengths.min()), packed)


def _checked(inputs: Tensor, order: str, input_size: int, like: Tensor) -> Tensor:
    """Inputs of the shape that `order` spells, in the dtype of `like`."""
    check_shape("inputs", inputs, order, {"I": input_size})
    if inputs.dtype == like.dtype and inputs.device == like.device:
        return inputs
    if inputs.dtype in _AUTOCAST and torch.is_autocast_enabled(inputs.device.type):
        inputs = inputs.to(like.dtype)
    if inputs.dtype != like.dtype or inputs.device != like.device:
        raise ShapeError(
            f"inputs: expected {like.dtype} on {like.device} as the model's parameters, "
            f"got {inputs.dtype} on {inputs.device}"
        )
    return inputs


# What autocast converts for any module of torch.
_AUTOCAST = (torch.float16, torch.bfloat16, torch.float32)


def _checked_starts(starts: Starts, order: str, inputs: Tensor) -> Tensor:
    """Starts as a tensor: bool, of the shape that `order` spells, on the device of the inputs."""
    device = inputs.device
    if not isinstance(starts, Tensor):
        try:
            starts = torch.tensor(starts, device=device)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ShapeError(
                f"starts: expected bool [{', '.join(order.split())}], a tensor, an array or lists, "
                f"got {type(starts).__name__}: {error}"
            ) from error
    letters: list[str] = order.split()
    check_shape("starts", starts, order, dict(zip(letters, inputs.shape, strict=False)))
    if starts.dtype != torch.bool or starts.device != device:
        raise ShapeError(
            f"starts: expected bool on {device}, got {starts.dtype} on {starts.device}"
        )
    return starts


def _is_finite(inputs: Tensor) -> bool:
    # NaN and infinity stay in a sum, which takes far less time than to look at every number. Large
    # finite numbers can add up to infinity as well: only then every number is looked at.
    return math.isfinite(inputs.detach().sum().item()) or bool(inputs.isfinite().all())
