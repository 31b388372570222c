"""The cache of compiled code on disk, and whether it can be trusted.

It is the folder ``sparse-access-memory`` of the user's cache directory, XDG_CACHE_HOME or
``~/.cache``, or of NUMBA_CACHE_DIR if that is set. Entries are executed: so the folder must belong
to this user, or to root, and nobody else may write to it. An entry begins with the digest of the
rest; one that is damaged or swapped is dropped and compiled again. Entries are named after all that
the code depends on: versions, processor, types, and the functions it is made of. An entry that was
not used for two months is removed.
"""

import contextlib
import errno
import hashlib
import os
import pickle
import stat
import sys
import time
import uuid
from pathlib import Path
from types import FunctionType
from typing import Any

from index.compiled_parts import described, fingerprint

PLACE = "NUMBA_CACHE_DIR"
_NAME = "sparse-access-memory"
_DAY, _KEPT_DAYS = 24 * 60 * 60.0, 60
# Settings of numba that change the code.
_SWITCHES = ("BOUNDSCHECK", "DEBUGINFO", "LOOP_VECTORIZE", "OPT", "SLP_VECTORIZE")
# What unpickling a damaged entry may raise.
_DAMAGE = (
    ArithmeticError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
    pickle.PickleError,
)


def keep(dispatcher: Any) -> None:
    """Has the compiled code of a function of numba kept, if this numba allows it.

    All private parts of numba that this relies on are named here: `_cache` of a dispatcher with the
    methods that it calls, `_reduce` and `_rebuild` of the compiled code, and `dumps`. If one is
    missing nothing is kept.
    """
    try:
        from numba.core.compiler import CompileResult
        from numba.core.serialize import dumps  # noqa: F401
    except ImportError:
        return
    parts = ((dispatcher, "_cache"), (CompileResult, "_reduce"), (CompileResult, "_rebuild"))
    if all(hasattr(*part) for part in parts):
        dispatcher._cache = Kept(dispatcher)


def folder() -> Path:
    """The folder for compiled code, which exists and may be trusted.

    Raises:
        OSError: there is none, and none can be made; or another user could write to it.
    """
    given = os.environ.get(PLACE) or os.environ.get("XDG_CACHE_HOME")
    base = Path(given or os.path.expanduser("~/.cache")).absolute()
    if not given and "~" in base.parts:
        raise FileNotFoundError(errno.ENOENT, "this user has no home directory", "~")
    path = base / _NAME
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    about = path.stat()
    if not _trusted(about):
        if not _is_mine(about):
            raise PermissionError(errno.EPERM, "others may write to it, or own it", str(path))
        path.chmod(0o700)
    return path


def obstacle() -> str | None:
    """Why compiled code cannot be kept, as far as that is known before there is any."""
    try:
        path = folder()
        if os.access(path, os.W_OK):
            return None
        raise PermissionError(errno.EACCES, "not writable", str(path))
    except OSError as error:
        _done.add("not kept")
        return f"; {_unkept(error)}"


def _unkept(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    return f"compiled code cannot be kept, {where}{error.strerror} ({PLACE} names another place)"


def _is_mine(about: os.stat_result) -> bool:
    return not hasattr(os, "geteuid") or about.st_uid == os.geteuid()


def _trusted(about: os.stat_result) -> bool:
    """Whether only this user, or root, can have written this."""
    if not hasattr(os, "geteuid"):
        return True  # Windows, where the folders of a user are private
    return about.st_uid in (os.geteuid(), 0) and not about.st_mode & 0o022


class Kept:
    """The cache of one function, by the types of its arguments, for a dispatcher of numba.

    No problem with a file is an error: code that cannot be read is compiled again, and that code
    cannot be kept is reported once, on stderr.
    """

    cache_path = None

    def __init__(self, dispatcher: Any) -> None:
        self._function: FunctionType = dispatcher.py_func
        self._options = dispatcher.targetoptions
        self._fingerprint: str | None = None

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled function for these types, or None."""
        target_context.refresh()
        try:
            path = self._path(sig, target_context.codegen())
            content = _read(path)
        except OSError:
            return None
        found = None
        if content is not None:
            with contextlib.suppress(*_DAMAGE):
                found = self._rebuilt(content, path.name, sig, target_context)
        if found is None:
            with contextlib.suppress(OSError):
                path.unlink()
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keeps what was compiled for these types."""
        if data.library.has_dynamic_globals or data.lifted:
            return  # it holds addresses
        from numba.core.serialize import dumps

        try:
            path = self._path(sig, data.codegen)
            _write(path, dumps((path.name, sig, data._reduce())))
        except OSError as error:
            if "not kept" not in _done:
                _done.add("not kept")
                print(f"{_NAME}: {_unkept(error)}", file=sys.stderr, flush=True)

    def enable(self) -> None:
        """Called by numba, as the next two; there is nothing to do."""

    def disable(self) -> None:
        pass

    def flush(self) -> None:
        pass

    def _path(self, sig: Any, codegen: Any) -> Path:
        import llvmlite
        from numba import __version__ as numba
        from numba.core import config

        if self._fingerprint is None:
            self._fingerprint = fingerprint(self._function, self._options)
        types = sig if isinstance(sig, tuple) else (*sig.args, sig.return_type)
        machine = codegen.magic_tuple()
        depends = (
            self._fingerprint,
            [described(one) for one in types],
            machine,
            (sys.version, numba, llvmlite.__version__),
            [getattr(config, name, None) for name in _SWITCHES],
        )
        digest = hashlib.sha256(repr(depends).encode()).hexdigest()[:32]
        name = f"{self._function.__module__}.{self._function.__qualname__}".replace("<locals>.", "")
        return folder() / f"numba-{numba}-{machine[1]}" / f"{name}-{digest}"

    def _rebuilt(self, content: bytes, name: str, sig: Any, target_context: Any) -> Any:
        from numba.core.compiler import CompileResult

        named, types, parts = pickle.loads(content)
        if named != name or types != sig:
            return None
        return CompileResult._rebuild(target_context, *parts)


def _read(path: Path) -> bytes | None:
    """The content of an entry, or None if it is damaged or somebody else's.

    Raises:
        OSError: there is none.
    """
    number = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    with open(number, "rb") as file:
        about = os.fstat(number)
        if not stat.S_ISREG(about.st_mode) or not _trusted(about):
            return None
        digest, content = file.read(32), file.read()
    if digest != hashlib.sha256(content).digest():
        return None
    if time.time() - about.st_mtime > _DAY:
        with contextlib.suppress(OSError):
            os.utime(path)
    return content


def _write(path: Path, content: bytes) -> None:
    """Writes an entry, which others see whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{uuid.uuid4().hex}")
    try:
        number = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(number, "wb") as file:
            file.write(hashlib.sha256(content).digest() + content)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    _prune(path.parent.parent)


_done: set[str] = set()  # what is said or done once in a process


def _prune(root: Path) -> None:
    """Removes entries that were not used for long; once in a process."""
    if "pruned" in _done:
        return
    _done.add("pruned")
    oldest = time.time() - _KEPT_DAYS * _DAY
    for path in root.glob("*/*"):
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < oldest:
                path.unlink()
