"""Finds the bAbI archive and reads single files from it, without unpacking it."""

import lzma
import os
import re
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from sam.errors import DataMissingError
from sam.tasks.babi_files import UnfitError, entries

ENVIRONMENT_VARIABLE = "SPARSE_SAM_BABI"
DEFAULT_FOLDER = "../shared/data/babi"
UNPACKED = "tasks_1-20_v1-2"
ARCHIVES = (f"{UNPACKED}.tar.xz", f"{UNPACKED}.tar.gz")

# Folders of the training and the test files of each language. The incomplete training file of task
# 3 is in a folder of its own, without test files; those are the same in every language.
FOLDERS = {
    "en": {"train": "en", "test": "en"},
    "en-10k": {"train": "en-10k", "test": "en-10k"},
    "en-10k-partial": {"train": "en-10k-partial", "test": "en-10k"},
}

_FILE_NAME = re.compile(r"qa(?P<task>[0-9]{1,3})_(?:.*_)?(?P<part>train|test)\.txt")
# What tarfile, the decompressors and the decoder raise for a file that is cut short, changed or
# no archive at all.
_DAMAGE = (
    tarfile.TarError,
    lzma.LZMAError,
    zlib.error,
    EOFError,
    OSError,
    ValueError,
    LookupError,
    RecursionError,
)


class Texts(NamedTuple):
    """The texts of some tasks' files."""

    texts: dict[int, str]  # by task
    substituted: tuple[int, ...]  # tasks whose file is that of another language


class _File(NamedTuple):
    """Folder, task and part of a text file of the release."""

    folder: str
    task: int
    part: str


def find_source(path: str | None) -> Path:
    """Finds the archive or the unpacked folder.

    Args:
        path: the archive, the folder it lies in, or the unpacked folder. When None the environment
            variable ``SPARSE_SAM_BABI`` is taken, and when that is not set the folder
            ``../shared/data/babi`` beside the working directory or beside the checkout.

    Returns:
        The archive file or the unpacked folder.

    Raises:
        DataMissingError: it is not there; the text lists the places searched and what to do.
    """
    from_environment = os.environ.get(ENVIRONMENT_VARIABLE)
    if path is not None:
        places = [Path(path).expanduser()]
    elif from_environment:
        places = [Path(from_environment).expanduser()]
    else:
        checkout = Path(__file__).resolve().parents[2]
        places = [Path(DEFAULT_FOLDER), checkout / DEFAULT_FOLDER]
    for place in places:
        for candidate in (place, *(place / name for name in (*ARCHIVES, UNPACKED))):
            if candidate.is_file() or (candidate / "en").is_dir():
                # The absolute path, since what is read is cached under it.
                return candidate.resolve()
    looked = ", ".join(dict.fromkeys(str(place.resolve()) for place in places))
    raise DataMissingError(
        f"bAbI data: expected {ARCHIVES[0]}, {ARCHIVES[1]} or the folder {UNPACKED} at {looked}, "
        "found none. Give its place in one of three ways: the task's setting `path` "
        f"(--task.path FOLDER_OR_ARCHIVE), the environment variable {ENVIRONMENT_VARIABLE}, or put "
        f"it into {DEFAULT_FOLDER}, seen from the working directory"
    )


def read_texts(
    source: Path,
    language: str,
    tasks: tuple[int, ...],
    part: str,
    substitute: str | None = None,
) -> Texts:
    """Reads one file per task, in one pass over the archive that stops at the last of them.

    Args:
        source: what `find_source` returned.
        language: a key of `FOLDERS`.
        tasks: task numbers.
        part: ``"train"`` or ``"test"``.
        substitute: the language whose files are taken for tasks that `language` lacks; a second
            pass looks for them. None takes no others.

    Returns:
        The text of each task's file, and the tasks whose file is the substitute's.

    Raises:
        DataMissingError: a file is not in the archive (the text says which languages have it), or
            the archive is damaged.
    """
    wanted = {_File(FOLDERS[language][part], task, part) for task in tasks}
    try:
        texts = _read(source, wanted)
        lacking = [task for task in tasks if task not in texts]
        if lacking and substitute is not None:
            folder = FOLDERS[substitute][part]
            texts |= _read(source, {_File(folder, task, part) for task in lacking})
        missing = [task for task in lacking if task not in texts]
        there = {_identify(entry.name) for entry in entries(source)} if missing else set()
    except UnfitError as error:
        raise DataMissingError(f"bAbI data {source}: {error}. It is not the release") from error
    except _DAMAGE as error:
        reason = (str(error).splitlines() or ["no reason given"])[0].rstrip(":")
        raise DataMissingError(
            f"bAbI data {source}: expected a whole tar archive or its unpacked folder, got "
            f"{type(error).__name__}: {reason}. The file is damaged or cut short; fetch it again"
        ) from error
    if missing:
        raise _absent(source, language, missing[0], part, there)
    return Texts(texts, tuple(lacking))


def _identify(name: str) -> _File | None:
    path = PurePosixPath(name)
    match = _FILE_NAME.fullmatch(path.name)
    return _File(path.parent.name, int(match["task"]), match["part"]) if match else None


def _read(source: Path, wanted: set[_File]) -> dict[int, str]:
    """Reads the wanted texts, by task; stops after the last of them."""
    texts: dict[int, str] = {}
    for entry in entries(source):
        file = _identify(entry.name)
        if file is None or file not in wanted:
            continue
        if file.task in texts:
            raise UnfitError(f"expected one {file.part} file of task {file.task}, got two")
        texts[file.task] = entry.read()
        if len(texts) == len(wanted) and not source.is_dir():
            break
    return texts


def _absent(
    source: Path, language: str, task: int, part: str, there: set[_File | None]
) -> DataMissingError:
    """Builds the error for a file that the release does not have, from what it does have."""
    others = [other for other, parts in FOLDERS.items() if _File(parts[part], task, part) in there]
    instead = (
        f"language {' or '.join(map(repr, others))} has it" if others else "no language has it"
    )
    return DataMissingError(
        f"bAbI data {source}: expected a {part} file of task {task} for language {language!r}, "
        f"found none; {instead}. Choose another language or leave task {task} out of `tasks`"
    )
