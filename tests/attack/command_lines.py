"""Command lines and recipes at random: each is taken, or refused in one line, leaving nothing.

A try begins with a run that takes a moment and changes a few of its settings, on the command line
or in a TOML file, to values that are legal, of the wrong type, absurdly large, not finite or no
words at all. It must end with code 0; or with code 2, one line on stderr, and not a file more than
there was, unless updates were made before the numbers diverged. A traceback, another code, more
lines, or half a minute without an end are findings.
"""

import contextlib
import functools
import io
import math
import os
import random
import resource
import tempfile
from pathlib import Path
from typing import Any

from sam.cli import USER_ERROR, main
from sam.models import available_models
from sam.train.settings import available_recipes, read_recipe, resolve, to_tables
from sam.train.toml import to_toml
from tests.attack.forked import ending_within, in_children

FULL = 3000
_ROOM = 2**31  # bytes a process may take beside what it has: what is absurd fails at once
_SECONDS = 30
# Settings that may be as large as they like: they only say how long a run goes on.
_ENDLESS = (
    *("train.max_updates", "eval.count", "train.stop_below", "train.batch_size", "eval.batch_size"),
    *("train.threads", "train.evaluate_every", "model.num_layers"),
)
_WHOLE = (-(2**63), -1, 0, 1, 2, 3, 2**31 - 1, 2**31, 10**12, 2**40, 2**62, 2**63 - 1, 2**64)
_REAL = (-1.0, 0.0, 1e-300, 0.3, 1.0, 1e300, math.inf, -math.inf, math.nan)
_WORDS = ("", "junk", "Ünïcode ⚙", "true", "None", "1e3", "0x10", "-", "--", "a\tb", "9" * 5000)
_SMALL = {
    "task": {
        "min_length": 1,
        "max_length": 2,
        "bits": 2,
        "min_items": 2,
        "max_items": 3,
        "max_pairs": 3,
        "max_repeats": 2,
        "max_distance": 3,
    },
    "model": {"hidden_size": 6, "memory_size": 16, "word_size": 4, "top_k": 2},
    "train": {"max_updates": 2, "batch_size": 2, "log_every": 1, "evaluate_every": 2},
    "eval": {"levels": (2,), "count": 2, "batch_size": 2},
}


def attack(count: int, seed: int) -> dict[str, int]:
    return in_children(count, functools.partial(_try, seed))


def _try(seed: int, number: int) -> str:
    """One try, in a folder of its own and with an allowance of memory."""
    _prepare()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        return _ended(random.Random(f"{seed} {number}"))


@functools.cache
def _prepare() -> None:
    """Once in a process."""
    held = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_DATA, (held + _ROOM, resource.RLIM_INFINITY))
    os.environ["SPARSE_SAM_COMPILED"] = "0"  # what is compiled has no part in this


def _ended(draw: random.Random) -> str:
    command = draw.choices((_train, _recipe, _other), (6, 3, 2))[0]
    arguments = command(draw)
    before = _files()
    out, err = io.StringIO(), io.StringIO()
    told = f"sparse-sam {arguments!r:.200}"
    try:
        streams = contextlib.redirect_stdout(out), contextlib.redirect_stderr(err)
        with ending_within(_SECONDS), streams[0], streams[1]:
            code = main(arguments)
    except BaseException as error:
        raise AssertionError(f"{told}: {type(error).__name__}: {error!s:.150}") from error
    text = err.getvalue()
    if code == USER_ERROR and "the last checkpoint is kept" in text:
        return "diverged"  # no refusal: updates were made, and numbers of this size end them
    if code == USER_ERROR:
        one = text.count("\n") == 1 and text.startswith("sparse-sam: error: ")
        assert one, f"{told}: expected one line, got {text!r:.150}"
        new = _files() - before
        assert not new, f"{told}: refused with {text.strip()!r:.200}, and left {sorted(new)}"
    else:
        assert code == 0, f"{told}: code {code}, {text!r:.150}"
    return "refused" if code else "taken"


def _train(draw: random.Random) -> list[str]:
    """``train`` with a few settings changed on the command line."""
    tables = _tables(draw)
    arguments = ["train", *_spelt(draw, tables["task"].pop("recipe")), *_options(tables)]
    for _ in range(draw.choice((0, 1, 1, 2, 3))):
        section, key, value = _changed(draw, tables)
        flag = f"--{section}.{key}".replace("_", draw.choice("-_"))
        if draw.random() < 0.05:
            flag = draw.choice((flag[:-1], flag + "x", flag.upper(), "--" + key, "-" + key))
        text = _text(value)
        arguments += [f"{flag}={text}"] if draw.random() < 0.3 else [flag, *text.split(" ")]
    if draw.random() < 0.2:
        arguments += ["--index", draw.choice(("exact", "lsh", "ivf", "product", "auto", "x", ""))]
    if draw.random() < 0.1:
        arguments.insert(draw.randrange(len(arguments) + 1), draw.choice(_WORDS))
    return arguments


def _recipe(draw: random.Random) -> list[str]:
    """``train`` or ``info`` with a TOML file in which something was changed."""
    tables = _tables(draw)
    tables["task"].pop("recipe")
    for _ in range(draw.choice((0, 1, 1, 2))):
        section, key, value = _changed(draw, tables)
        tables[section][key] = value
    if draw.random() < 0.1:
        tables[draw.choice(("taks", "train.x", "modle"))] = {"a": 1}
    if draw.random() < 0.1:
        tables[draw.choice([*tables])].pop(draw.choice(("name", "kind", "max_length")), None)
    try:
        content = to_toml(tables).encode()
    except ValueError:
        content = b"[task]\nname = 3\n"
    damage = draw.random()
    if damage < 0.1:
        place = draw.randrange(len(content))
        content = content[:place] + draw.randbytes(3) + content[place + draw.randrange(9) :]
    elif damage < 0.15:
        content = content[: draw.randrange(len(content))]
    elif damage < 0.2:
        content += b"x = " + b"[" * draw.choice((3, 3000)) + b"]" * draw.choice((3, 3000))
    Path("r.toml").write_bytes(content)
    if draw.random() < 0.3:
        return ["info", "r.toml"]
    return ["train", *draw.choice((["r.toml"], ["--config", "r.toml"]))]


def _other(draw: random.Random) -> list[str]:
    """The other commands, and nonsense."""
    size = _text(draw.choice((*_WHOLE[:6], *_WHOLE[7:])))
    word, run = draw.choice(_WORDS), draw.choice(("none", ".", "/dev/null", "", "a\0b"))
    return draw.choice(
        (
            ["eval", run, "--levels", size],
            ["eval", run, "--count", size, "--batch-size", size],
            ["plot", run],
            ["train", "--resume", run],
            ["train", "--resume", run, "--train.max-updates", size],
            ["train", "copy", "--run", run, "--train.seed", "-1"],
            ["info", "--model", draw.choice((*available_models(), word))],
            ["info", "--index", draw.choice(("exact", "ivf", "faiss:" + word, word))],
            ["info", draw.choice((*available_recipes(), word))],
            ["bench-index", "--memory-size", size, "--index", "exact", "--rounds", "1"],
            ["bench-index", "--memory-size", "64", "--word-size", size, "--index", "lsh"],
            ["bench-index", "--memory-size", "64", "--batch-size", size, "--index", "ivf"],
            ["bench-index", "--memory-size", "64", "--threads", size, "--rounds", "1"],
            ["bench-index", "--memory-size", "64", "--index", f"lsh[tables={size}]"],
            ["bench-index", "--memory-size", "64", "--index", f"ivf[{word}]", "--words", word],
            [word, word],
            [],
        )
    )


def _tables(draw: random.Random) -> dict[str, dict[str, Any]]:
    """The complete settings of a run that takes a moment, and the name of its recipe."""
    # Those need data.
    own = ("babi", "babi_joint", "omniglot", "sequences", "series", "text", "traversal")
    recipe = draw.choice([name for name in available_recipes() if name not in own])
    tables, source = read_recipe(recipe)
    tables["model"] = {"kind": draw.choice(available_models())}
    config = resolve(tables, source)
    complete = to_tables(config)
    for section, values in _SMALL.items():
        complete[section] |= {k: v for k, v in values.items() if k in complete[section]}
    if "min_items" in complete["task"]:
        complete["task"]["max_items"] = 3
    if "min_pairs" in complete["task"]:
        complete["task"] |= {"min_pairs": 2}
    complete["task"]["recipe"] = recipe
    return complete


def _options(tables: dict[str, dict[str, Any]]) -> list[str]:
    """The settings that make a run short, and the model's kind, as options."""
    names = {f"{s}.{key}" for s, values in _SMALL.items() for key in values} | {"model.kind"}
    names |= {"task.min_pairs"}
    return [
        part
        for section, table in tables.items()
        for key, value in table.items()
        if f"{section}.{key}" in names
        for part in (f"--{section}.{key}".replace("_", "-"), *_text(value).split(" "))
    ]


def _changed(draw: random.Random, tables: dict[str, dict[str, Any]]) -> tuple[str, str, Any]:
    """A setting, and another value for it."""
    section = draw.choice([*tables])
    key = draw.choice([key for key in tables[section] if key not in ("name", "kind")])
    value = tables[section][key]
    # Larger ones are no mistake here, only a long run.
    whole = _WHOLE[:6] if f"{section}.{key}" in _ENDLESS else _WHOLE
    whole = _WHOLE[:4] if key == "num_layers" else whole
    like: tuple[Any, ...] = whole
    if isinstance(value, float):
        like = _REAL
    elif isinstance(value, str):
        like = (*_WORDS[:6], "lstm", "gru", "none", "adam", "rmsprop", "cosine", "l2", "dot")
    elif isinstance(value, tuple):
        like = ((), (1,), (draw.choice(whole),), (0.5, draw.choice(_REAL)), ("tensorboard",))
    elif isinstance(value, bool):
        like = (True, False)
    other = (*whole, *_REAL, *_WORDS, True, False, (1, "a"))
    if f"{section}.{key}" in _ENDLESS:
        other = (*_REAL[:4], *_WORDS, True, False)
    return section, key, draw.choice(like if draw.random() < 0.8 else other)


def _spelt(draw: random.Random, recipe: str) -> list[str]:
    return [recipe] if draw.random() < 0.97 else [draw.choice((recipe[:-1], *_WORDS))]


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(map(_text, value))
    return str(value)


def _files() -> set[str]:
    return {str(path) for path in Path().rglob("*")}
