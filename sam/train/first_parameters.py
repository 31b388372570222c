"""Parameters that a run begins with, from another run that has ended: `train.begin_with`.

The other run may have had another task, memory size or schedule, whatever leaves the parameters'
names and shapes as they are. What it results in is taken, averaged or the best if its settings say
so; its optimizer, its curriculum and its updates are not.
"""

from pathlib import Path

from torch import nn

from sam.errors import ConfigError
from sam.train.checkpoint import load_checkpoint
from sam.train.names import CHECKPOINT
from sam.train.train_config import TrainConfig


def begin_with(config: TrainConfig, model: nn.Module) -> None:
    """Gives a new model the parameters of the run in `train.begin_with`, if that is set.

    Raises:
        ConfigError: there is no run, or its parameters are not those of this model.
        CheckpointError: its checkpoint is damaged.
    """
    if config.begin_with is None:
        return
    path = Path(config.begin_with) / CHECKPOINT
    try:
        found = load_checkpoint(path).result
    except FileNotFoundError as error:
        raise ConfigError(
            f"train.begin_with: expected the folder of a run, got {config.begin_with}, "
            f"which has no {CHECKPOINT}"
        ) from error
    own = model.state_dict()
    for name in sorted({*own, *found}):
        wanted, given = (
            f"shape {[*part[name].shape]}" if name in part else "none" for part in (own, found)
        )
        if wanted != given:
            raise ConfigError(
                f"train.begin_with: expected parameters of this model in {config.begin_with}, "
                f"{name} with {wanted}, got {given}"
            )
    model.load_state_dict(found)
