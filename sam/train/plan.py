"""Settings and folder of a run, from the arguments of ``train``."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from sam.errors import ConfigError, RunInUseError
from sam.train.folder import check_extension, check_new, new_folder, read_config
from sam.train.imports import import_parts, joined, with_imports
from sam.train.lock import run_lock
from sam.train.names import CONFIG
from sam.train.overrides import given_value, override
from sam.train.settings import read_recipe, resolve
from sam.train.train_config import RunConfig


class Plan(NamedTuple):
    """Settings and folder of a run."""

    config: RunConfig
    folder: Path | None  # None: the first free one of ``runs/STEM-1``, ``runs/STEM-2``, ...
    stem: str = ""
    begun_with: RunConfig | None = None  # settings in the folder of a run to resume


def plan(
    recipe: str | None,
    overrides: list[str],
    *,
    resume: str | None = None,
    folder: str | None = None,
    imports: tuple[str, ...] = (),
    prog: str,
) -> Plan:
    """Plans a new run, or one to resume.

    Overrides take precedence over the recipe. When they name another model (``--model.kind``),
    those of the recipe's model settings are kept that the other model has too.

    Args:
        recipe: a recipe's name or file; not used when `resume` is given.
        overrides: ``--section.key value`` arguments.
        resume: folder of the run to resume.
        folder: a new or empty folder for a new run; ``runs/RECIPE-N`` by default.
        imports: modules and files to import beside those of the recipe or the run.
        prog: name of the program, for its help text.

    Returns:
        The settings, and the run's folder, not yet made.

    Raises:
        ConfigError: a setting is unknown or refused, may not change on resuming, or the folder is
            not empty.
        UnknownNameError: there is no such recipe, task or model.
        OSError: a file cannot be read.
    """
    if resume is not None:
        if folder is not None:
            raise ConfigError("--run: expected no new folder together with --resume")
        begun_with = read_config(Path(resume))
        extended = replace(begun_with, imports=joined(begun_with.imports, imports))
        config = override(extended, overrides, prog=f"{prog} train --resume {resume}")
        check_extension(begun_with, config)
        return Plan(config, Path(resume), begun_with=begun_with)
    if recipe is None:
        raise ConfigError("train: expected a recipe, got none")
    imports = import_parts(imports)
    tables, source = read_recipe(recipe)
    tables = with_imports(tables, source, imports)
    config = resolve(tables, source, kind=given_value(overrides, "--model.kind"))
    config = override(config, overrides, prog=f"{prog} train {recipe}")
    if folder is not None:
        check_new(Path(folder))
        return Plan(config, Path(folder))
    # The settings of an earlier run say nothing in their file's name; the task does.
    path = Path(recipe)
    return Plan(config, None, config.task_name if path.name == CONFIG else path.stem)


@contextmanager
def held_folder(planned: Plan) -> Iterator[Path]:
    """The folder of a plan, locked for this process until the run's last file is written.

    Raises:
        RunInUseError: another process trains in it.
        ConfigError: another process has changed the settings since they were read.
        OSError: the folder cannot be made or written to.
    """
    with ExitStack() as held:
        folder = planned.folder
        if folder is not None:
            held.enter_context(run_lock(folder))
        while folder is None:
            free = new_folder(planned.stem)
            # Runs started at the same time may find the same number free; one of them gets it.
            with suppress(RunInUseError):
                held.enter_context(run_lock(free))
                folder = free
        if planned.begun_with is not None and read_config(folder) != planned.begun_with:
            raise ConfigError(
                f"{folder / CONFIG}: expected the settings as they were read, got others that "
                "another process has just written; try again"
            )
        yield folder
