"""Where an update of a recipe goes: ``python -m benchmarks.step.updates``. Writes updates.json.

A run as `python -m sam train` makes it, in a folder that is thrown away. The calls of an update are
timed where they stand, by the time of this process, so other work on the machine counts less.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from benchmarks.harness import RESULTS, Report, circumstances, positive, write_cases
from benchmarks.tables.updates_table import FILE
from sam.train import loop, passes
from sam.train.learner import Learner
from sam.train.progress import Reporter
from sam.train.run import train_run
from sam.train.settings import read_recipe, resolve

RECIPES = ("copy", "recall")
# Parts of an update, and what is called there.
PARTS: dict[str, tuple[Any, str]] = {
    "forward": (passes, "forward"),
    "loss": (passes, "score"),
    "backward": (torch.Tensor, "backward"),
    "clip": (loop, "clip_gradients"),
    "optimizer": (Learner, "step"),
}
# The loss is the end of the forward pass; beside it `score` counts mistakes.
OUTSIDE = ("data", "clip", "optimizer", "rest")


class _Clock(Reporter):
    """Sums up the times of the parts, of all updates but the first."""

    def __init__(self, first: int) -> None:
        self._first = first  # update from which on times count
        self.times: dict[str, float] = {}
        self.updates = 0
        self._started = 0.0

    def timed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The call, with its time added."""

        def timed(*given: Any, **named: Any) -> Any:
            start = time.process_time()
            try:
                return call(*given, **named)
            finally:
                self.times[name] = self.times.get(name, 0.0) + time.process_time() - start

        return timed

    def drawn(self, call: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        """The batches, with the time it takes to draw and check them."""

        def batches(*given: Any) -> Iterator[Any]:
            found = call(*given)
            draw = self.timed("data", lambda: next(found, None))
            while (batch := draw()) is not None:
                yield batch

        return batches

    def updated(self, update: loop.Update) -> None:
        now = time.process_time()
        if update.number <= self._first:
            self.times, self._started = {}, now
            return
        self.updates += 1
        self.times["all"] = now - self._started


def measure(recipe: str, *, updates: int) -> dict[str, Any]:
    """Seconds of an update by part, and the share outside of forward and backward pass.

    Args:
        recipe: its name.
        updates: how many count; as many again run before.
    """
    config = resolve(*read_recipe(recipe))
    train = replace(config.train, max_updates=2 * updates, stop_below=None)
    clock = _Clock(updates)
    with ExitStack() as opened:
        for name, (owner, call) in PARTS.items():
            timed = clock.timed(name, getattr(owner, call))
            opened.enter_context(patch.object(owner, call, timed))
        opened.enter_context(patch.object(loop, "batches", clock.drawn(loop.batches)))
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory())) / "run"
        train_run(replace(config, train=train), folder, reporter=clock)
    seconds = {name: taken / clock.updates for name, taken in clock.times.items()}
    every = seconds.pop("all")
    seconds["rest"] = every - sum(seconds.values())
    outside = sum(seconds[name] for name in OUTSIDE)
    return {
        "recipe": recipe,
        "batch_size": config.train.batch_size,
        "updates": clock.updates,
        "seconds": {"all": every} | seconds,
        "outside": outside / every,
        "outside_and_loss": (outside + seconds["loss"]) / every,
    }


def line(entry: dict[str, Any]) -> str:
    """A recipe in a line of the terminal."""
    parts = (f"{name} {1e6 * taken:.0f}" for name, taken in entry["seconds"].items())
    return (
        f"{entry['recipe']}, batch {entry['batch_size']}: {', '.join(parts)} us; "
        f"outside of forward, loss and backward {100 * entry['outside']:.1f} %, "
        f"with the loss {100 * entry['outside_and_loss']:.1f} %"
    )


def main(arguments: Sequence[str], report: Report = print) -> None:
    """Measures, prints as it goes, writes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.step.updates", description=__doc__)
    parser.add_argument("--recipes", nargs="+", default=RECIPES, help="names of recipes")
    parser.add_argument("--updates", type=positive, default=500, help="that count")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder to write to")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    results = circumstances("benchmarks.step.updates", arguments)
    measured = (measure(recipe, updates=options.updates) for recipe in options.recipes)
    write_cases(options.out / FILE, results, measured, line, report)


if __name__ == "__main__":
    main(sys.argv[1:])
