"""Bases of clustered words for benchmarks: made once, opened, and what both took."""

import gc
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.harness import write_json
from index import BaseMemory
from index.bench.word_sources import ClusteredWords

WORD_SIZE = 32
COLD_ROWS = 256
_PIECE = 2**16
_TOLD, _EVERY = 10**7, 30.0  # words from which progress is printed, and seconds between lines


def words_of(count: int, word_size: int = WORD_SIZE) -> Iterator[Tensor]:
    """Clustered words [m, W], some at a time."""
    generator = torch.Generator().manual_seed(0)
    source = ClusteredWords(1, count, word_size, generator=generator)
    for start in range(0, count, _PIECE):
        yield source.draw(min(_PIECE, count - start))[0]


def made(folder: Path, index: str, count: int, dtype: Any) -> tuple[BaseMemory, dict[str, Any]]:
    """A base in a folder of bases, and what it took to make and open it.

    One that is there already, as `made` has left it, is opened.
    """
    name = f"{index}_{count}_{dtype}".replace(":", "_").replace(",", "_")
    path, told = folder / name, folder / f"{name}.json"
    folder.mkdir(parents=True, exist_ok=True)
    if not told.exists():
        phases = Phases(count)
        with PeakMemory() as peak:
            BaseMemory.create(path, words_of(count), index=index, dtype=dtype, progress=phases.look)
        write_json(told, phases.taken() | {"build_memory": peak.nbytes})
    cold_open, cold_rows = _cold(path, count)
    base, times = BaseMemory.open(path), []
    for _ in range(5):
        started = time.perf_counter()
        base = BaseMemory.open(path)
        times.append(time.perf_counter() - started)
    return base, {
        "index": index,
        "words": count,
        "dtype": dtype,
        **json.loads(told.read_text()),
        "nbytes": base.nbytes,
        "open_ms": 1e3 * min(times),
        "cold_open_ms": 1e3 * cold_open,
        "cold_rows_ms": 1e3 * cold_rows,
    }


def _cold(path: Path, count: int) -> tuple[float, float]:
    """Seconds to open a base, and to read some rows of it, that the system has dropped."""
    gc.collect()
    if hasattr(os, "posix_fadvise"):
        for file in path.iterdir():
            with file.open("rb") as opened:
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    slots = torch.randint(count, (COLD_ROWS,), generator=torch.Generator().manual_seed(5))
    started = time.perf_counter()
    base = BaseMemory.open(path)
    between = time.perf_counter()
    base.words_at(slots)
    return between - started, time.perf_counter() - between


class Phases:
    """Follows the making of a base: how long each phase took, on the wall and of this process.

    Of a base of `_TOLD` words or more a line is printed for each phase, and now and then within.
    """

    def __init__(self, count: int) -> None:
        self._count, self._begin = count, (time.perf_counter(), time.process_time())
        self._phase, self._phases, self._last = "words", {}, self._begin
        self._printed = 0.0

    def look(self, phase: str, done: int, _: int | None) -> None:
        """Is the `progress` of `BaseMemory.create`."""
        if phase != self._phase:
            self._close()
            self._phase = phase
        elapsed = time.perf_counter() - self._begin[0]
        if self._count >= _TOLD and elapsed - self._printed > _EVERY:
            self._printed = elapsed
            print(f"{elapsed:.0f} s: {phase}, {done:,} of {self._count:,} words", flush=True)

    def _close(self) -> None:
        now = time.perf_counter(), time.process_time()
        wall, cpu = (end - begin for end, begin in zip(now, self._last, strict=True))
        self._phases[self._phase] = {"seconds": wall, "cpu_seconds": cpu}
        if self._count >= _TOLD:
            print(f"{self._phase}: {wall:.0f} s, {cpu:.0f} s of the process", flush=True)
        self._last = now

    def taken(self) -> dict[str, Any]:
        """Seconds of all phases together, and of each."""
        self._close()
        total = (end - begin for end, begin in zip(self._last, self._begin, strict=True))
        names = "build_seconds", "build_cpu_seconds"
        return {**dict(zip(names, total, strict=True)), "phases": self._phases}


class PeakMemory:
    """The most bytes that this process holds within a `with`, beyond those it held before.

    Pages of files, which the system may drop, are not counted. Looked at ten times a second; 0
    where the system does not tell.

    Attributes:
        nbytes: the most so far.
    """

    def __init__(self) -> None:
        self.nbytes, self._before = 0, 0
        self._done = threading.Event()

    def __enter__(self) -> "PeakMemory":
        gc.collect()
        self._before = own_memory()
        self._watch = threading.Thread(target=self._look, daemon=True)
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._watch.join()

    def _look(self) -> None:
        while True:
            self.nbytes = max(self.nbytes, own_memory() - self._before)
            if self._done.wait(0.1):
                return


def own_memory() -> int:
    """Bytes of this process in memory that are no pages of files; 0 where that is not told."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    found = [line.split()[1] for line in lines if line.startswith("RssAnon:")]
    return 1024 * int(found[0]) if found else 0
