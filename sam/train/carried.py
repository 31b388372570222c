"""State that is carried from batch to batch: truncated backpropagation through time."""

from typing import Any

from torch import Tensor, nn

from sam.tasks.task import Batch


def forward(model: nn.Module, batch: Batch, state: Any = None) -> tuple[Tensor, Any]:
    """Runs a model over a batch, from where the batch before ended if this one goes on from there.

    Args:
        model: called with inputs [T, B, I].
        batch: its `starts` say which rows begin anew; without them all do.
        state: after the batch before, or None. It is consumed.

    Returns:
        Outputs [T, B, O], and the state.
    """
    if batch.words is not None:
        begin: Any = model.initial_state
        return model(batch.inputs, begin(batch.inputs.shape[1], words=batch.words))
    if batch.starts is None:
        return model(batch.inputs)
    starts = batch.starts
    if state is None or bool(starts[0].all()):  # a fresh state begins anew by itself
        state, starts = None, starts.clone()
        starts[0] = False
    return model(batch.inputs, state, starts=starts if bool(starts.any()) else None)
