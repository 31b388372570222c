"""From what was typed after ``train`` to the settings of a run and its folder."""

from pathlib import Path

from sam.errors import ConfigError
from sam.train.config import RunConfig
from sam.train.folder import check_extension, check_new, new_folder, read_config
from sam.train.overrides import given_value, override
from sam.train.recorder import CONFIG
from sam.train.settings import read_recipe, resolve


def plan(
    recipe: str | None,
    overrides: list[str],
    *,
    resume: str | None = None,
    folder: str | None = None,
    prog: str,
) -> tuple[RunConfig, Path]:
    """Settles a new run, or one that goes on.

    Settings come from the recipe, and overrides go before it. When they name another model
    (``--model.kind``), those of the recipe's model settings are kept that the other model has.

    Args:
        recipe: a recipe's name or file; not used when `resume` is given.
        overrides: ``--section.key value`` arguments.
        resume: folder of the run to go on with.
        folder: a new or empty folder for a new run; ``runs/RECIPE-N`` by default.
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
        config = override(begun_with, overrides, prog=f"{prog} train --resume {resume}")
        check_extension(begun_with, config)
        return config, Path(resume)
    if recipe is None:
        raise ConfigError("train: expected a recipe, got none")
    tables, source = read_recipe(recipe)
    config = resolve(tables, source, kind=given_value(overrides, "--model.kind"))
    config = override(config, overrides, prog=f"{prog} train {recipe}")
    if folder is not None:
        check_new(Path(folder))
        return config, Path(folder)
    # The settings of an earlier run say nothing in their file's name; the task does.
    path = Path(recipe)
    return config, new_folder(config.task_name if path.name == CONFIG else path.stem)
