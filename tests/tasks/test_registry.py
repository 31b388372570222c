"""Tasks by name, and the mistakes made in a recipe."""

import dataclasses

import pytest

from sam.errors import ConfigError, UnknownNameError
from sam.tasks import (
    BAbI,
    Copy,
    KeyValueRecall,
    Lookup,
    NextItemRecall,
    PrioritySort,
    available_tasks,
    make_task,
    register_task,
    task_class,
    task_registry,
)


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("babi", BAbI),
        ("copy", Copy),
        ("key_value_recall", KeyValueRecall),
        ("lookup", Lookup),
        ("recall", NextItemRecall),
        ("sort", PrioritySort),
    ],
)
def test_names_and_classes(name: str, cls: type) -> None:
    assert name in available_tasks()
    assert task_class(name) is cls
    assert make_task(name) == cls()


def test_settings_reach_the_task() -> None:
    assert make_task("copy", max_length=5, bits=3) == Copy(max_length=5, bits=3)


def test_unknown_task_lists_the_known_ones_closest_first() -> None:
    with pytest.raises(UnknownNameError, match=r"expected one of copy, babi.*did you mean 'copy'"):
        make_task("cpoy")
    with pytest.raises(UnknownNameError, match="key_value_recall"):
        task_class("omniglot-xyz")


def test_unknown_setting_is_named_with_a_suggestion() -> None:
    with pytest.raises(ConfigError, match=r"'copy'.*got 'max_lenght'; did you mean 'max_length'"):
        make_task("copy", max_lenght=3)


def test_bad_value_is_named() -> None:
    with pytest.raises(ConfigError, match="max_length"):
        make_task("copy", max_length="long")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Longer(Copy):
    max_length: int = 40


def test_own_tasks_are_found_and_never_overwrite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_registry, "_TASKS", dict(task_registry._TASKS))
    register_task("longer", Longer)
    assert make_task("longer").levels == (1, 40)
    assert "longer" in available_tasks()
    for taken in ("longer", "copy"):
        with pytest.raises(ConfigError, match=f"got '{taken}', which is registered already"):
            register_task(taken, Longer)
    with pytest.raises(ConfigError, match="expected a dataclass"):
        register_task("plain", object)  # type: ignore[arg-type]
