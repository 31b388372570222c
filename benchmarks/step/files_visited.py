"""How many files one step passes through: ``python -m benchmarks.step.files_visited``, seconds.

Runs the forward pass of one step of a SAM cell with the exact index under `sys.setprofile`. Counts
the files of `sam` and `index` whose functions are called, and the moves: calls from a function of
one file to a function of another. Writes files_visited.json.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import index
import sam
from benchmarks.harness import RESULTS, circumstances, write_json
from benchmarks.tables.markdown import field, table
from benchmarks.workload import Workload
from index import IndexConfig
from sam.cell import MemoryCell
from sam.fast.dispatch import take_step

FILE = "files_visited.json"
PACKAGES = tuple(Path(package.__file__).parent for package in (sam, index) if package.__file__)
MEMORY_SIZE, STEPS_BEFORE = 2**10, 3
# Which call is made: plain is the readable form, the other what a network runs.
FORMS: dict[str, Callable[..., Any]] = {"plain": MemoryCell.__call__, "as chosen": take_step}
_COLUMNS = (
    field("form", "form"),
    field("step", "step"),
    field("files", "files", "{:,}"),
    field("moves", "moves", "{:,}"),
    field("calls", "calls", "{:,}"),
)


class Visits(NamedTuple):
    """Where a call went."""

    calls: dict[Path, int]  # of functions, by their file, in the order of the first visits
    pairs: dict[tuple[Path, Path], int]  # calls from a function of one file to one of another

    @property
    def moves(self) -> int:
        return sum(self.pairs.values())


def visits(run: Callable[[], Any], folders: Sequence[Path]) -> Visits:
    """Counts the calls that a function makes, directly and indirectly.

    Calls that other code makes in between are passed over: where a file calls torch, and torch
    calls back into another file, that is one move. A generator that goes on counts as a call.

    Args:
        run: what to call, in this thread.
        folders: whose files count.
    """
    names = tuple(f"{folder.resolve()}/" for folder in folders)
    calls: dict[Path, int] = {}
    pairs: dict[tuple[Path, Path], int] = {}
    stack: list[Path] = []  # files of the functions of `folders` that are running

    def profile(frame: FrameType, event: str, _argument: Any) -> None:
        if not frame.f_code.co_filename.startswith(names):
            return
        if event == "call":
            file = Path(frame.f_code.co_filename)
            calls[file] = calls.get(file, 0) + 1
            if stack and stack[-1] != file:
                move = stack[-1], file
                pairs[move] = pairs.get(move, 0) + 1
            stack.append(file)
        elif event == "return":
            stack.pop()

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        run()
    finally:
        sys.setprofile(before)
    return Visits(calls, pairs)


def measure() -> list[dict[str, Any]]:
    """The visits of a step in each form: of the first step of a state, and of a later one."""
    entries = []
    for form, call in FORMS.items():
        # Plain with all of it: the index, too, decides when it is made.
        workload = Workload(index=IndexConfig(compiled=False if form == "plain" else None))
        cell = workload.model(MEMORY_SIZE).cell
        inputs = workload.inputs()[0]
        for step, steps_before in (("first", 0), ("later", STEPS_BEFORE)):
            call(cell, inputs, cell.initial_state(workload.batch_size))  # done once is done
            state = cell.initial_state(workload.batch_size)
            for _ in range(steps_before):
                _, state = call(cell, inputs, state)
            found = visits(partial(call, cell, inputs, state), PACKAGES)
            entries.append({"form": form, "step": step} | _entry(found))
    return entries


def _entry(found: Visits) -> dict[str, Any]:
    return {
        "files": len(found.calls),
        "moves": found.moves,
        "calls": sum(found.calls.values()),
        "calls_of_files": {_name(path): n for path, n in found.calls.items()},
        "moves_of_files": {f"{_name(a)} -> {_name(b)}": n for (a, b), n in found.pairs.items()},
    }


def _name(path: Path) -> str:
    return str(path.relative_to(PACKAGES[0].parent))


def _list_moves(entry: dict[str, Any]) -> None:
    print(f"\n{entry['form']}, {entry['step']} step:")
    for move, count in sorted(entry["moves_of_files"].items(), key=lambda item: -item[1]):
        print(f"{count:4} {move}")


def main(arguments: Sequence[str]) -> None:
    """Counts, writes, prints."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.step.files_visited", description=__doc__
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder to write to")
    parser.add_argument("--moves", action="store_true", help="list from which file to which")
    options = parser.parse_args(arguments)
    results = circumstances("benchmarks.step.files_visited", arguments)
    results |= {"memory_size": MEMORY_SIZE, "entries": measure()}
    write_json(options.out / FILE, results)
    print(table(_COLUMNS, results["entries"]))
    if options.moves:
        for entry in results["entries"]:
            _list_moves(entry)
    print(options.out / FILE)


if __name__ == "__main__":
    main(sys.argv[1:])
