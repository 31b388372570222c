"""Putting a learner back to where a checkpoint has left it."""

from pathlib import Path
from typing import Any

import torch

from sam.errors import CheckpointError
from sam.state_files import load_state
from sam.train.checkpoint import Checkpoint, restore
from sam.train.learner import Learner
from sam.train.processes import ALONE, Processes


def resume(
    learner: Learner, checkpoint: Checkpoint, path: Path, processes: Processes = ALONE
) -> None:
    """Loads all that a learner changes.

    Args:
        learner: of a run with the checkpoint's settings.
        checkpoint: what `load_checkpoint` read.
        path: its file, for messages.
        processes: those that train together: each takes up its own carried state.

    Raises:
        CheckpointError: something in it is missing, or of another model or optimizer.
    """
    done = checkpoint.progress.update
    if (checkpoint.average is None) != (learner.average is None):
        raise CheckpointError(f"{path}: average: expected what the run's settings say, got another")
    if (checkpoint.fall_back is None) != (learner.fall_back is None):
        raise CheckpointError(
            f"{path}: fall_back: expected what the run's settings say, got another"
        )
    if checkpoint.carried is not None and len(checkpoint.carried) != processes.count:
        raise CheckpointError(
            f"{path}: carried: expected the states of {processes.count} processes, got those of "
            f"{len(checkpoint.carried)}; resume with as many"
        )
    restore(checkpoint, path, learner.model, learner.optimizer)
    if learner.average is not None and checkpoint.average is not None:
        learner.average.module.load_state_dict(checkpoint.average)
    learner.best = checkpoint.best
    if learner.fall_back is not None and checkpoint.fall_back is not None:
        learner.fall_back.state = checkpoint.fall_back
    if checkpoint.carried is not None:
        carry(learner, checkpoint.carried[processes.rank], path)
    if checkpoint.device_rng is not None and learner.device.type == "cuda":
        torch.cuda.set_rng_state(checkpoint.device_rng, learner.device)
    learner.begin(done)


def carry(learner: Learner, parts: dict[str, Any], path: Path) -> None:
    """Makes the carried state of its parts.

    An index that is approximate learns its words anew. So a run does this whenever it has saved a
    checkpoint: what goes on from it, here or after resuming, goes on from the same.

    Raises:
        CheckpointError: they are not those of a state of this model.
    """
    try:
        learner.state = load_state(parts, learner.model)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: carried: {error}") from error
