"""Trains a recipe with several seeds, one after another: ``python -m benchmarks.learning RECIPE``.

    python -m benchmarks.learning copy --seeds 0 1 2 3 4
    python -m benchmarks.learning copy --name copy_lstm --model.kind lstm

What is not an option of this script goes to ``python -m sam train`` as it is. Each run leaves its
folder, and all of them together learning_NAME.json: per seed whether the recipe's error was
reached, updates, seconds, the final error and the evaluation.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.harness import RESULTS, circumstances, write_json
from sam import cli
from sam.errors import ConfigError
from sam.train.folder import read_config
from sam.train.lines import read_metrics
from sam.train.names import METRICS, SUMMARY
from sam.train.plan import plan
from sam.train.summary import read_summary

# Of a run's summary.json: what differs between the seeds, and what they share.
OF_A_RUN = ("seed", "solved", "updates", "seconds", "final_error", "index_recall", "evaluation")
SHARED = ("task", "model", "parameters", "error_unit", "threads")


def train_seeds(
    recipe: str, overrides: Sequence[str], seeds: Sequence[int], folder: Path
) -> list[dict[str, Any]]:
    """Trains once per seed, each run in a folder of its own.

    A series that was broken off can be called again: a run that has ended is not repeated, one
    that has not goes on where it was saved.

    Args:
        recipe: name or file.
        overrides: further arguments of ``train``, for the runs that are new.
        seeds: for `train.seed`.
        folder: where each run gets ``seed-S``.

    Returns:
        The runs' summaries.

    Raises:
        RuntimeError: a run failed, and the command line has printed why; or a folder holds a run
            of other settings.
        ConfigError: a file of a run is damaged.
        OSError: one cannot be read.
    """
    summaries = []
    for seed in seeds:
        run = folder / f"seed-{seed}"
        summary = run / SUMMARY
        settings = ["--train.seed", str(seed), *overrides]
        arguments = [recipe, "--run", str(run), *settings]
        if run.exists():
            planned = plan(recipe, settings, prog="train").config
            if read_config(run) != planned:
                raise RuntimeError(f"{run}: expected a run with {' '.join(settings)}, got another")
            arguments = ["--resume", str(run)]
        if not summary.exists():
            code = cli.main(["train", *arguments])
            if code != 0:
                raise RuntimeError(f"train {' '.join(arguments)}: expected exit code 0, got {code}")
        recall = {"index_recall": index_recall(run)}
        summaries.append(read_summary(summary) | recall)
    return summaries


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
    runs = [{key: summary[key] for key in OF_A_RUN} for summary in summaries]
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
    options, overrides = parser.parse_known_args(arguments)
    name = options.name or Path(options.recipe).stem
    if not re.fullmatch(r"\w+", name):
        parser.error(f"--name: expected letters, digits and underscores, got {name!r}")
    folder = options.runs or Path("runs/learning") / name
    try:
        summaries = train_seeds(options.recipe, overrides, options.seeds, folder)
    except (RuntimeError, ConfigError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    results = circumstances("benchmarks.learning", arguments)
    results |= {"recipe": options.recipe, "overrides": overrides} | collect(summaries)
    path = options.out / f"learning_{name}.json"
    write_json(path, results)
    print(f"{results['solved']} of {len(summaries)} solved; {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
