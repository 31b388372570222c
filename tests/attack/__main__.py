"""All tries of the attack, subject by subject: ``python -m tests.attack [SUBJECT ...]``.

The counts go to ``benchmarks/results/attack.json``, each subject's as soon as it is through.
"""

import argparse
import importlib
import json
import sys
import time
from collections.abc import Sequence

from benchmarks.harness import RESULTS, circumstances
from sam.train.run_files import write_atomic

SUBJECTS = (
    "kills",
    "damaged_folders",
    "command_lines",
    "index_operations",
    "state_operations",
    "mutilated_states",
)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.attack", description=__doc__)
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help=", ".join(SUBJECTS))
    parser.add_argument("--share", type=float, default=1.0, help="of the tries of each subject")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    unknown = [name for name in options.subjects if name not in SUBJECTS]
    if unknown:
        parser.error(f"SUBJECT: expected some of {', '.join(SUBJECTS)}, got {unknown[0]!r}")
    path = RESULTS / "attack.json"
    for name in options.subjects or SUBJECTS:
        module = importlib.import_module(f"tests.attack.{name}")
        count = max(1, round(module.FULL * options.share))
        started = time.perf_counter()
        ended = module.attack(count, options.seed)
        seconds = time.perf_counter() - started
        # Read only now: other subjects may run at the same time.
        results = json.loads(path.read_text()) if path.exists() else {}
        results[name] = {
            **circumstances("tests.attack", sys.argv[1:] if argv is None else argv),
            "tries": count,
            "seed": options.seed,
            "seconds": round(seconds, 1),
            "ended": ended,
        }
        write_atomic(path, json.dumps(results, indent=2) + "\n")
        print(f"{name}: {count:,} tries in {seconds:.0f} s: {ended}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
