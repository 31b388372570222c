"""Run folders with one thing damaged, handed to ``train --resume``, ``eval`` and ``plot``.

A command ends with code 0 and what it would have said and written without the damage, or with code
2, one line on standard error, and every file as it was. It raises nothing and waits for nothing.
"""

import contextlib
import io
import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from sam import cli
from sam.train.folder import EXTENDABLE, load_run, read_config
from sam.train.names import EVALUATION, METRICS
from sam.train.run import train_run
from sam.train.settings import to_tables
from sam.train.toml import to_toml
from tests.attack.damages import DAMAGES
from tests.attack.forked import ending_within
from tests.attack.tiny_run import UPDATES, tiny_run

FULL = 1000
HALF = 7  # updates of the runs that are half done
_LONGEST = 60  # seconds of a command; one that waits for ever is ended there
COMMANDS = {
    "resume": ["train", "--resume", "run"],
    "eval": ["eval", "run"],
    "plot": ["plot", "run"],
}


class Ended(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str


class Expected(NamedTuple):
    """What the commands do with a folder that is whole."""

    folder: Path
    said: dict[str, str]  # command to standard output
    metrics: bytes  # after resuming
    parameters: dict[str, bytes]


def attack(count: int, seed: int) -> dict[str, int]:
    """Makes `count` tries; counts them by command and end."""
    ended: Counter[str] = Counter()
    threads, before = torch.get_num_threads(), Path.cwd()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as root:
            wholes, other = _folders(Path(root))
            for number in range(count):
                draw = random.Random(f"damaged folders {seed} {number}")
                name = draw.choice(sorted(DAMAGES))
                command = draw.choice(sorted(COMMANDS))
                place = Path(root) / f"try-{number}"
                place.mkdir()
                os.chdir(place)
                try:
                    end = _try(draw.choice(wholes), other, name, command, draw)
                except AssertionError as error:
                    raise AssertionError(f"try {number}, {name}, {command}: {error}") from error
                finally:
                    os.chdir(before)
                ended[f"{command}: {end}"] += 1
                shutil.rmtree(place)
    finally:
        os.chdir(before)
        torch.set_num_threads(threads)
    return dict(sorted(ended.items()))


def _folders(root: Path) -> tuple[list[Expected], Path]:
    """A finished and a half-done run as they should be, and a finished one of other settings."""
    made = []
    for name, seed in (("finished", 0), ("half", 0), ("other", 1)):
        folder = root / name / "run"
        folder.parent.mkdir()
        os.chdir(folder.parent)
        config = tiny_run(
            train={"seed": seed}, curriculum={"enabled": True, "threshold": 9.0, "min_hard": 1}
        )
        if name == "half":
            train_run(config, folder, should_stop=_after(HALF))
        else:
            recipe = Path("recipe.toml")
            recipe.write_text(to_toml(to_tables(config)))
            _expect(_command(["train", str(recipe), "--run", "run"]), 0)
            _expect(_command(COMMANDS["eval"]), 0)
        made.append(folder)
    return [_expected(folder) for folder in made[:2]], made[2]


def _after(updates: int) -> Callable[[], bool]:
    asked = iter([False] * (updates - 1) + [True])
    return lambda: next(asked)


def _expected(folder: Path) -> Expected:
    """What each command says of a whole copy of the folder."""
    said = {}
    for command, arguments in COMMANDS.items():
        place = folder.parent / f"expected-{command}"
        shutil.copytree(folder, place / "run")
        os.chdir(place)
        ended = _command(arguments)
        _expect(ended, 0)
        said[command] = ended.out
    resumed = folder.parent / "expected-resume" / "run"
    return Expected(folder, said, (resumed / METRICS).read_bytes(), _parameters(resumed))


def _try(whole: Expected, other: Path, name: str, command: str, draw: random.Random) -> str:
    shutil.copytree(whole.folder, "run")
    folder = Path("run")
    DAMAGES[name](folder, other, draw)
    before = _snapshot(folder)
    with ending_within(_LONGEST):
        ended = _command(COMMANDS[command])
    if ended.code == cli.USER_ERROR:
        assert ended.err.startswith("sparse-sam: error: "), ended
        assert ended.err.count("\n") == 1, ended
        assert len(ended.err) < 1000, ended
        assert _snapshot(folder) == before, f"a refusal changed the folder: {ended}"
        return "refused in one line"
    if command == "eval" and EVALUATION in ended.err:  # a folder in its place: it is only told
        assert ended.err.count("\n") == 1, ended
    else:
        assert ended.err == "", ended
    assert ended.code == 0, ended
    if _with_another_end(folder):
        return "as its changed settings say"
    if command == "resume":
        assert (folder / METRICS).read_bytes() == whole.metrics, "other metrics"
        assert _parameters(folder) == whole.parameters, "other parameters"
        assert _told(ended.out) == _told(whole.said[command]), ended
    else:
        assert ended.out == whole.said[command], ended
    return "as if whole"


def _with_another_end(folder: Path) -> bool:
    """Whether the damage made other settings that a run may go on with: when to end."""
    tables = to_tables(read_config(folder))["train"]
    expected = to_tables(tiny_run())["train"]
    return any(tables[key] != expected[key] for key in EXTENDABLE)


def _told(out: str) -> list[str]:
    """The evaluation's lines: those before tell speed."""
    lines = out.splitlines()
    return lines[[i for i, line in enumerate(lines) if " updates in " in line][-1] + 1 :]


def _parameters(folder: Path) -> dict[str, bytes]:
    _, model, progress = load_run(folder)
    assert progress.update == UPDATES, progress.update
    return {name: value.numpy().tobytes() for name, value in model.state_dict().items()}


def _snapshot(folder: Path) -> dict[str, Any]:
    """Kind and content of everything in a folder, links not followed."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        link = os.readlink(path) if path.is_symlink() else None
        content = path.read_bytes() if path.is_file() and link is None else link
        found[str(path)] = (mode, content)
    return found


def _command(arguments: list[str]) -> Ended:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main(arguments)
    return Ended(code, out.getvalue(), err.getvalue())


def _expect(ended: Ended, code: int) -> None:
    if ended.code != code:
        raise AssertionError(f"expected exit code {code}, got {ended}")
