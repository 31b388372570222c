"""What a sequence model is given: checked, unpacked, time first."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from sam.errors import NonFiniteError, ShapeError
from sam.shapes import check_shape


class Given(NamedTuple):
    """Inputs of one call, in the layout the models work in."""

    inputs: Tensor  # [T, B, I]
    starts: Tensor | None  # bool [T, B]: a batch row begins a new episode
    lengths: Tensor | None  # int64 [B] on the CPU: steps of each row, where they differ
    packed: PackedSequence | None  # what the inputs were unpacked from

    def begins(self) -> list[bool]:
        """For each step whether some batch row begins anew."""
        if self.starts is None:
            return [False] * len(self.inputs)
        return self.starts.any(1).tolist()

    def active(self, step: int) -> Tensor | None:
        """Batch rows whose sequence has not ended at a step, bool [B]; None if that is all."""
        if self.lengths is None or step < int(self.lengths.min()):
            return None
        return (self.lengths > step).to(self.inputs.device)

    def returned(self, outputs: Tensor, batch_first: bool) -> Tensor | PackedSequence:
        """Outputs [T, B, O] in the form that the inputs came in."""
        if self.packed is None or self.lengths is None:
            return outputs.transpose(0, 1) if batch_first else outputs
        order, back = self.packed.sorted_indices, self.packed.unsorted_indices
        lengths = self.lengths
        if order is not None:
            outputs, lengths = outputs.index_select(1, order), lengths[order.cpu()]
        data = pack_padded_sequence(outputs, lengths).data
        return PackedSequence(data, self.packed.batch_sizes, order, back)


def check_inputs(
    inputs: Tensor | PackedSequence,
    input_size: int,
    starts: Tensor | None,
    like: Tensor,
    batch_first: bool,
) -> Given:
    """Checks what a sequence model was given and brings it into one form.

    Args:
        inputs: [T, B, I], or [B, T, I] with `batch_first`; or packed sequences of different
            lengths, of which T is the longest.
        input_size: I.
        starts: bool [T, B], or [B, T] with `batch_first`, or None.
        like: a parameter of the model, for device and dtype.
        batch_first: which layout the caller uses.

    Raises:
        ShapeError: type, shape, dtype or device is not what the model takes.
        NonFiniteError: an input is NaN or infinite.
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
    check_shape("inputs", inputs, f"{order} I", {"I": input_size})
    if inputs.dtype != like.dtype or inputs.device != like.device:
        raise ShapeError(
            f"inputs: expected {like.dtype} on {like.device} as the model's parameters, "
            f"got {inputs.dtype} on {inputs.device}"
        )
    if not bool(inputs.isfinite().all()):
        raise NonFiniteError("inputs: expected finite values, got NaN or infinity")
    if starts is not None:
        sizes = {"T": inputs.shape[1 if batch_first else 0]}
        sizes["B"] = inputs.shape[0 if batch_first else 1]
        check_shape("starts", starts, order, sizes)
        if starts.dtype != torch.bool:
            raise ShapeError(f"starts: expected bool, got {starts.dtype}")
    if batch_first:
        inputs = inputs.transpose(0, 1)
        starts = None if starts is None else starts.transpose(0, 1)
    if starts is not None and lengths is not None:
        # Where a row has ended nothing begins: its state stays that after its last step.
        steps = torch.arange(len(starts), device=starts.device)
        starts = starts & (steps[:, None] < lengths.to(starts.device))
    return Given(inputs, starts, lengths, packed)
