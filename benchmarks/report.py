"""Puts the measured numbers into README and docs: ``python -m benchmarks.report``.

A table stands between ``<!-- table: NAME -->`` and ``<!-- end -->`` and is made from
``benchmarks/results/*.json``; no number in it is typed.
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.harness import RESULTS
from benchmarks.tables.attack_table import attack_table
from benchmarks.tables.babi_table import babi_table
from benchmarks.tables.base_table import base_table
from benchmarks.tables.budget_table import budget_table
from benchmarks.tables.defaults_table import defaults_table, records_table
from benchmarks.tables.index_learning_table import index_learning_table
from benchmarks.tables.index_table import index_table
from benchmarks.tables.journal_table import journal_table
from benchmarks.tables.learning_table import learning_table
from benchmarks.tables.length_table import length_table
from benchmarks.tables.long_table import long_sequence_table
from benchmarks.tables.manners_table import manners_table
from benchmarks.tables.matrix_table import matrix_table
from benchmarks.tables.model_learning_table import model_learning_table
from benchmarks.tables.model_table import model_table
from benchmarks.tables.ngrams_table import ngrams_table
from benchmarks.tables.pairs_table import pairs_table
from benchmarks.tables.parameter_table import parameter_table
from benchmarks.tables.ppo_table import ppo_table
from benchmarks.tables.presentation_table import presentation_table
from benchmarks.tables.rivals_table import rivals_table
from benchmarks.tables.searches_table import searches_table
from benchmarks.tables.sizes_table import sizes_table
from benchmarks.tables.speed_table import speed_table
from benchmarks.tables.starts_table import starts_table
from benchmarks.tables.step_table import step_table
from benchmarks.tables.storage_table import storage_table
from benchmarks.tables.streaming_table import streaming_table
from benchmarks.tables.threads_table import threads_table
from benchmarks.tables.time_table import time_table
from benchmarks.tables.tried_table import tried_table
from benchmarks.tables.updates_table import updates_table
from benchmarks.tables.validated_table import validated_table
from sam.train.run_files import write_atomic

_ROOT = Path(__file__).parents[1]
PAGES = (_ROOT / "README.md", *sorted((_ROOT / "docs").glob("*.md")))
_BLOCK = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def fill(text: str, results: Path = RESULTS) -> str:
    """Returns the text of a page with all its tables made anew.

    Args:
        text: of the README, or of a page in ``docs``.
        results: folder of the JSON files. A table without a file says how to measure it.

    Raises:
        ValueError: the text asks for an unknown table, or has none.
    """

    def table(found: re.Match[str]) -> str:
        begin, name, end = found.groups()
        if name not in TABLES:
            raise ValueError(f"table: expected one of {', '.join(TABLES)}, got {name!r}")
        return f"{begin}{TABLES[name](results)}\n{end}"

    filled, count = _BLOCK.subn(table, text)
    if count == 0:
        raise ValueError("page: expected <!-- table: NAME --> ... <!-- end -->, got none")
    return filled


TABLES: dict[str, Callable[[Path], str]] = {
    "time": time_table,
    "speed": speed_table,
    "sizes": sizes_table,
    "starts": starts_table,
    "threads": threads_table,
    "step": step_table,
    "updates": updates_table,
    "long": long_sequence_table,
    "learning": learning_table,
    "learning_length": length_table,
    "learning_omniglot": presentation_table,
    "learning_babi": babi_table,
    "learning_babi_way": validated_table,
    "learning_ngrams": ngrams_table,
    "learning_pairs": pairs_table,
    "learning_budget": budget_table,
    "learning_tried": tried_table,
    "index": index_table,
    "index_learning": index_learning_table,
    "index_defaults": defaults_table,
    "index_records": records_table,
    "index_streaming": streaming_table,
    "base": base_table,
    "base_rivals": rivals_table,
    "index_storage": storage_table,
    "searches": searches_table,
    "models": model_table,
    "model_learning": model_learning_table,
    "parameters": parameter_table,
    "attack": attack_table,
    "matrix": matrix_table,
    "manners": manners_table,
    "journal": journal_table,
    "ppo": ppo_table,
}


def main() -> int:
    """Rewrites each page in place, whole or not at all; 1 where a page cannot be filled."""
    failed = 0
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        if "<!-- table: " not in text:
            continue
        try:
            filled = fill(text)
        except ValueError as error:
            failed = 1
            print(f"{page.name}: left as it is: {error}", file=sys.stderr)
            continue
        write_atomic(page, filled)
        print(f"{page.name}: {'unchanged' if filled == text else 'tables rewritten'}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
