"""What can be done with nn.LSTM, tried on it and on every model: ``python -m benchmarks.manners``.

Each habit is done, with small sizes; what it gives is compared with what it shall give. Writes
manners.json, in half a minute.
"""

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import RESULTS, circumstances, write_json
from benchmarks.manners import calls, modules, tools
from benchmarks.manners.subject import SUBJECTS, TORCH, Habit, Subject
from benchmarks.tables.manners_table import FILE, manners_table
from sam.errors import ConfigError, NonFiniteError, ShapeError, StaleStateError, UnsupportedError

HABITS = (*calls.HABITS, *modules.HABITS, *tools.HABITS)
_REFUSALS = ConfigError, NonFiniteError, ShapeError, StaleStateError, UnsupportedError


def outcome(habit: Habit, name: str) -> str:
    """How it goes: "yes", "no" where there is no such thing, or the sentence that refuses it.

    Raises:
        Exception: whatever else comes out of one of the models: it is not among their manners.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, about its older tools
        try:
            habit.do(Subject(name))
        except _REFUSALS as refusal:
            return str(refusal)
        except TypeError as missing:
            if name != TORCH and "unexpected keyword" not in str(missing):
                raise
            return "no"
        except Exception:
            if name != TORCH:
                raise
            return "no"
    return "yes"


def tried(habit: Habit) -> dict[str, Any]:
    """A habit with its outcome for each subject."""
    outcomes = {name: outcome(habit, name) for name in SUBJECTS}
    return {"habit": habit.what, "outcomes": outcomes, "note": habit.note}


def main(arguments: Sequence[str]) -> None:
    """Tries all, writes, prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.manners", description=__doc__)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder to write to")
    options = parser.parse_args(arguments)
    results = circumstances("benchmarks.manners", arguments)
    results |= {"habits": [tried(habit) for habit in HABITS]}
    write_json(options.out / FILE, results)
    print(manners_table(options.out))


if __name__ == "__main__":
    main(sys.argv[1:])
