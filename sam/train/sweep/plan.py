"""What a sweep will run, all of it checked before anything runs, and the file that says so."""

import dataclasses
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict

import torch

from index import IndexConfig
from sam.errors import BackendMissingError, ConfigError
from sam.setting_checks import check_between
from sam.train.folder import build_model, check_extension, check_new, described, read_config
from sam.train.lines import parse_json
from sam.train.names import CONFIG, SUMMARY, SWEEP, check_places
from sam.train.overrides import given_value, override
from sam.train.run_files import read_file, write_atomic
from sam.train.settings import has_index, model_settings, read_recipe, resolve, to_tables
from sam.train.summary import read_summary
from sam.train.sweep.grid import Cell, make_cells, parse_grid
from sam.train.toml import Tables, to_toml
from sam.train.train_config import RunConfig

RECIPE = "recipe.toml"
MOST_SEEDS, MOST_JOBS = 1000, 256
State = Literal["new", "begun", "finished"]


class Plan(TypedDict):
    """What sweep.json holds: the command, in parts."""

    command: str
    recipe: str
    overrides: tuple[str, ...]
    grid: tuple[str, ...]
    seeds: int
    cost_only: bool
    full: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """An ordinary run of a sweep.

    Attributes:
        name: of its folder, in the folder of the sweep.
        cell: its settings.
        seed: `train.seed`.
        config: all settings.
        command: what ``train`` would be given to do the same.
    """

    name: str
    cell: Cell
    seed: int
    config: RunConfig
    command: str


class Sweep:
    """The runs of a plan.

    Args:
        plan: what to run.
        tables: of the recipe.
        prog: name of the program, for commands and help.

    Attributes:
        plan: as given.
        keys: of the grid.
        runs: cell after cell, its seeds together.
        warnings: lines about what is left out.

    Raises:
        ConfigError: a key or value is not valid, or a cell's settings do not fit together; the
            cell is named.
        ValueError: as above, from a part of the library.
        BackendMissingError: the package of an index is not installed.
    """

    def __init__(self, plan: Plan, tables: Tables, *, prog: str) -> None:
        check_between("--seeds", plan["seeds"], 1, MOST_SEEDS)
        self.plan = plan
        grid = parse_grid(plan["grid"])
        self.keys = (*grid,)
        overrides = [*plan["overrides"]]
        kind = given_value(overrides, "--model.kind") or _kind(tables, plan["recipe"])
        known = {one: _keys_of_model(one) for one in grid.get("model.kind", (kind,))}
        cells, self.warnings = make_cells(grid, known, kind)
        self.runs: list[Run] = []
        for cell in cells:
            model = cell.settings.get("model.kind", kind)
            given = [*_fitting(overrides, model, known, self._left_out), *cell.arguments]
            self.runs += self._runs_of(cell, model, tables, given, prog)
        _check([run for run in self.runs if run.seed == self.runs[0].seed])

    def _runs_of(
        self, cell: Cell, kind: str, tables: Tables, given: list[str], prog: str
    ) -> list[Run]:
        recipe = self.plan["recipe"]
        if tables.get("index") and not has_index(kind):
            tables = {name: table for name, table in tables.items() if name != "index"}
            self._warn(f"{kind} has no index: the recipe's [index] is left out for it")
        base = override(resolve(tables, recipe, kind=kind), given, prog=f"{prog} sweep {recipe}")
        found = []
        for seed in range(base.train.seed, base.train.seed + self.plan["seeds"]):
            config = dataclasses.replace(base, train=dataclasses.replace(base.train, seed=seed))
            words = [prog, "train", recipe, *given, "--train.seed", str(seed)]
            name = f"{cell.name}_seed-{seed}"
            found.append(Run(name, cell, seed, config, shlex.join(words)))
        return found

    def _left_out(self, kind: str, key: str) -> None:
        if key not in self.keys:  # of those in the grid it has been said
            self._warn(f"{kind} has no {key.replace('_', '-')}: left out for it")

    def _warn(self, line: str) -> None:
        if line not in self.warnings:
            self.warnings.append(line)


def read_plan(folder: Path) -> tuple[Plan, Tables]:
    """Reads the plan of a sweep, and its recipe as it was.

    Raises:
        ConfigError: the folder is not that of a sweep, or a file is damaged.
    """
    if not is_sweep(folder):
        raise ConfigError(f"{folder}: expected the folder of a sweep, got {described(folder)}")
    path = folder / SWEEP
    plan = parse_json(read_file(path), str(path), Plan)
    return plan, read_recipe(str(folder / RECIPE))[0]


def write_plan(folder: Path, plan: Plan, tables: Tables) -> None:
    """Writes the plan of a sweep, and its recipe, each whole or not at all."""
    write_atomic(folder / RECIPE, to_toml(tables))
    write_atomic(folder / SWEEP, json.dumps(plan, indent=2) + "\n")


def is_sweep(folder: Path) -> bool:
    """Whether a folder is that of a sweep."""
    return (folder / SWEEP).is_file()


def states(sweep: Sweep, folder: Path) -> dict[str, State]:
    """What there is of each run in the sweep's folder.

    Raises:
        ConfigError: a run there has other settings, or a folder holds something else.
    """
    return {run.name: _state(folder / run.name, run) for run in sweep.runs}


def _state(folder: Path, run: Run) -> State:
    if not (folder / CONFIG).exists():
        check_new(folder)
        return "new"
    there = read_config(folder)
    try:
        check_extension(there, run.config)
        check_places(folder)
    except ConfigError as error:
        raise ConfigError(f"{folder}: {error}; --out names another folder") from error
    if to_tables(there) != to_tables(run.config) or not (folder / SUMMARY).exists():
        return "begun"
    try:
        read_summary(folder / SUMMARY)
    except ConfigError:  # damaged: written anew at the end of the resumed run
        return "begun"
    return "finished"


def _kind(tables: Tables, source: str) -> str:
    """The kind of model of a recipe, without its [index], which not every model has."""
    plain = {name: table for name, table in tables.items() if name != "index"}
    return resolve(plain, source).model.kind


def _keys_of_model(kind: str) -> list[str]:
    """Keys of a model's settings, and of its index."""
    keys = [f"model.{field.name}" for field in dataclasses.fields(model_settings(kind))]
    if has_index(kind):
        keys += [f"index.{field.name}" for field in dataclasses.fields(IndexConfig)]
    return keys


def _fitting(
    overrides: Sequence[str], kind: str, known: Mapping[str, Sequence[str]], left_out: Any
) -> list[str]:
    """The overrides without those of settings that this model has not, but another one has."""
    others = {key for keys in known.values() for key in keys} - {*known[kind]}
    kept, keeping = [], True
    for word in overrides:
        if word.startswith("--"):
            flag = word.partition("=")[0]
            key = flag[2:].replace("-", "_").replace(".no_", ".", 1)
            key = "index.kind" if key == "index" else key
            keeping = key not in others
            if not keeping:
                left_out(kind, key)
        if keeping:
            kept.append(word)
    return kept


def _check(runs: Iterable[Run]) -> None:
    """Builds each model once, and draws once from each task, so that mistakes show now."""
    drawn = set()
    for run in runs:
        try:
            model: Any = build_model(run.config)
            if run.config.index is not None:
                model.initial_state(1)
            if repr(run.config.task) not in drawn:
                run.config.task.sample(1, generator=torch.Generator())
                drawn.add(repr(run.config.task))
        except BackendMissingError as error:
            raise BackendMissingError(f"{run.cell.name}: {error}") from error
        except ValueError as error:
            raise ConfigError(f"{run.cell.name}: {error}") from error
