"""Measures the indexes: ``python -m benchmarks.index``, about ten minutes.

Steps of a model (batch 8; in each memory 4 queries for the 8 nearest words, 36 slots replaced) on
memories that are full, for growing N: seconds to build, update and search, recall, bytes, fresh and
after churn, beside exact search and FAISS in the same rounds. Then drift, hot words, and GloVe.
Writes index.json, record by record, and index.png. What a run does not measure stays as it is in
the file, so the parts can be measured one by one:

    python -m benchmarks.index --part clustered --memory-size 65536
    python -m benchmarks.index --keep                       # goes on where a run was broken off
    python -m benchmarks.index --part clustered --index ivf 'lsh[probes=8]' --out runs/mine
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness import circumstances, positive, results_folder, write_json
from benchmarks.index import index_glove, index_parts
from benchmarks.index.index_figure import plot_index
from benchmarks.index.index_room import INDEXES, Participant, free_bytes, groups, participants
from benchmarks.index.index_summary import summary
from benchmarks.index.index_words import ENVIRONMENT_VARIABLE, find_glove, load_glove
from index import BackendMissingError
from index.bench.traffic import Setting
from index.bench.word_sources import WORDS

# Per part the word sizes, and for each the memory sizes.
SIZES: dict[str, dict[int, tuple[int, ...]]] = {
    "clustered": {32: (2**12, 2**14, 2**16, 2**18, 2**20), 64: (2**12, 2**16)},
    "gaussian": {32: (2**12, 2**14, 2**16, 2**18), 64: (2**12, 2**16)},
    "drift": {32: (2**16,)},
    "hot": {32: (2**16,)},
}
GLOVE = "glove"
PARTS = (*SIZES, GLOVE)
QUICK_SIZES = (2**10, 2**12)
HOT_CALLS, QUICK_HOT_CALLS = 3000, 100
# Of the memory that is free; the rest is for what an index needs while it is built.
_USABLE = 0.75


def measure_sizes(part: str, setting: Setting, options: argparse.Namespace) -> dict[str, Any]:
    """A record of one part at one size: all indexes, in groups that fit into memory."""
    found = participants(options.index, setting, report)
    limit = int(_USABLE * free_bytes())
    if options.memory is not None:
        limit = int(options.memory * 2**30)
    measured: dict[str, dict[str, Any]] = {}
    for group in groups(found, setting, limit, report):
        for entry in _measured(part, setting, group, options):
            # References come again in each group; the first time counts.
            measured.setdefault(entry["name"], entry)
    record = asdict(setting) | {"rounds": options.rounds}
    if part in WORDS:
        record["churn"] = index_parts.churn_of(setting)
    return record | {"indexes": [*measured.values()]}


def _measured(
    part: str, setting: Setting, group: Sequence[Participant], options: argparse.Namespace
) -> list[dict[str, Any]]:
    if part == "drift":
        return index_parts.drift(setting, group)
    if part == "hot":
        calls = QUICK_HOT_CALLS if options.quick else HOT_CALLS
        return index_parts.hot(setting, group, calls=calls)
    return index_parts.sized(setting, group, rounds=options.rounds)


def measure_glove(options: argparse.Namespace) -> dict[str, Any] | None:
    """The record of the part "glove"; None, and a line, where there is no file."""
    path = find_glove(options.glove)
    if not path.exists():
        where = f"--glove or {ENVIRONMENT_VARIABLE} says where it is"
        report(f"glove: left out; no file {path}; {where}")
        return None
    found = index_glove.measure(
        load_glove(path), options.glove_index, rounds=options.rounds, report=report
    )
    return {"rounds": options.rounds} | found


def planned(options: argparse.Namespace) -> list[tuple[str, int, int]]:
    """Part, N and W of every record to measure, in order; 0 and 0 for GloVe."""
    found = []
    for part in options.part:
        if part == GLOVE:
            found.append((part, 0, 0))
            continue
        usual = {32: QUICK_SIZES} if options.quick else SIZES[part]
        for word_size in options.word_size or usual:
            sizes = options.memory_size or usual.get(word_size, usual[min(usual)])
            found += [(part, size, word_size) for size in sizes]
    return found


def run(options: argparse.Namespace, arguments: Sequence[str], path: Path) -> None:
    """Measures what is planned and writes the file after each record."""
    records = json.loads(path.read_text())["records"] if path.exists() else []
    for key in planned(options):
        part, memory_size, word_size = key
        if options.keep and any(_key(record) == key for record in records):
            continue
        if part == GLOVE:
            found = measure_glove(options)
        else:
            words = part if part in WORDS else "clustered"
            setting = Setting(memory_size=memory_size, word_size=word_size, words=words)
            found = measure_sizes(part, setting, options)
        if found is None:
            continue
        record = {"part": part} | circumstances("benchmarks.index", arguments) | found
        others = [other for other in records if _key(other) != key]
        write_json(path, {"records": sorted([*others, record], key=_order)})
        records = json.loads(path.read_text())["records"]
        report(summary(next(record for record in records if _key(record) == key)))


def _key(record: dict[str, Any]) -> tuple[str, int, int]:
    if record["part"] == GLOVE:  # there is one, of whatever size the file is
        return GLOVE, 0, 0
    return record["part"], record["memory_size"], record["word_size"]


def _order(record: dict[str, Any]) -> tuple[int, int, int]:
    return PARTS.index(record["part"]), record["word_size"], record["memory_size"]


def report(line: str) -> None:
    """To the terminal at once: some lines are minutes apart."""
    print(line, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.index",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--part", nargs="+", choices=PARTS, default=PARTS, help="default all")
    parser.add_argument(
        "--index",
        nargs="+",
        default=INDEXES,
        help="kinds, with options in brackets; {lists} is sqrt(N); 'raw faiss' is a plain loop",
    )
    parser.add_argument("--memory-size", type=positive, nargs="+", help="N, up to 2^24 = 16777216")
    parser.add_argument("--word-size", type=positive, nargs="+", help="W, default 32 and 64")
    parser.add_argument("--glove", type=Path, metavar="NPZ", help="the GloVe file")
    parser.add_argument("--glove-index", nargs="+", default=index_glove.INDEXES, help="as --index")
    parser.add_argument("--rounds", type=positive, help="turns of each index, default 7")
    parser.add_argument("--threads", type=positive, default=1, help="threads torch may use")
    parser.add_argument(
        "--memory", type=float, metavar="GIB", help="may be used; default 3/4 of free"
    )
    parser.add_argument("--keep", action="store_true", help="do not repeat what the file has")
    parser.add_argument("--quick", action="store_true", help="a look: small memories, 2 rounds")
    parser.add_argument("--out", type=Path, help="folder to write to")
    return parser


def main(arguments: Sequence[str]) -> int:
    """Measures, writes, prints; 1 after a mistake of the user's, reported in one line."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    options.rounds = options.rounds or (2 if options.quick else 7)
    folder = results_folder(options.out, quick=options.quick)
    path = folder / "index.json"
    report(f"{options.threads} thread(s)")
    try:
        run(options, arguments, path)
        if not path.exists():
            raise ValueError(f"{path}: expected results, got none; nothing could be measured")
        plot_index(json.loads(path.read_text()), folder / "index.png")
    except (ValueError, OSError, BackendMissingError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{path}, {folder / 'index.png'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
