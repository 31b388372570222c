"""A run that takes a second."""

from sam.cli import main

TINY = [
    *("--task.max-length", "2", "--task.bits", "2"),
    *("--model.hidden-size", "8", "--model.memory-size", "32", "--model.word-size", "4"),
    *("--model.num-heads", "2", "--model.top-k", "2"),
    *("--train.max-updates", "12", "--train.log-every", "1", "--train.checkpoint-every", "5"),
    *("--eval.levels", "1", "3", "--eval.count", "4"),
]


def train(*arguments: str) -> int:
    """Exit code of ``train copy`` with tiny settings and these arguments."""
    return main(["train", "copy", *TINY, *arguments])
