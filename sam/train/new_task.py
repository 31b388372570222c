"""A commented file to begin a task of one's own with; the command ``new-task``."""

import argparse
import keyword
from pathlib import Path

from sam.errors import ConfigError
from sam.tasks import available_tasks

_TEMPLATE = Path(__file__).with_name("new_task_template.txt")


def write_new_task(name: str, folder: Path = Path()) -> Path:
    """Writes ``NAME.py``, which works as it stands; nothing is ever overwritten.

    Args:
        name: of the task, of the file and, in capitals, of its class.
        folder: where to.

    Returns:
        The file.

    Raises:
        ConfigError: the name is none for Python, belongs to a task, or the file exists.
        OSError: it cannot be written.
    """
    if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_"):
        raise ConfigError(f"new-task: expected a name of letters, digits and _, got {name!r}")
    if name in available_tasks():
        raise ConfigError(f"new-task: expected a new name, got {name!r}, which is a task already")
    path = folder / f"{name}.py"
    class_name = "".join(part.capitalize() for part in name.split("_"))
    text = _TEMPLATE.read_text(encoding="utf-8")
    text = text.replace("TASK_NAME", name).replace("TaskName", class_name)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise ConfigError(f"new-task: expected no file yet, got {path}, which exists") from error
    return path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``new-task``."""
    parser.add_argument("name", metavar="NAME", help="of the task: NAME.py is written")


def new_task(options: argparse.Namespace, prog: str) -> str:
    """What the command prints."""
    path = write_new_task(options.name)
    return f"{path}\n{prog} train {options.name} --import {path}"
