"""``bench-index``: measures the indexes side by side, at sizes that the user chooses."""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch

from index import available_indexes, make_index
from index.bench.comparison import EXACT, Comparison, maker
from index.bench.traffic import WRITES, Setting
from index.bench.turns import take_turns
from index.bench.word_sources import WORDS
from index.checks import MOST
from index.config import IndexConfig
from index.spelling import parse_index, spell_index
from sam.available import refused_if_too_large
from sam.errors import BackendMissingError, ConfigError
from sam.setting_checks import check_between
from sam.train import describe
from sam.train.run_files import write_atomic
from sam.train.train_config import MOST_THREADS

MEMORY_SIZES = (4096, 65536)
_COLUMNS = {
    "build s": "{build_seconds:.2f}",
    "update ms": "{update_ms:.3f}",
    "search ms": "{search_ms:.3f}",
    "both ms": "{both_ms:.3f}",
    "recall@1": "{recall_1:.3f}",
    "recall@{top_k}": "{recall_k:.3f}",
    "candidates": "{candidates:.0f}",
    "bytes/word": "{extra_bytes_per_word:+.0f}",
}
_DESCRIPTION = (
    "Fills memories with random words, then times steps that replace 36 of them and search for "
    "the 8 nearest of 4 queries in each memory, the indexes taking turns."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``bench-index``."""
    parser.description = _DESCRIPTION
    parser.add_argument(
        "--index",
        nargs="+",
        metavar="NAME",
        help="kinds, with options in brackets: 'lsh[probes=8]' 'faiss:IVF256,Flat[probes=4]'; "
        "default all that are installed",
    )
    parser.add_argument(
        "--memory-size", type=int, nargs="+", metavar="N", default=MEMORY_SIZES, help="words"
    )
    parser.add_argument("--word-size", type=int, default=32, metavar="W", help="default 32")
    parser.add_argument("--batch-size", type=int, default=8, metavar="B", help="default 8")
    parser.add_argument("--words", default="clustered", help=f"{' or '.join(WORDS)}")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each index, default 5")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch, default 1")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")


def bench_index(options: argparse.Namespace, report: Callable[[str], None]) -> None:
    """Measures the indexes and reports a table for each memory size.

    Args:
        options: as `add_arguments` parses them.
        report: is called with each piece of text as soon as it is known.

    Raises:
        ConfigError: fewer than 1 round or thread, or no folder for the file.
        ValueError: an index, an option, a kind of words or a size is not valid.
        BackendMissingError: an index was named whose package is not installed.
    """
    for name, most in (("rounds", MOST), ("threads", MOST_THREADS)):
        check_between(f"--{name}", getattr(options, name), 1, most)
    if options.json is not None and not options.json.absolute().parent.is_dir():
        raise ConfigError(f"--json: expected a file in a folder that exists, got {options.json}")
    common = {name: getattr(options, name) for name in ("word_size", "batch_size", "words")}
    settings = [
        Setting(memory_size=size, writes=max(1, min(WRITES, size)), **common)
        for size in options.memory_size
    ]
    configs = {spell_index(config): config for config in map(parse_index, options.index or ())}
    for config in configs.values():  # a mistake is an error before anything is measured
        for setting in settings:
            maker(config, setting)()
    for kind in () if options.index else available_indexes():
        try:
            make_index(kind, batch_size=1, capacity=1, word_size=1)
        except BackendMissingError as error:
            report(f"{kind}: left out; {error}")
        else:
            configs[kind] = IndexConfig(kind=kind)
    torch.set_num_threads(options.threads)
    results = []
    for setting in settings:
        with refused_if_too_large(f"{setting.batch_size} memories of {setting.memory_size} words"):
            rows = measure(setting, configs, rounds=options.rounds)
        results.append({"memory_size": setting.memory_size, "indexes": rows})
        report(
            f"N = {setting.memory_size}, {traffic(setting)}, {torch.get_num_threads()} thread(s)"
        )
        report(table(rows, top_k=setting.top_k))
    if options.json is not None:
        content = common | {"rounds": options.rounds, "threads": torch.get_num_threads()}
        content |= {"torch": torch.__version__, "results": results}
        write_atomic(options.json, json.dumps(content, indent=2) + "\n")
        report(f"{options.json}")


def measure(
    setting: Setting, configs: Mapping[str, IndexConfig], *, rounds: int
) -> list[dict[str, Any]]:
    """A record for each index, exact search first.

    Args:
        setting: sizes and kind of words.
        configs: by the name to show.
        rounds: turns of each.
    """
    comparison = Comparison(setting, {n: maker(config, setting) for n, config in configs.items()})
    built = comparison.load()
    judged, held = comparison.judge(), comparison.bytes_held()
    times = comparison.time(partial(take_turns, rounds=rounds, warmup=0))
    words = setting.batch_size * setting.memory_size
    return [
        {
            "index": name,
            "searching": judged[name].searching,
            "build_seconds": seconds,
            "update_ms": 1e3 * median(times[name]["update"]),
            "search_ms": 1e3 * median(times[name]["search"]),
            "recall_1": judged[name].recall_1,
            "recall_k": judged[name].recall_k,
            "candidates": judged[name].candidates,
            "extra_bytes_per_word": held[name] / words - 4 * setting.word_size,
        }
        for name, seconds in sorted(built.items(), key=lambda item: item[0] != EXACT)
    ]


def traffic(setting: Setting) -> str:
    """The setting in a line."""
    return (
        f"W = {setting.word_size}, batch {setting.batch_size}, {setting.words} words; a step "
        f"replaces {setting.writes} and searches {setting.queries} x {setting.top_k} per memory"
    )


def table(rows: Sequence[Mapping[str, Any]], *, top_k: int) -> str:
    """The records in columns; bytes are those beyond the words themselves."""
    lines = [["index", *(title.format(top_k=top_k) for title in _COLUMNS)]]
    for row in rows:
        numbers = {**row, "both_ms": row["update_ms"] + row["search_ms"]}
        lines.append([row["index"], *(form.format_map(numbers) for form in _COLUMNS.values())])
    return describe.table(lines, align=str.rjust)
