"""Tasks by name."""

import dataclasses
from typing import cast

from sam.errors import ConfigError, unknown_name
from sam.plugins import load_plugin, plugin_names
from sam.tasks.babi import BAbI
from sam.tasks.copy import Copy
from sam.tasks.lookup import Lookup
from sam.tasks.lookup_vectors import VectorLookup
from sam.tasks.mqar import MQAR
from sam.tasks.needle import Needle
from sam.tasks.ngrams import NGrams
from sam.tasks.omniglot import Omniglot
from sam.tasks.recall import KeyValueRecall, NextItemRecall
from sam.tasks.repeat_copy import RepeatCopy
from sam.tasks.sequences import Sequences
from sam.tasks.series import Series
from sam.tasks.sort import PrioritySort
from sam.tasks.task import Task
from sam.tasks.text import Text
from sam.tasks.traversal import Traversal

_TASKS: dict[str, type[Task]] = {
    "babi": BAbI,
    "copy": Copy,
    "key_value_recall": KeyValueRecall,
    "lookup": Lookup,
    "lookup_vectors": VectorLookup,
    "mqar": MQAR,
    "needle": Needle,
    "ngrams": NGrams,
    "omniglot": Omniglot,
    "recall": NextItemRecall,
    "repeat_copy": RepeatCopy,
    "sequences": Sequences,
    "series": Series,
    "sort": PrioritySort,
    "text": Text,
    "traversal": Traversal,
}


def available_tasks() -> tuple[str, ...]:
    """Lists the registered names and those that installed packages bring, sorted."""
    return tuple(sorted({*_TASKS, *plugin_names("tasks")}))


def task_class(name: str) -> type[Task]:
    """Looks a task's class up.

    Raises:
        UnknownNameError: no such task; the known names are listed, the closest first.
    """
    known = isinstance(name, str) and name in _TASKS
    if isinstance(name, str) and not known:
        brought = load_plugin("tasks", name)
        if brought is not None:
            register_task(name, brought)
            known = True
    if not known:
        raise unknown_name("task", name, _TASKS)
    return _TASKS[name]


def make_task(name: str, **settings: object) -> Task:
    """Builds a task from its name and its settings.

    Raises:
        UnknownNameError: no such task.
        ConfigError: a setting is unknown (the closest known one is named) or has a bad value.
    """
    cls = task_class(name)
    known = [field.name for field in dataclasses.fields(cast(type, cls)) if field.init]
    for key in settings:
        if key not in known:
            raise ConfigError(str(unknown_name(f"setting of task {name!r}", key, known)))
    return cls(**settings)


def register_task(name: str, cls: type[Task]) -> None:
    """Adds a task of your own, so that recipes and `make_task` find it.

    Args:
        name: a new name.
        cls: a dataclass whose fields are the task's settings and which meets `Task`.

    Raises:
        ConfigError: the name is taken, `cls` is not a dataclass, or lacks something.
    """
    if name in _TASKS:
        raise ConfigError(f"task: expected a new name, got {name!r}, which is registered already")
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        raise ConfigError(f"task {name!r}: expected a dataclass of settings, got {cls!r}")
    if lacking := sorted(getattr(cls, "__abstractmethods__", ())):
        raise ConfigError(f"task {name!r}: expected {', '.join(lacking)} in {cls!r}, got none")
    _TASKS[name] = cls
