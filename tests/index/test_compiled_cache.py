"""Compiled code on disk: found again, never stale, never trusted too much, and never an error."""

import errno
import importlib
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from index import compiled, compiled_cache
from index.compiled_parts import fingerprint

pytest.importorskip("numba")

CALLEE = """\
from index.compiled import inline
FACTOR = 3
@inline
def times(x):
    return x * FACTOR
"""
CALLER = """\
from index.compiled import jit
from tiny_package.callee import times
@jit
def run(x):
    return times(x) + 1
"""
READS_A = """\
from index.compiled import jit
@jit
def run(pair):
    return pair.a
"""
DAY = 24 * 3600.0


class Tiny:
    """A package of two small files, the function of one compiled into that of the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "tiny_package"
        self.folder.mkdir()
        (self.folder / "__init__.py").touch()
        self.write("callee", CALLEE)
        self.write("caller", CALLER)

    def write(self, name: str, text: str) -> None:
        (self.folder / f"{name}.py").write_text(text)

    def start(self) -> Any:
        """Imports it as a new process would, and returns the compiled function."""
        for name in ("tiny_package", "tiny_package.callee", "tiny_package.caller"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        compiled_cache._done.clear()
        compiled._announced.cache_clear()
        return importlib.import_module("tiny_package.caller").run


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tiny:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # two versions of a file in a second
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    return Tiny(tmp_path)


def entries(tmp_path: Path) -> list[Path]:
    found = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert not [path for path in found if path.name.startswith(".")], "a temporary file was left"
    return sorted(found)


def hits(function: Any) -> int:
    return sum(function.stats.cache_hits.values())


def test_compiled_once_and_found_again(tiny: Tiny, tmp_path: Path, capfd) -> None:
    first = tiny.start()
    assert first(2) == 7 and hits(first) == 0
    assert "compiling for this machine, once (" in capfd.readouterr().err
    (entry,) = entries(tmp_path)
    assert entry.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "cache" / "sparse-access-memory").stat().st_mode & 0o777 == 0o700
    second = tiny.start()
    assert second(2) == 7 and hits(second) == 1
    assert second(2.0) == 7.0 and len(entries(tmp_path)) == 2  # another type
    assert capfd.readouterr().err.count("sparse-access-memory: ") == 1
    assert not list(tiny.folder.rglob("*.nb?")), "numba's own files"


@pytest.mark.parametrize(
    ("old", "new", "result"),
    [
        ("FACTOR = 3", "FACTOR = 4", 9),
        ("x * FACTOR", "x + FACTOR", 6),
        ("FACTOR = 3", "def two(x):\n    return x\nFACTOR = 3  # a comment", 7),
    ],
)
def test_a_change_of_a_called_function_is_seen(
    tiny: Tiny, old: str, new: str, result: int, tmp_path: Path
) -> None:
    """numba looks at the file of the caller alone."""
    assert tiny.start()(2) == 7
    tiny.write("callee", CALLEE.replace(old, new))
    again = tiny.start()
    assert again(2) == result and hits(again) == (result == 7)
    tiny.write("callee", CALLEE)
    again = tiny.start()
    assert again(2) == 7 and hits(again) == 1, "two versions do not push each other out"


def test_a_change_of_how_it_is_compiled_is_seen(tiny: Tiny) -> None:
    lean = CALLER.replace("import jit", "import lean_jit as jit")
    for text, expected in ((CALLER, 0), (lean, 0), (CALLER, 1), (lean, 1)):
        tiny.write("caller", text)
        function = tiny.start()
        assert function(2) == 7 and hits(function) == expected


def test_a_change_of_a_method_is_seen(tiny: Tiny) -> None:
    """Code that is made by objects of ours depends on their classes."""
    text = "class Maker:\n    def number(self):\n        return 3\ndef run():\n    return Maker()\n"
    found = []
    for method in (text, text.replace("3", "4"), text):
        tiny.write("caller", method)
        found.append(fingerprint(tiny.start(), {}))
    assert found[0] != found[1] and found[0] == found[2]


def test_fields_of_an_argument_that_changed_places_are_seen(tiny: Tiny) -> None:
    """The types of both are the same two integers."""
    tiny.write("caller", READS_A)
    for order in ("ab", "ba"):
        fields = "".join(f"  {name}: int\n" for name in order)
        tiny.write("callee", f"from typing import NamedTuple\nclass Pair(NamedTuple):\n{fields}")
        run = tiny.start()
        pair = importlib.import_module("tiny_package.callee").Pair
        assert run(pair(a=1, b=2)) == 1


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "truncated":
        path.write_bytes(content[:-100])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "garbage":
        path.write_bytes(os.urandom(1000))
    elif how == "one bit":
        path.write_bytes(content[:500] + bytes([content[500] ^ 1]) + content[501:])
    elif how == "a folder":
        path.unlink()
        path.mkdir()
    elif how == "a link":
        path.rename(path.with_name("moved"))
        path.symlink_to(path.with_name("moved"))
    elif how == "writable by all":
        path.chmod(0o666)
    else:
        wrong = {
            "another pickle": pickle.dumps([1, 2]),
            "no such class": b"cnowhere\nNothing\n.",
            "wrong parts": pickle.dumps((path.name, (int,), ())),
        }[how]
        path.unlink()
        compiled_cache._write(path, wrong)


@pytest.mark.parametrize(
    "how",
    [
        "truncated",
        "empty",
        "garbage",
        "one bit",
        "a folder",
        "a link",
        "writable by all",
        "another pickle",
        "no such class",
        "wrong parts",
    ],
)
def test_a_damaged_entry_is_dropped_and_compiled_again(
    tiny: Tiny, how: str, tmp_path: Path, capfd
) -> None:
    assert tiny.start()(2) == 7
    (entry,) = entries(tmp_path)
    damage(entry, how)
    again = tiny.start()
    assert again(2) == 7 and hits(again) == 0
    if how == "a folder":  # which is left alone
        assert "compiled code cannot be kept" in capfd.readouterr().err
        entry.rmdir()
        assert tiny.start()(2) == 7
    last = tiny.start()
    assert last(2) == 7 and hits(last) == 1


def test_an_entry_under_another_name_is_no_entry(tiny: Tiny, tmp_path: Path) -> None:
    assert tiny.start()(2) == 7
    tiny.write("callee", CALLEE.replace("3", "4"))
    assert tiny.start()(2) == 9
    one, other = entries(tmp_path)
    content = one.read_bytes(), other.read_bytes()
    for path, wrong in zip((one, other), reversed(content), strict=True):
        path.write_bytes(wrong)
    again = tiny.start()
    assert again(2) == 9 and hits(again) == 0


def blocked(tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Makes a place of no use; returns what the notice says."""
    cache = tmp_path / "cache"
    if how == "proc":
        monkeypatch.setenv("NUMBA_CACHE_DIR", "/proc/x")
        return "/proc/x"
    if how == "a file":
        cache.write_text("")
        return str(cache)
    if how == "full":

        def full(*_: Any, **__: Any) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "replace", full)
        return os.strerror(errno.ENOSPC)
    if how == "no home":
        monkeypatch.delenv("NUMBA_CACHE_DIR")
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        monkeypatch.setattr(os.path, "expanduser", lambda path: path)
        return "no home directory"
    if how == "another user's":
        place = cache / "sparse-access-memory"
        place.mkdir(parents=True)
        monkeypatch.setattr(os, "geteuid", lambda: place.stat().st_uid + 1)
        place.chmod(0o777)
        return str(place)
    raise ValueError(how)


@pytest.mark.parametrize("how", ["proc", "a file", "full", "no home", "another user's"])
def test_without_a_place_it_compiles_and_says_so_once(
    tiny: Tiny, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd
) -> None:
    said = blocked(tmp_path, how, monkeypatch)
    for _ in range(2):
        run = tiny.start()
        assert run(2) == 7 and run(2.0) == 7.0 and hits(run) == 0
        told = capfd.readouterr().err
        assert told.count("compiled code cannot be kept") == 1 and said in told
        assert told.count("compiling for this machine") == 1


def test_a_folder_of_ours_that_others_may_write_to_is_closed(tiny: Tiny, tmp_path: Path) -> None:
    place = tmp_path / "cache" / "sparse-access-memory"
    place.mkdir(parents=True)
    place.chmod(0o777)
    assert tiny.start()(2) == 7
    assert place.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs to be root")
def test_what_others_put_there_is_not_read(tiny: Tiny, tmp_path: Path) -> None:
    assert tiny.start()(2) == 7
    (entry,) = entries(tmp_path)
    os.chown(entry, 12345, 12345)
    run = tiny.start()
    assert run(2) == 7 and hits(run) == 0 and entry.stat().st_uid == os.geteuid()
    os.chown(entry.parent.parent, 12345, 12345)
    run = tiny.start()
    assert run(2) == 7 and hits(run) == 0


def test_what_was_not_used_for_long_goes(tiny: Tiny, tmp_path: Path) -> None:
    assert tiny.start()(2) == 7
    (entry,) = entries(tmp_path)
    now = time.time()
    os.utime(entry, (now - 50 * DAY, now - 50 * DAY))
    assert hits(tiny.start()) == 0
    run = tiny.start()
    assert run(2) == 7 and hits(run) == 1, "used now"
    assert now - entry.stat().st_mtime < DAY
    os.utime(entry, (now - 70 * DAY, now - 70 * DAY))
    assert tiny.start()(2.0) == 7.0
    assert entry not in entries(tmp_path)


def test_two_processes_at_a_time(tiny: Tiny, tmp_path: Path) -> None:
    code = (
        "from tiny_package.caller import run\n"
        "assert (run(2), run(2.0), run(True)) == (7, 7.0, 4), 'wrong'"
    )
    path = os.pathsep.join([str(tmp_path), *sys.path])
    environment = os.environ | {"PYTHONPATH": path}
    started = [subprocess.Popen([sys.executable, "-c", code], env=environment) for _ in range(2)]
    assert [process.wait(100) for process in started] == [0, 0]
    run = tiny.start()
    assert (run(2), run(2.0), run(True)) == (7, 7.0, 4)
    assert hits(run) == 3 and len(entries(tmp_path)) == 3


def test_a_numba_with_other_insides_keeps_nothing(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from numba.core.compiler import CompileResult

    monkeypatch.delattr(CompileResult, "_rebuild")
    assert tiny.start()(2) == 7
    assert not entries(tmp_path)
