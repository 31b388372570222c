"""``base build``, ``shard``, ``info`` and ``check``: a memory that many share, on the disk."""

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO, get_args

import numpy as np

from index import BaseMemory, reshard
from index.base.build import BuildPlan
from index.base.cut import shards_of
from index.metric import Metric
from index.storage import StorageName
from sam.errors import ConfigError, ShapeError
from sam.train.extras import import_extra
from sam.train.progress import duration

Progress = Callable[[str, int, int | None], None]

_TRIED = 2**14  # words of the small base whose time tells that of the whole
_REDRAWS = 5  # of the bar, a second
_LINES_APART = 10.0  # seconds, where there is no terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``base``."""
    parser.description = "A base is a folder of words that many memories share; they never change."
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    build = actions.add_parser("build", help="write a base from an .npy file of words")
    build.add_argument("path", metavar="PATH", help="folder; a base that is there is replaced")
    build.add_argument("words", metavar="WORDS", help=".npy file of numbers [n, W]")
    build.add_argument(
        "--index", default="exact", metavar="KIND", help="exact, ivf, product, faiss[:FACTORY]"
    )
    build.add_argument("--dtype", default="float32", help=", ".join(get_args(StorageName)))
    build.add_argument("--metric", default="cosine", help=", ".join(get_args(Metric)))
    build.add_argument("--recall", type=float, default=0.9, help="of an approximate index")
    build.add_argument("--seed", type=int, default=0)
    shard = actions.add_parser("shard", help="cut a base into shards, or a cut one anew")
    shard.add_argument("path", metavar="PATH", help="folder of the base")
    shard.add_argument("--shards", type=int, required=True, metavar="N", help="1 is one piece")
    shard.add_argument("--to", metavar="PATH", help="another folder, default in its place")
    for name, text in (("info", "say what a base is"), ("check", "compare all checksums")):
        actions.add_parser(name, help=text).add_argument("path", metavar="PATH")


def base_command(options: argparse.Namespace, report: Callable[[str], None]) -> int:
    """Does what the options say.

    Args:
        options: as `add_arguments` parses them.
        report: is called with each line.

    Raises:
        ConfigError, ValueError, OSError: as `BaseMemory.create`, `BaseMemory.open`, `reshard`.
    """
    started = time.perf_counter()
    if options.action == "build":
        _build(options, report)
    elif options.action == "shard":
        with _shown(sys.stdout, report) as progress:
            path = reshard(options.path, options.shards, to=options.to, progress=progress)
        spent = duration(time.perf_counter() - started)
        report(f"{path}: {options.shards} shards in {spent}")
    elif options.action == "info":
        report(describe_base(options.path))
    else:
        manifest, parts = shards_of(options.path, check=True)
        spent, held = duration(time.perf_counter() - started), sum(part.nbytes for part in parts)
        path = Path(options.path).resolve()
        report(f"{path}: whole, {manifest.num_words} words, {size(held)}, in {spent}")
    return 0


def describe_base(path: str | Path) -> str:
    """What the base of a folder is, in one piece or in shards, in lines."""
    manifest, parts = shards_of(path)
    held, near = (sum(getattr(part, name) for part in parts) for name in ("nbytes", "resident"))
    each = ", ".join(str(len(part)) for part in parts)
    numbers = sorted(parts[0].tables.items()) if len(parts) == 1 else []
    lines = {
        "words": f"{manifest.num_words} of {manifest.word_size} numbers, kept as {manifest.dtype}",
        **({"shards": f"{len(parts)}, of {each} words"} if len(parts) > 1 else {}),
        "index": manifest.index,
        "metric": manifest.metric,
        **{name: f"{value:g}" for name, value in numbers},
        "bytes": f"{size(held)}, of which {size(near)} are in memory",
        "identity": manifest.identity,
    }
    width = max(map(len, lines))
    shown = (f"  {name.ljust(width)}  {value}" for name, value in lines.items())
    return "\n".join([str(Path(path).resolve()), *shown])


def _build(options: argparse.Namespace, report: Callable[[str], None]) -> None:
    words = _words_in(options.words)
    names = "index", "dtype", "metric", "recall", "seed"
    given: dict[str, Any] = {name: getattr(options, name) for name in names}
    plan = BuildPlan.checked(**given)
    if words.ndim == 2 and words.shape[1]:
        report(f"{len(words)} words of {words.shape[1]} numbers: {_estimate(words, plan, given)}")
    started = time.perf_counter()
    with _shown(sys.stdout, report) as progress:
        base = BaseMemory.create(options.path, words, **given, progress=progress)
    spent = time.perf_counter() - started
    report(f"{base.path}: {size(base.nbytes)} in {duration(spent)}")


def _words_in(path: str) -> np.ndarray:
    """The words of an .npy file, mapped."""
    expected = f"{path}: expected an .npy file of words [n, W]"
    try:
        words = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ConfigError(f"{expected}, got {(str(error).splitlines() or [''])[0]}") from error
    if not isinstance(words, np.ndarray):
        raise ConfigError(f"{expected}, got an archive of several")
    return words


def _estimate(words: np.ndarray, plan: BuildPlan, given: dict[str, Any]) -> str:
    """About how many bytes and how much time it takes, the latter from a small base."""
    needed = size(len(words) * plan.row_bytes(words.shape[1]))
    if len(words) <= 2 * _TRIED:
        return f"at most {needed} while it is written"
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(ShapeError):
        started = time.perf_counter()
        BaseMemory.create(Path(folder) / "base", words[:_TRIED], **given)
        times = len(words) / _TRIED
        # With lists a word is compared with some sqrt(n) centroids.
        growth = times if plan.index == "exact" else times**1.5
        most = duration((time.perf_counter() - started) * growth)
        return f"at most {needed} while it is written, some {most} (h:mm:ss or m:ss)"
    return f"at most {needed} while it is written"


def size(count: float) -> str:
    """Bytes in words, as 1.28 GB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


@contextlib.contextmanager
def _shown(stream: TextIO, report: Callable[[str], None]) -> Iterator[Progress]:
    """Shows progress while the block runs: a bar on a terminal, lines elsewhere."""
    if stream.isatty():
        rich = import_extra("rich.progress")
        bar = rich.Progress(
            rich.TextColumn("{task.description}"),
            rich.BarColumn(bar_width=30),
            rich.MofNCompleteColumn(),
            rich.TimeRemainingColumn(),
            console=import_extra("rich.console").Console(file=stream),
            refresh_per_second=_REDRAWS,
        )
        with bar:
            yield _BarProgress(bar)
    else:
        yield _LineProgress(report)


class _BarProgress:
    """A bar for each phase."""

    def __init__(self, bar: Any) -> None:
        self._bar, self._tasks = bar, {}

    def __call__(self, phase: str, done: int, total: int | None) -> None:
        if phase not in self._tasks:
            self._tasks[phase] = self._bar.add_task(phase, total=total)
        self._bar.update(self._tasks[phase], completed=done, total=total)


class _LineProgress:
    """A line when a phase begins or ends, and every ten seconds."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report, self._phase, self._last = report, "", time.perf_counter()

    def __call__(self, phase: str, done: int, total: int | None) -> None:
        now = time.perf_counter()
        if done == total or (total is None and phase != self._phase) or self._due(now):
            of = "" if total is None else f" of {total}"
            self._report(f"{phase}: {done}{of}" if done else phase)
            self._phase, self._last = phase, now

    def _due(self, now: float) -> bool:
        return now - self._last > _LINES_APART
