"""``sparse-sam sweep``: many runs of one recipe, in a folder that can be gone on with."""

import argparse
import shlex
import sys
from pathlib import Path

from sam.errors import ConfigError
from sam.setting_checks import check_between
from sam.train import describe
from sam.train.extras import import_extra
from sam.train.imports import with_imports
from sam.train.interrupt import stop_on_signal
from sam.train.lock import run_lock
from sam.train.names import SWEEP
from sam.train.run_files import remove_temporaries
from sam.train.settings import read_recipe, to_tables
from sam.train.summary import error_unit
from sam.train.sweep.costs import COSTS, read_cost
from sam.train.sweep.display import make_display
from sam.train.sweep.figures import draw_sweep
from sam.train.sweep.plan import (
    MOST_JOBS,
    RECIPE,
    Plan,
    Run,
    Sweep,
    read_plan,
    states,
    write_plan,
)
from sam.train.sweep.pool import Ended, run_jobs
from sam.train.sweep.rows import cost_path, describe_row, make_rows
from sam.train.sweep.table import CSV, JSON, MARKDOWN, summarised, write_tables
from sam.train.sweep.worker import Job
from sam.train.toml import Tables, to_toml

SOME_FAILED = 1  # exit code
_DESCRIPTION = (
    "Runs a recipe once for each combination of the values of --grid and each seed, in a folder of "
    "ordinary runs, and writes a table and figures. The same command goes on with what is there: "
    "finished runs are kept, others resumed. Settings of all runs are given as to train: "
    "--section.key value; `train RECIPE --help` lists them."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``sweep``."""
    parser.description = _DESCRIPTION
    parser.add_argument(
        "--grid",
        action="append",
        default=[],
        metavar="KEY=V1,V2",
        help="a setting and its values, as model.memory-size=1024,65536 or index=exact,"
        "ivf[probes=8]; semicolons between values that have commas; once for each setting",
    )
    parser.add_argument("--seeds", type=int, metavar="N", help="runs of each cell, default 1")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes, default 1")
    parser.add_argument("--out", metavar="DIR", help="folder, default runs/sweep-RECIPE")
    parser.add_argument("--resume", metavar="DIR", help="go on with the sweep in this folder")
    parser.add_argument(
        "--cost-only", action="store_true", help="measure the step of each cell, train nothing"
    )
    parser.add_argument(
        "--full", action="store_true", help="with --cost-only: memories full of words, not fresh"
    )


def sweep_command(options: argparse.Namespace, rest: list[str], *, prog: str) -> int:
    """Runs a sweep.

    Args:
        options: as `add_arguments` parses them.
        rest: the recipe, unless a sweep is resumed, and overrides.
        prog: name of the program.

    Returns:
        The exit code: 0; 1 if runs have failed; that of the signal that has stopped it.

    Raises:
        ConfigError, ValueError, OSError, BackendMissingError: of what is asked for, something does
            not exist or does not fit together. Nothing has run or been written then.
    """
    check_between("--jobs", options.jobs, 1, MOST_JOBS)
    plan, tables, folder = _planned(options, rest)
    for name in ("safetensors.torch", "matplotlib.figure"):
        import_extra(name)
    sweep = Sweep(plan, tables, prog=prog)
    states(sweep, folder)
    with run_lock(folder):
        return _run(sweep, tables, folder, jobs=options.jobs, prog=prog)


def redraw(folder: Path, *, prog: str) -> list[Path]:
    """Writes the table and the figures of a sweep's folder anew.

    Raises:
        ConfigError: the folder is not that of a sweep, or a file is damaged.
        OSError: something cannot be written.
    """
    plan, tables = read_plan(folder)
    sweep = Sweep(plan, tables, prog=prog)
    rows = make_rows(sweep, folder, {})
    return [*write_tables(sweep, folder, rows), *draw_sweep(sweep, folder, rows)]


def _planned(options: argparse.Namespace, rest: list[str]) -> tuple[Plan, Tables, Path]:
    """The plan, the tables of its recipe, and its folder."""
    if options.resume is not None:
        given = [*rest, *options.grid, *(["--out"] if options.out else [])]
        if given or options.seeds is not None or options.cost_only or options.full:
            raise ConfigError("sweep: expected nothing but --jobs beside --resume")
        folder = Path(options.resume)
        return *read_plan(folder), folder
    recipe = rest.pop(0) if rest and not rest[0].startswith("-") else None
    if recipe is None:
        raise ConfigError("sweep: expected a RECIPE (right after it) or --resume DIR")
    if not options.grid:
        raise ConfigError("sweep: expected at least one --grid KEY=VALUE,VALUE,...")
    if options.full and not options.cost_only:
        raise ConfigError("--full: expected together with --cost-only; training begins empty")
    if options.cost_only and options.seeds not in (None, 1):
        raise ConfigError("--seeds: expected none together with --cost-only")
    plan = Plan(
        command=options.typed,
        recipe=recipe,
        overrides=(*rest,),
        grid=(*options.grid,),
        seeds=1 if options.seeds is None else options.seeds,
        cost_only=options.cost_only,
        full=options.full,
    )
    stem = "cost" if options.cost_only else "sweep"
    folder = Path(options.out or f"runs/{stem}-{Path(recipe).stem}")
    return plan, with_imports(*read_recipe(recipe), options.imports), folder


def _run(sweep: Sweep, tables: Tables, folder: Path, *, jobs: int, prog: str) -> int:
    """What `sweep_command` does in a folder whose lock this process holds."""
    remove_temporaries(folder, (SWEEP, RECIPE, CSV, JSON, MARKDOWN))
    write_plan(folder, sweep.plan, tables)
    if sweep.plan["cost_only"]:
        (folder / COSTS).mkdir(exist_ok=True)
    unit = error_unit(sweep.runs[0].config.task.kind)
    waiting = _jobs(sweep, folder)
    kept = len(sweep.runs) - len(waiting)
    ended: dict[str, tuple[str, str]] = {}
    display = make_display(sys.stdout, len(sweep.runs), kept)
    for line in sweep.warnings:
        display.say(f"warning: {line}")
    display.say(f"{folder}: {len(sweep.runs)} runs, {kept} of them finished before")

    def note(result: Ended) -> None:
        if result.how != "finished":
            ended[result.name] = result.how, result.reason
        rows = make_rows(sweep, folder, ended)
        write_tables(sweep, folder, rows)
        row = next(row for row in rows if row["run"] == result.name)
        display.ended(result.name, describe_row(row, unit))

    with display, stop_on_signal() as should_stop:
        run_jobs(waiting, processes=jobs, display=display, should_stop=should_stop, ended=note)
    rows = make_rows(sweep, folder, ended)
    written = write_tables(sweep, folder, rows)
    print(describe.table(summarised(sweep, rows)))
    for path in [*written, *draw_sweep(sweep, folder, rows)]:
        print(path)
    if should_stop():
        print(f"stopped; {prog} sweep --resume {shlex.quote(str(folder))} goes on")
        return should_stop.exit_code
    failed = [name for name, (how, _) in ended.items() if how == "failed"]
    if failed:
        print(f"{len(failed)} of {len(sweep.runs)} runs failed; {folder / MARKDOWN} says why")
    return SOME_FAILED if failed else 0


def _jobs(sweep: Sweep, folder: Path) -> list[Job]:
    """What is left to do."""
    there = {} if sweep.plan["cost_only"] else states(sweep, folder)
    return [
        Job(
            name=run.name,
            settings=to_toml(to_tables(run.config)),
            folder=str(_place(sweep, folder, run)),
            resume=there.get(run.name) == "begun",
            command=run.command,
            cost_only=sweep.plan["cost_only"],
            full=sweep.plan["full"],
        )
        for run in sweep.runs
        if not _is_done(sweep, folder, run, there)
    ]


def _place(sweep: Sweep, folder: Path, run: Run) -> Path:
    return cost_path(folder, run) if sweep.plan["cost_only"] else folder / run.name


def _is_done(sweep: Sweep, folder: Path, run: Run, there: dict) -> bool:
    if not sweep.plan["cost_only"]:
        return there[run.name] == "finished"
    return read_cost(cost_path(folder, run), run.config, full=sweep.plan["full"]) is not None
