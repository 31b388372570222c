"""How soon agents learn by PPO to recall what they saw: ``python -m benchmarks.ppo``.

Trains `examples/ppo.py`, a SAM and a GRU beside it, on popgym's RepeatPreviousEasy, and writes
ppo.json. Seconds are those of the process alone.
"""

import argparse
import dataclasses
import importlib
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness import RESULTS, circumstances, positive, write_json
from benchmarks.tables.ppo_table import FILE, GOAL, ppo_table

_EVERY = 5  # of so many points of a curve one is written
_OF_A_RUN = "model", "seed"


def record(model: str, seed: int, minutes: float) -> dict[str, Any]:
    """One run."""
    example = _example()
    settings, began = example.Settings(model=model, seed=seed), time.perf_counter()
    curve = example.train(settings, minutes=minutes)
    agent = example.make_agent(model, 4, 4)
    enough = (point for point in curve if point.update >= settings.window)
    reached = next((point for point in enough if point.hit_rate >= GOAL), None)
    return {
        "model": model,
        "seed": seed,
        "parameters": sum(parameter.numel() for parameter in agent.parameters()),
        "wall_seconds": time.perf_counter() - began,
        "goal_reached": None if reached is None else reached._asdict(),
        "last": curve[-1]._asdict(),
        "curve": [point._asdict() for point in curve[_EVERY - 1 :: _EVERY]],
    }


def _example() -> Any:
    """The example, which needs the extra rl."""
    return importlib.import_module("examples.ppo")


def main(arguments: Sequence[str]) -> None:
    """Trains, writes after each run, prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ppo", description=__doc__)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--models", nargs="+", default=["sam", "gru"], choices=["sam", "gru"])
    parser.add_argument("--minutes", type=positive, default=20, help="for a run, at most")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder to write to")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    settings = dataclasses.asdict(_example().Settings())
    results = circumstances("benchmarks.ppo", arguments)
    common = {name: value for name, value in settings.items() if name not in _OF_A_RUN}
    results |= {"goal": GOAL, "settings": common, "runs": []}
    for model in options.models:
        for seed in options.seeds:
            results["runs"].append(record(model, seed, options.minutes))
            write_json(options.out / FILE, results)
    print(ppo_table(options.out))


if __name__ == "__main__":
    main(sys.argv[1:])
