"""Training: recipes, the loop, curriculum, evaluation, logs and checkpoints.

``python -m sam train RECIPE`` uses what is here; from Python::

    config = resolve(*read_recipe("copy"))
    outcome = train_run(config, Path("runs/mine"))
"""

from sam.train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from sam.train.curriculum import CurriculumConfig, CurriculumState
from sam.train.evaluate import SliceResult, evaluate
from sam.train.folder import load_run
from sam.train.loggers import available_loggers, register_logger
from sam.train.loop import Progress, Update, updates
from sam.train.losses import Scores, score
from sam.train.run import Outcome, train_run
from sam.train.sampling import sample_text
from sam.train.settings import available_recipes, read_recipe, resolve
from sam.train.train_config import EvalConfig, OptimizerConfig, RunConfig, TrainConfig

__all__ = [
    "Checkpoint",
    "CurriculumConfig",
    "CurriculumState",
    "EvalConfig",
    "OptimizerConfig",
    "Outcome",
    "Progress",
    "RunConfig",
    "Scores",
    "SliceResult",
    "TrainConfig",
    "Update",
    "available_loggers",
    "available_recipes",
    "evaluate",
    "load_checkpoint",
    "load_run",
    "read_recipe",
    "register_logger",
    "resolve",
    "sample_text",
    "save_checkpoint",
    "score",
    "train_run",
    "updates",
]
