"""What can happen to a run folder: each damage takes the folder, another run, and a generator."""

import json
import math
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from sam.train.names import CHECKPOINT, CONFIG, METRICS, TIMING

Damage = Callable[[Path, Path, random.Random], None]
_DEEP: Any = json.loads("[" * 100 + "]" * 100)
# None of them has the type and shape of anything in a checkpoint.
_WRONG: tuple[Any, ...] = (
    None,
    -1,
    10**30,
    True,
    1.5,
    math.nan,
    "x",
    b"x",
    [],
    {},
    (1, "a"),
    _DEEP,
    torch.zeros(3, 1, 2),
    torch.zeros(2, dtype=torch.int64),
)


def _file(folder: Path, draw: random.Random) -> Path:
    return draw.choice(sorted(path for path in folder.rglob("*") if path.is_file()))


def truncate(folder: Path, other: Path, draw: random.Random) -> None:
    path = _file(folder, draw)
    path.write_bytes(path.read_bytes()[: draw.randrange(path.stat().st_size)])


def flip_bits(folder: Path, other: Path, draw: random.Random) -> None:
    path = _file(folder, draw)
    content = bytearray(path.read_bytes())
    for _ in range(draw.choice((1, 1, 2, 20))):
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


def zeros(folder: Path, other: Path, draw: random.Random) -> None:
    path = _file(folder, draw)
    content = bytearray(path.read_bytes())
    start = draw.randrange(len(content))
    stop = min(len(content), start + draw.choice((1, 16, 512, 10**9)))
    content[start:stop] = bytes(stop - start)
    path.write_bytes(content)


def garbage(folder: Path, other: Path, draw: random.Random) -> None:
    _file(folder, draw).write_bytes(draw.randbytes(draw.choice((1, 10, 1000, 20_000))))


def append(folder: Path, other: Path, draw: random.Random) -> None:
    with _file(folder, draw).open("ab") as file:
        file.write(draw.randbytes(draw.choice((1, 10, 1000))))


def empty(folder: Path, other: Path, draw: random.Random) -> None:
    _file(folder, draw).write_bytes(b"")


def remove(folder: Path, other: Path, draw: random.Random) -> None:
    _file(folder, draw).unlink()


def replace_by_folder(folder: Path, other: Path, draw: random.Random) -> None:
    path = _file(folder, draw)
    path.unlink()
    path.mkdir()


def replace_by_pipe(folder: Path, other: Path, draw: random.Random) -> None:
    path = _file(folder, draw)
    path.unlink()
    os.mkfifo(path)


def replace_by_link(folder: Path, other: Path, draw: random.Random) -> None:
    path = _file(folder, draw)
    path.unlink()
    target = draw.choice((other / path.name, Path("nowhere"), Path(path.name), Path("/dev/zero")))
    path.symlink_to(target)


def swap_with_another_run(folder: Path, other: Path, draw: random.Random) -> None:
    path = _file(folder, draw)
    theirs = other / path.relative_to(folder)
    if theirs.is_file():
        shutil.copyfile(theirs, path)


def swap_within(folder: Path, other: Path, draw: random.Random) -> None:
    names = [CONFIG, CHECKPOINT, METRICS]
    target = folder / names.pop(draw.randrange(3))
    shutil.copyfile(folder / draw.choice(names), target)


def figures_are_a_file(folder: Path, other: Path, draw: random.Random) -> None:
    shutil.rmtree(folder / "figures", ignore_errors=True)
    (folder / "figures").write_bytes(b"")


def lock_is_no_file(folder: Path, other: Path, draw: random.Random) -> None:
    if draw.random() < 0.5:
        (folder / ".lock").mkdir()
    else:
        (folder / ".lock").symlink_to("nowhere")


def edit_lines(folder: Path, other: Path, draw: random.Random) -> None:
    path = folder / draw.choice((METRICS, TIMING))
    lines = path.read_bytes().splitlines(keepends=True)
    place = draw.randrange(len(lines))
    whole = json.loads(lines[place])
    wrong = {key: draw.choice((None, "x", [], {}, True, 1e308, -5, 2**70)) for key in whole}
    edited = draw.choice(
        (
            b"{}\n",
            b"3\n",
            b"null\n",
            b"\n",
            b"[" * 10_000 + b"]" * 10_000 + b"\n",
            b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"\n",
            lines[place].replace(b"1", b"2"),
            lines[place].replace(b"0.", b"NaN", 1),
            lines[place].replace(b"0.", b"1e999", 1),
            json.dumps(wrong).encode() + b"\n",
            json.dumps({key: whole[key] for key in list(whole)[1:]}).encode() + b"\n",
            lines[place] * 2,
            lines[place].decode().encode("utf-16"),
        )
    )
    lines[place] = edited
    path.write_bytes(b"".join(lines))


def edit_settings(folder: Path, other: Path, draw: random.Random) -> None:
    path = folder / CONFIG
    lines = path.read_text().splitlines()
    place = draw.choice([i for i, line in enumerate(lines) if "=" in line])
    key = lines[place].partition(" =")[0]
    value = draw.choice(
        (
            "-1",
            "1.5",
            "true",
            '"x"',
            "[]",
            "[1, 2]",
            "nan",
            "inf",
            "[" * 2000,
            "9" * 5000,
            "1979-05-27",
        )
    )
    lines[place] = f"{key} = {value}"
    path.write_text("\n".join(lines) + "\n")


def wrong_types(folder: Path, other: Path, draw: random.Random) -> None:
    """A whole archive with right checksums, and something in it of another type."""
    path = folder / CHECKPOINT
    content = torch.load(path, weights_only=True)
    places: list[tuple[Any, Any]] = []
    _collect(content, places)
    holder, key = draw.choice(places)
    wrong = [value for value in _WRONG if type(value) is not type(holder[key])]
    # An integer stands for a float, a list for a tuple, where one is asked for.
    if isinstance(holder[key], float):
        wrong = [value for value in wrong if not isinstance(value, int)]
    holder[key] = draw.choice(wrong)
    torch.save(content, path)


def _collect(value: Any, places: list[tuple[Any, Any]]) -> None:
    """All places in nested dicts and lists that can be set."""
    if isinstance(value, dict):
        keys: Any = list(value)
    elif isinstance(value, list):
        keys = range(len(value))
    else:
        return
    for key in keys:
        places.append((value, key))
        _collect(value[key], places)


DAMAGES: dict[str, Damage] = {
    function.__name__: function
    for function in (
        truncate,
        flip_bits,
        zeros,
        garbage,
        append,
        empty,
        remove,
        replace_by_folder,
        replace_by_pipe,
        replace_by_link,
        swap_with_another_run,
        swap_within,
        figures_are_a_file,
        lock_is_no_file,
        edit_lines,
        edit_settings,
        wrong_types,
    )
}
