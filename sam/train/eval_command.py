"""``sparse-sam eval``: trained models on held-out data, with their own memory or another one."""

import argparse
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from sam.errors import ConfigError
from sam.train import describe
from sam.train.evaluate import SliceResult, as_record, evaluate
from sam.train.figures import run_title
from sam.train.folder import check_run
from sam.train.loop import Progress
from sam.train.memory_off import memory_off
from sam.train.names import CHECKPOINT, EVALUATION
from sam.train.run_files import STALE, remove_temporaries, write_atomic
from sam.train.slice_errors import slice_error, slice_name
from sam.train.streams import print_error
from sam.train.summary import error_unit
from sam.train.sweep.plan import is_sweep
from sam.train.train_config import EvalConfig, RunConfig
from sam.train.variants import load_variant

# What may be other than in training.
_CHANGED = "memory_size", "index", "base"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``eval``."""
    parser.add_argument(
        "folders", metavar="RUN", type=Path, nargs="+", help="folder of a run, or of a sweep"
    )
    parser.add_argument("--levels", type=int, nargs="+", help="difficulties, default the run's")
    parser.add_argument("--count", type=int, help="sequences at each level")
    parser.add_argument("--batch-size", type=int, help="sequences per forward pass")
    parser.add_argument("--memory-size", type=int, metavar="N", help="words, default the run's")
    parser.add_argument("--index", metavar="NAME", help="of the memory, default the run's")
    parser.add_argument(
        "--memory-off", action="store_true", help="also evaluate with zeros for all words read"
    )
    parser.add_argument("--base", metavar="PATH", help="folder of a base, default the run's")


def eval_command(options: argparse.Namespace, *, prog: str) -> int:
    """Evaluates one run, or several into one table, and writes eval.json of each.

    Args:
        options: as `add_arguments` parses them.
        prog: name of the program, for messages.

    Raises:
        ConfigError: the runs are of tasks that cannot be compared; a model has no such memory.
        ValueError, OSError: as `load_variant`.
    """
    folders = runs_of(options.folders)
    if len(folders) == 1:
        found = {folders[0]: _evaluated(folders[0], options)}
        (folder, (config, progress, _, results, off)), *_ = found.items()
        print(f"{folder} at update {progress.update}, {torch.get_num_threads()} thread(s)")
        if any(getattr(options, name) is not None for name in _CHANGED):
            print(run_title(config))
        print(describe.describe_results(results, config.task))
        if off is not None:
            print(f"with its memory off:\n{describe.describe_results(off, config.task)}")
    else:
        found = _evaluated_as_far_as_possible(folders, options, prog)
        print(_table(found))
    for folder, (config, progress, settings, results, off) in found.items():
        content = {
            "update": progress.update,
            "seed": config.train.seed,
            "settings": dataclasses.asdict(settings),
            "results": [as_record(result, config.task.kind) for result in results],
        }
        if off is not None:
            content["memory_off"] = [as_record(result, config.task.kind) for result in off]
        changed = {name: getattr(options, name) for name in _CHANGED}
        content |= {name: value for name, value in changed.items() if value is not None}
        _write(folder, content, prog)
    return 0


def runs_of(folders: Sequence[Path]) -> list[Path]:
    """The folders, with those of its trained runs in place of a sweep.

    Raises:
        ConfigError: a folder is not that of a run, or a sweep has no trained run yet.
    """
    found: list[Path] = []
    for folder in folders:
        if not is_sweep(folder):
            check_run(folder)
            found.append(folder)
            continue
        inside = sorted(path.parent for path in folder.glob(f"*/{CHECKPOINT}"))
        if not inside:
            raise ConfigError(f"{folder}: expected a sweep with trained runs, got none of them")
        found += inside
    return found


class _Found(NamedTuple):
    """What an evaluation found."""

    config: RunConfig
    progress: Progress
    settings: EvalConfig
    results: list[SliceResult]
    off: list[SliceResult] | None  # of the same model with its memory off


def _evaluated(folder: Path, options: argparse.Namespace) -> _Found:
    config, model, progress = load_variant(
        folder, memory_size=options.memory_size, index=options.index, base=options.base
    )
    torch.set_num_threads(config.train.threads)
    given = {"count": options.count, "batch_size": options.batch_size}
    given["levels"] = options.levels and tuple(options.levels)
    settings: EvalConfig = dataclasses.replace(
        config.eval, **{key: value for key, value in given.items() if value is not None}
    )
    given = {"seed": config.train.seed, **dataclasses.asdict(settings)}
    results, off = evaluate(model, config.task, **given), None
    if options.memory_off:
        off = evaluate(memory_off(model), config.task, **given)
    return _Found(config, progress, settings, results, off)


def _evaluated_as_far_as_possible(
    folders: Sequence[Path], options: argparse.Namespace, prog: str
) -> dict[Path, _Found]:
    """Several runs; one that cannot be evaluated in this way is left out, with a line about it.

    Raises:
        ValueError: none can be.
    """
    found, left_out = {}, None
    for folder in folders:
        try:
            found[folder] = _evaluated(folder, options)
        except ValueError as error:
            left_out = error
            print_error(f"{prog}: {folder} is left out: {' '.join(str(error).split())}")
    if left_out is not None and not found:
        raise left_out
    return found


def _table(found: Mapping[Path, _Found]) -> str:
    """A line for each run, a column for the error of each slice."""
    kinds = {one.config.task.kind for one in found.values()}
    if len(kinds) > 1:
        raise ConfigError(f"eval: expected runs of one kind of task, got {', '.join(kinds)}")
    kind = kinds.pop()
    slices = dict.fromkeys(
        (result.name, slice_name(one.config.task, result.name, result.value))
        for one in found.values()
        for result in one.results
    )
    titles = [name if name == "all" else f"{name} {value}" for name, value in slices]
    rows = [["run", "update", "N", "index", *titles]]
    for folder, (config, progress, _, results, off) in found.items():
        size = getattr(config.model, "memory_size", None)
        index = "" if config.index is None else config.index.kind
        row = [str(folder), str(progress.update), "" if size is None else f"{size:,}", index]
        for named, of_run in ((row, results), (["  memory off", "", "", ""], off or [])):
            numbers = {
                (one.name, slice_name(config.task, one.name, one.value)): slice_error(
                    one._asdict(), kind
                )
                for one in of_run
            }
            if numbers:
                found_at = (f"{numbers[key]:.4g}" if key in numbers else "" for key in slices)
                rows.append([*named, *found_at])
    return f"{describe.table(rows)}\n{error_unit(kind)}"


def _write(folder: Path, content: dict[str, Any], prog: str) -> None:
    try:
        remove_temporaries(folder, [EVALUATION], older_than=STALE)
        write_atomic(folder / EVALUATION, json.dumps(content, indent=2) + "\n")
    except OSError as error:  # perhaps another user's run; the numbers have been printed
        text = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        print_error(f"{prog}: {EVALUATION} is not written: {' '.join(text.split())}")
