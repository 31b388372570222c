"""Modules of one's own: imported by name or path, kept in a run, brought by installed packages."""

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from index import plugins
from index import registry as index_registry
from index.exact import ExactIndex
from sam import LSTM, make_model
from sam.errors import BackendMissingError, ConfigError, UnknownNameError
from sam.models import available_models, model_registry
from sam.tasks import available_tasks, make_task, task_registry
from sam.train.folder import load_run
from sam.train.imports import import_parts, taken_from
from sam.train.plan import plan
from sam.train.run import train_run
from sam.train.settings import read_recipe, resolve, to_tables
from sam.train.toml import to_toml

MODULE = """
from sam.tasks import Copy, register_task


class Mine(Copy):
    __slots__ = ()


register_task("{name}", Mine)
"""


@pytest.fixture(autouse=True)
def registries(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forgets what a test registers."""
    for module, name in (
        (task_registry, "_TASKS"),
        (model_registry, "_MODELS"),
        (index_registry, "_INDEXES"),
    ):
        monkeypatch.setattr(module, name, dict(getattr(module, name)))
    yield


def write(path: Path, name: str = "mine") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(MODULE.format(name=name))
    return path


def test_a_module_and_its_file_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for first, second in (("own_a", "own_a.py"), ("own_b.py", "own_b")):
        write(tmp_path / f"{first.removesuffix('.py')}.py", first.removesuffix(".py"))
        import_parts([first])
        import_parts([second])


def test_a_file_that_ends_the_process_does_not(tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text("import sys\nsys.exit(3)\n")
    with pytest.raises(ConfigError, match=r"got SystemExit: 3 \(.*own.py, line 2\)"):
        import_parts([str(own)])
    own.write_text("def f(:\n")
    with pytest.raises(ConfigError, match=r"got SyntaxError: .* \(own.py, line 1\)$"):
        import_parts([str(own)])


def test_a_file_is_imported_once_and_named_absolutely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "mine.py")
    names = import_parts(["mine.py", str(tmp_path / "mine.py")])
    assert names == (str(tmp_path / "mine.py"),)
    assert import_parts(names) == names
    assert "mine" in available_tasks()


def test_a_module_is_found_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")
    write(tmp_path / "package_of_a_test/inner.py", "inner")
    assert import_parts(["package_of_a_test.inner"]) == ("package_of_a_test.inner",)
    assert "inner" in available_tasks()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("no_such_module_here", None, "got 'no_such_module_here', which is not found"),
        ("none.py", None, r"got .*none\.py, which does not exist"),
        ("broken.py", "1 / 0", r"got ZeroDivisionError: division by zero \(.*broken\.py, line 1"),
        ("lacking.py", "import no_such_package", "got ModuleNotFoundError: No module named"),
        ("wrong.py", "def", "got SyntaxError"),
    ],
)
def test_what_cannot_be_imported_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: str | None, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(ConfigError, match=message) as caught:
        import_parts([name])
    assert "\n" not in str(caught.value)


def test_the_flag_may_stand_anywhere() -> None:
    arguments = ["train", "--import", "a", "mine", "--import=b.py", "--train.seed", "1"]
    assert taken_from(arguments) == (["a", "b.py"], ["train", "mine", "--train.seed", "1"])
    for wrong in (["train", "--import"], ["train", "--import", "--run"], ["--import="]):
        with pytest.raises(ConfigError, match="--import: expected a module or a file"):
            taken_from(wrong)


def test_a_run_keeps_its_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "recipes/mine.py")
    recipe = tmp_path / "recipes/mine.toml"
    recipe.write_text('import = ["mine.py"]\n[task]\nname = "mine"\n[model]\nkind = "lstm"\n')
    config = plan(str(recipe), ["--train.max-updates", "2"], prog="sam").config
    assert config.imports == (str(tmp_path / "recipes/mine.py"),)
    assert to_tables(config)["import"] == [*config.imports]
    train_run(config, tmp_path / "run")
    assert (tmp_path / "run/config.toml").read_text().startswith("import = [")
    monkeypatch.setattr(task_registry, "_TASKS", {})  # as in another process
    for name in [name for name in sys.modules if name.startswith("mine_")]:
        monkeypatch.delitem(sys.modules, name)
    assert to_tables(load_run(tmp_path / "run")[0]) == to_tables(config)
    # A file that has moved is named anew in the settings; the checkpoint's own are not followed.
    moved = write(tmp_path / "moved.py", "mine")
    monkeypatch.setattr(task_registry, "_TASKS", {})
    text = (tmp_path / "run/config.toml").read_text().replace(*map(str, (*config.imports, moved)))
    (tmp_path / "run/config.toml").write_text(text)
    (tmp_path / "recipes/mine.py").unlink()
    again = plan(None, [], resume=str(tmp_path / "run"), prog="sam").config
    assert again.imports == (str(moved),)
    assert train_run(again, tmp_path / "run", resume=True).progress.update == 2


def test_a_name_of_a_task_is_a_recipe(tmp_path: Path) -> None:
    imports = import_parts([str(write(tmp_path / "mine.py"))])
    config = plan("mine", [], imports=imports, prog="sam").config
    assert (config.task_name, config.model.kind, config.imports) == ("mine", "sam", imports)
    assert resolve({"task": {"name": "copy"}}).model.kind == "sam"
    with pytest.raises(UnknownNameError, match="recipe"):
        read_recipe("mime")


@pytest.mark.parametrize("value", ['"mine"', "[1]", "3"])
def test_an_import_is_a_list_of_text(tmp_path: Path, value: str) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text(f'import = {value}\n[task]\nname = "copy"\n')
    with pytest.raises(ConfigError, match=r"mine\.toml: import: expected a list"):
        read_recipe(str(recipe))


def test_without_imports_the_settings_are_as_before() -> None:
    assert "import" not in to_toml(to_tables(resolve({"task": {"name": "copy"}})))


def brought(monkeypatch: pytest.MonkeyPatch, **values: tuple[str, Any]) -> None:
    """Lets an installed package bring parts: kind and value by name."""

    def entry_points(*, group: str, name: str | None = None) -> list[EntryPoint]:
        return [
            EntryPoint(name=own, value=value, group=group)
            for own, (kind, value) in values.items()
            if group == f"sparse_access_memory.{kind}" and name in (None, own)
        ]

    monkeypatch.setattr(plugins, "entry_points", entry_points)


def test_an_installed_package_brings_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    brought(
        monkeypatch,
        repeat=("tasks", "sam.tasks.copy:Copy"),
        plain=("models", "sam.models.lstm_model:LSTM"),
        slow=("indexes", "index.exact:ExactIndex"),
        gone=("models", "no_such_package:Model"),
    )
    assert "repeat" in available_tasks() and "plain" in available_models()
    assert make_task("repeat", max_length=2).levels == (1, 2)
    assert isinstance(make_model("plain", 2, 3), LSTM)
    assert "slow" in index_registry.available_indexes()
    made = index_registry.make_index("slow", batch_size=1, capacity=4, word_size=2)
    assert isinstance(made, ExactIndex)
    config = resolve({"task": {"name": "repeat"}, "model": {"kind": "plain"}})
    assert config.task_name == "repeat"
    with pytest.raises(BackendMissingError, match=r"'gone': expected the entry point .*No module"):
        make_model("gone", 2, 3)
    with pytest.raises(UnknownNameError):
        make_task("nothing")


@pytest.mark.parametrize("names", ["3", '"own_parts"', "[3]"])
def test_a_recipe_file_whose_import_is_no_list_of_text(names: str, tmp_path: Path) -> None:
    recipe = tmp_path / "own.toml"
    recipe.write_text(f'import = {names}\n[task]\nname = "copy"\n')
    with pytest.raises(ConfigError, match="import: expected a list of modules and files"):
        read_recipe(str(recipe))
