"""What was tried on the way to a recipe: ``python -m benchmarks.learning.tried NAME RUN ...``.

Each RUN is the folder of a finished run of one task. Writes ``tried_NAME.json``: of each run the
settings in which it differs from the first one, updates, seconds, and what it got wrong.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import RESULTS, circumstances, write_json
from sam.errors import ConfigError
from sam.train.folder import read_config
from sam.train.names import SUMMARY
from sam.train.settings import to_tables
from sam.train.summary import read_summary

# What says where a run ends and what is looked at, not how it learns.
_LEFT_OUT = ("train.seed", "train.log_every", "train.threads")


def settings_of(run: Path) -> dict[str, Any]:
    """All settings of a run by their full names."""
    tables = to_tables(read_config(run))
    return {
        f"{section}.{key}": value
        for section, table in tables.items()
        for key, value in table.items()
        if section != "eval" and f"{section}.{key}" not in _LEFT_OUT
    }


def collect(runs: Sequence[Path]) -> dict[str, Any]:
    """One record of several runs, the first of which the others are compared with.

    Raises:
        ConfigError: a folder is not that of a run, or the runs are of several tasks.
        OSError: a run has no summary yet.
    """
    first = settings_of(runs[0])
    tried = []
    for run in runs:
        settings, summary = settings_of(run), read_summary(run / SUMMARY)
        if settings["task.name"] != first["task.name"]:
            raise ConfigError(f"{run}: expected a run of {first['task.name']}, got another task")
        different = {key: value for key, value in settings.items() if value != first.get(key)}
        tried.append(
            {
                "settings": different,
                **{key: summary[key] for key in ("model", "seed", "updates", "seconds")},
                "final_error": summary["final_error"],
                "evaluation": summary["evaluation"],
            }
        )
    threads = max(read_summary(run / SUMMARY)["threads"] for run in runs)
    return {"threads": threads, "task": first["task.name"], "first": first, "tried": tried}


def main(arguments: Sequence[str]) -> int:
    """Collects, writes the results, and returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.learning.tried", description=__doc__
    )
    parser.add_argument("name", metavar="NAME", help="of the results")
    parser.add_argument("runs", metavar="RUN", type=Path, nargs="+", help="folder of a run")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args(arguments)
    try:
        found = collect(options.runs)
    except (ConfigError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    command = [options.name, *(run.name for run in options.runs)]
    path = options.out / f"tried_{options.name}.json"
    write_json(path, circumstances("benchmarks.learning.tried", command) | found)
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
