"""Converts the tables of a recipe to a `RunConfig` and back.

A recipe is a TOML file with a table per section. ``[task]`` has the task's name and its settings,
``[model]`` the model's `kind` and its constructor's keyword arguments, ``[index]`` an
`IndexConfig`; the others are in `sam.train.train_config`. Only what differs from the defaults is
written. Above the tables may stand ``import = ["my_module"]``, see `sam.train.imports`.
"""

import dataclasses
import functools
import inspect
from pathlib import Path
from typing import Any, Literal, cast, get_type_hints

from index import IndexConfig
from sam.errors import ConfigError, unknown_name
from sam.models import model_class
from sam.tasks import available_tasks, task_class
from sam.train.coerce import fill, is_plain, shown, unknown_key
from sam.train.curriculum import CurriculumConfig
from sam.train.imports import IMPORT, beside, check_names, import_parts
from sam.train.toml import Tables, read_toml
from sam.train.train_config import EvalConfig, OptimizerConfig, RunConfig, TrainConfig

RECIPES = Path(__file__).parent / "recipes"
_CLASSES: dict[str, type] = {
    "optimizer": OptimizerConfig,
    "train": TrainConfig,
    "curriculum": CurriculumConfig,
    "eval": EvalConfig,
}
DEFAULT_MODEL = "sam"
SECTIONS = ("task", "model", "index", *_CLASSES)
# Not settings of a run: the loop is time first, and the index has a section of its own.
_NOT_SETTINGS = ("batch_first", "index")


def available_recipes() -> tuple[str, ...]:
    """Lists the recipes that come with the library, sorted."""
    return tuple(sorted(path.stem for path in RECIPES.glob("*.toml")))


def read_recipe(name: str) -> tuple[Tables, str]:
    """Reads a recipe by its name, or by the path of a TOML file.

    Args:
        name: a name of `available_recipes`, or a path ending in ``.toml``, or the name of a task,
            which is then trained with the default settings.

    Returns:
        The tables, and what to call the recipe in messages.

    Raises:
        UnknownNameError: no recipe has this name.
        ConfigError: the file is not TOML.
        OSError: the file cannot be read.
    """
    if name in available_recipes():
        return read_toml(RECIPES / f"{name}.toml"), f"recipe {name}"
    if name.endswith(".toml"):
        tables = read_toml(name)
        if IMPORT in tables:
            names = check_names(tables[IMPORT], name)
            tables[IMPORT] = beside(names, Path(name).parent)
        return tables, name
    if name in available_tasks():
        return {"task": {"name": name}}, f"task {name}"
    raise unknown_name("recipe", name, available_recipes())


def resolve(tables: Tables, source: str = "recipe", *, kind: str | None = None) -> RunConfig:
    """Fills every section's dataclass from a recipe's tables.

    Args:
        tables: what `read_recipe` returned. Without ``[model]`` the model is a SAM.
        source: the recipe's name, for messages.
        kind: a model to use in place of the recipe's. Those of the recipe's model settings are
            kept that the other model has too.

    Returns:
        The settings of the run, complete.

    Raises:
        ConfigError: a section or key is unknown, or a value is of the wrong type or refused.
        UnknownNameError: there is no such task, model or index.
    """
    imports = import_parts(check_names(tables.get(IMPORT, ()), source))
    tables = {key: table for key, table in tables.items() if key != IMPORT}
    for section in tables:
        if section not in SECTIONS:
            raise unknown_key(f"{source}: [{section}]", section, SECTIONS, "")
    task_name, task_table = _take_name(tables, "task", "name", source)
    if "model" not in tables:
        tables = {**tables, "model": {"kind": DEFAULT_MODEL}}
    recipe_kind, model_table = _take_name(tables, "model", "kind", source)
    kind = kind or recipe_kind
    model_type = model_settings(kind)
    index_table = tables.get("index", {})
    if kind != recipe_kind:
        model_settings(recipe_kind)  # a misspelt kind is an error even when it is not used
        known = {field.name for field in dataclasses.fields(model_type)}
        model_table = {key: value for key, value in model_table.items() if key in known}
    elif index_table and not has_index(kind):
        raise ConfigError(f"{source}: [index]: expected no such section for model {kind!r}")

    task_type = cast(type, task_class(task_name))
    if "base" in model_table and _has_base(task_type):  # the questions are about what it holds
        task_table = {"base": model_table["base"]} | task_table
    others = {
        section: fill(cls, tables.get(section, {}), section, source)
        for section, cls in _CLASSES.items()
    }
    return RunConfig(
        task_name=task_name,
        task=fill(task_type, task_table, "task", source),
        model=fill(model_type, model_table, "model", source),
        index=fill(IndexConfig, index_table, "index", source) if has_index(kind) else None,
        imports=imports,
        **others,
    )


def to_tables(config: RunConfig) -> Tables:
    """The complete tables of a run, defaults included; `resolve` gives the same run back."""
    tables: Tables = {
        section: {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}
        for section in SECTIONS
        if (value := getattr(config, section)) is not None
    }
    for section in tables:
        for field in dataclasses.fields(getattr(config, section)):
            # TOML leaves None out, so reading back would put the default in its place.
            if field.init and tables[section][field.name] is None and field.default is not None:
                raise ConfigError(f"{section}.{field.name}: expected a value, got None")
    tables["task"] = {"name": config.task_name} | tables["task"]
    return ({IMPORT: [*config.imports]} if config.imports else {}) | tables


def model_arguments(config: RunConfig) -> dict[str, Any]:
    """The keyword arguments of the model's constructor."""
    fields = dataclasses.fields(config.model)
    arguments = {f.name: getattr(config.model, f.name) for f in fields if f.name != "kind"}
    return arguments if config.index is None else arguments | {"index": config.index}


def with_base(config: RunConfig, path: str) -> RunConfig:
    """The settings with another base, of the model and, if it asks about one, of the task.

    Raises:
        ConfigError: the model has none.
    """
    if not hasattr(config.model, "base"):
        raise ConfigError(f"--base: expected a model that has one, got {config.model.kind}")
    model = dataclasses.replace(config.model, base=path)
    task = config.task
    if _has_base(type(task)):
        task = dataclasses.replace(task, base=path)
    return dataclasses.replace(config, model=model, task=task)


def _has_base(task: type) -> bool:
    return any(field.name == "base" for field in dataclasses.fields(task))


def has_index(kind: str) -> bool:
    """Whether the model looks its words up in an index."""
    return "index" in _keywords(kind)


@functools.cache
def model_settings(kind: str) -> type:
    """Derives the settings dataclass of a model from its constructor's keyword arguments.

    Arguments that TOML cannot express (callables, modules) are left out and keep their defaults.

    Args:
        kind: the model's name.

    Returns:
        A frozen dataclass: `kind`, and one field per argument with the argument's default.

    Raises:
        UnknownNameError: there is no such model.
    """
    hints = get_type_hints(_constructor(kind))
    kinds = Literal[kind]  # type: ignore[valid-type]
    fields = [("kind", kinds, dataclasses.field(default=kind))]
    fields += [
        (name, hints[name], dataclasses.field(default=parameter.default))
        for name, parameter in _keywords(kind).items()
        if name not in _NOT_SETTINGS and is_plain(hints.get(name))
    ]
    doc = inspect.getdoc(model_class(kind)) or f"Settings of {kind}."
    return dataclasses.make_dataclass(
        f"{kind}_settings",
        fields,
        frozen=True,
        kw_only=True,
        slots=True,
        namespace={"__doc__": doc},
    )


def _constructor(kind: str) -> Any:
    model = model_class(kind)
    return model.__init__ if inspect.isclass(model) else model


def _keywords(kind: str) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(_constructor(kind)).parameters.values()
    return {p.name: p for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}


def _take_name(tables: Tables, section: str, key: str, source: str) -> tuple[str, dict[str, Any]]:
    table = dict(tables.get(section, {}))
    name = table.pop(key, None)
    if not isinstance(name, str):
        raise ConfigError(f"{source}: {section}.{key}: expected a name, got {shown(name)}")
    return name, table
