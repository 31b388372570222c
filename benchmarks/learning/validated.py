"""What runs got wrong on validation data on the way: ``python -m benchmarks.learning.validated``.

    python -m benchmarks.learning.validated babi runs/learning/babi_stage_3/seed-0 ...

Each RUN is the folder of a run, which need not be finished. Writes ``validated_NAME.json``: of each
run, which stands in its folder's name or in that of the folder around it, the error of each slice
at every evaluation, and the sequences trained on until then.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import RESULTS, circumstances, write_json
from sam.errors import ConfigError
from sam.train.folder import read_config
from sam.train.lines import read_metrics
from sam.train.names import METRICS


def followed(run: Path) -> dict[str, Any]:
    """The evaluations of a run on validation data, in its order.

    Raises:
        ConfigError: the folder is not that of a run.
        OSError: a file cannot be read.
    """
    config = read_config(run)
    lines = [line for line in read_metrics(run / METRICS) if "evaluation" in line]
    evaluations = [
        {
            "update": line["update"],
            "sequences": line["update"] * config.train.batch_size * config.train.accumulate,
            "wrong": {
                f"{one['name']} {one['value']}": 1 - one["accuracy"] for one in line["evaluation"]
            },
        }
        for line in lines
    ]
    name = run.parent.name if run.name.startswith("seed-") else run.name
    return {"run": name, "seed": config.train.seed, "evaluations": evaluations}


def main(arguments: Sequence[str]) -> int:
    """Collects, writes the results, and returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.learning.validated", description=__doc__
    )
    parser.add_argument("name", metavar="NAME", help="of the results")
    parser.add_argument("runs", metavar="RUN", type=Path, nargs="+", help="folder of a run")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args(arguments)
    try:
        found = [followed(run) for run in options.runs]
        threads = max(read_config(run).train.threads for run in options.runs)
    except (ConfigError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    command = [options.name, *(run["run"] for run in found)]
    content = circumstances("benchmarks.learning.validated", command)
    path = options.out / f"validated_{options.name}.json"
    write_json(path, content | {"threads": threads, "runs": found})
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
