"""Trains a recipe with several seeds: ``python -m benchmarks.learning RECIPE``.

    python -m benchmarks.learning copy --seeds 0 1 2 3 4
    python -m benchmarks.learning copy --name copy_lstm --model.kind lstm
    python -m benchmarks.learning copy_linked --jobs 2 --long 10000 --long-count 4

A recipe is one of the library's, one of those beside this script, or a TOML file. What is not an
option of this script goes to ``python -m sam train`` as it is. Each run leaves its folder, and all
of them together learning_NAME.json: per seed whether the recipe's error was reached, updates,
seconds, the final error, the level that a curriculum came to, and the evaluation, also of the same
model with its memory off. The same command goes on where it was broken off. `--checkpoint` puts
what is needed to evaluate the best run into ``benchmarks/checkpoints/NAME``.
"""

import argparse
import dataclasses
import re
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import fmean
from typing import Any

from torch import nn

from benchmarks.harness import RESULTS, circumstances, positive, write_json
from benchmarks.learning.finished import CHECKPOINTS, export
from benchmarks.learning.papers import stated
from benchmarks.learning.slices import by_level
from sam import cli
from sam.errors import ConfigError
from sam.train.evaluate import as_record, evaluate
from sam.train.folder import load_run, read_config
from sam.train.lines import read_metrics
from sam.train.memory_off import has_memory, memory_off
from sam.train.names import METRICS, SUMMARY
from sam.train.plan import plan
from sam.train.summary import read_summary
from sam.train.train_config import EvalConfig, RunConfig

# Of a run's summary.json: what differs between the seeds, and what they share.
OF_A_RUN = ("seed", "solved", "updates", "seconds", "final_error", "index_recall", "evaluation")
OF_SOME = ("level", "memory_off", "long")
SHARED = ("task", "model", "parameters", "error_unit", "threads")
RECIPES = Path(__file__).parent / "recipes"
# Options that say where something lies, of which results must not speak.
_PLACES = ("--runs", "--out")


def recipe_file(name: str) -> str:
    """The recipe to train: one of those beside this script by its name, others as they are."""
    path = RECIPES / f"{name}.toml"
    return str(path) if path.exists() else name


def train_seeds(
    recipe: str, overrides: Sequence[str], seeds: Sequence[int], folder: Path, *, jobs: int = 1
) -> list[dict[str, Any]]:
    """Trains once per seed, each run in a folder of its own.

    A series that was broken off can be called again: a run that has ended is not repeated, one
    that has not goes on where it was saved.

    Args:
        recipe: name or file.
        overrides: further arguments of ``train``, for the runs that are new.
        seeds: for `train.seed`.
        folder: where each run gets ``seed-S``.
        jobs: runs side by side, each in a process of its own if there are several.

    Returns:
        The runs' summaries.

    Raises:
        RuntimeError: a run failed, and the command line has printed why; or a folder holds a run
            of other settings.
        ConfigError: a file of a run is damaged.
        OSError: one cannot be read.
    """
    tasks = []
    for seed in seeds:
        run = folder / f"seed-{seed}"
        settings = ["--train.seed", str(seed), *overrides]
        arguments = [recipe, "--run", str(run), *settings]
        if run.exists():
            planned = plan(recipe, settings, prog="train").config
            if read_config(run) != planned:
                raise RuntimeError(f"{run}: expected a run with {' '.join(settings)}, got another")
            arguments = ["--resume", str(run)]
        if not (run / SUMMARY).exists():
            tasks.append(arguments)
    if jobs == 1:
        for arguments in tasks:
            _check_code(arguments, cli.main(["train", *arguments]))
    else:
        with ThreadPoolExecutor(jobs) as pool:
            codes = [*pool.map(_train_apart, tasks)]
        for arguments, code in zip(tasks, codes, strict=True):
            _check_code(arguments, code)
    return [_summary(folder / f"seed-{seed}") for seed in seeds]


def _check_code(arguments: Sequence[str], code: int) -> None:
    if code != 0:
        raise RuntimeError(f"train {' '.join(arguments)}: expected exit code 0, got {code}")


def _train_apart(arguments: Sequence[str]) -> int:
    return subprocess.run(
        [sys.executable, "-m", "sam", "train", *arguments], check=False
    ).returncode


def _summary(run: Path) -> dict[str, Any]:
    """What a finished run has come to."""
    found = read_summary(run / SUMMARY) | {"index_recall": index_recall(run)}
    config, model, progress = load_run(run)
    if progress.curriculum is not None:
        found["level"] = progress.curriculum.limit
    if has_memory(model):
        found["memory_off"] = evaluated(memory_off(model), config, config.eval)
    return found


def evaluated(model: nn.Module, config: RunConfig, settings: EvalConfig) -> list[dict[str, Any]]:
    """Records of an evaluation, as a summary has them."""
    given = dataclasses.asdict(settings)
    results = evaluate(model, config.task, seed=config.train.seed, **given)
    return [as_record(result, config.task.kind) for result in results]


def evaluate_long(run: Path, levels: Sequence[int], count: int) -> list[dict[str, Any]]:
    """A finished run at levels far above those it was trained on, one sequence at a time."""
    config, model, _ = load_run(run)
    settings = EvalConfig(levels=tuple(levels), count=count, batch_size=1)
    return evaluated(model, config, settings)


def index_recall(run: Path) -> float | None:
    """Mean recall over the logged updates of a run; None if it was searched exactly."""
    recalls = [
        line["index_recall"] for line in read_metrics(run / METRICS) if "index_recall" in line
    ]
    return fmean(recalls) if recalls else None


def collect(summaries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One record of several runs: what they share, how many were solved, and each of them.

    Raises:
        ValueError: there are none, or they differ in what they should share.
    """
    if not summaries:
        raise ValueError("summaries: expected at least one, got none")
    shared = {key: summaries[0][key] for key in SHARED}
    for summary in summaries:
        different = [key for key in SHARED if summary[key] != shared[key]]
        if different:
            raise ValueError(
                f"summaries: expected runs of one setting, got seed {summary['seed']} "
                f"with another {different[0]}"
            )
    runs = [
        {key: summary[key] for key in OF_A_RUN + OF_SOME if key in OF_A_RUN or key in summary}
        for summary in summaries
    ]
    return shared | {"solved": sum(run["solved"] is True for run in runs), "runs": runs}


def main(arguments: Sequence[str]) -> int:
    """Trains, writes the results, and returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.learning",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("recipe", metavar="RECIPE", help="name or TOML file")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--name", help="of the results, default the recipe's")
    parser.add_argument("--runs", type=Path, help="folder of the runs, default runs/learning/NAME")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--jobs", type=positive, default=1, help="runs side by side")
    parser.add_argument("--long", type=positive, nargs="+", default=[], help="further levels")
    parser.add_argument("--long-count", type=positive, default=4, help="sequences at each")
    parser.add_argument("--checkpoint", action="store_true", help="of the best run, to be kept")
    options, overrides = parser.parse_known_args(arguments)
    name = options.name or Path(options.recipe).stem
    if not re.fullmatch(r"\w+", name):
        parser.error(f"--name: expected letters, digits and underscores, got {name!r}")
    folder = options.runs or Path("runs/learning") / name
    try:
        recipe = recipe_file(options.recipe)
        summaries = train_seeds(recipe, overrides, options.seeds, folder, jobs=options.jobs)
        if options.long:
            for summary in summaries:
                run = folder / f"seed-{summary['seed']}"
                summary["long"] = evaluate_long(run, options.long, options.long_count)
        if options.checkpoint:
            best = min(summaries, key=_badness)
            export(folder / f"seed-{best['seed']}", CHECKPOINTS / name)
    except (RuntimeError, ConfigError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    results = circumstances("benchmarks.learning", _without_places(arguments))
    results |= {"recipe": options.recipe, "overrides": overrides} | collect(summaries)
    results["paper"] = stated(results["task"], by_curriculum="level" in summaries[0])
    path = options.out / f"learning_{name}.json"
    write_json(path, results)
    print(f"{results['solved']} of {len(summaries)} solved; {path}")
    return 0


def _badness(summary: dict[str, Any]) -> tuple[float, ...]:
    """By which of several runs the best one is chosen: its errors, from the highest level down."""
    found = sorted(by_level(summary["evaluation"]), key=lambda entry: -entry["value"])
    return tuple(1 - entry["accuracy"] for entry in found)


def _without_places(arguments: Sequence[str]) -> list[str]:
    """The arguments, but for where something lies."""
    kept, skip = [], False
    for argument in arguments:
        if skip or argument.split("=")[0] in _PLACES:
            skip = not skip and argument in _PLACES
            continue
        kept.append(argument)
    return kept


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
