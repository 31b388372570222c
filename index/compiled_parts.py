"""The fingerprint of a compiled function: if it changes, the cached code is stale.

The functions that it calls are compiled into it, from whichever file they come, and so are the
constants that it reads. All are looked up in the running program: a changed comment changes
nothing, and no source file is needed.
"""

import hashlib
from collections.abc import Mapping
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(...), np.generic, np.dtype)


def fingerprint(function: FunctionType, options: Mapping[str, Any]) -> str:
    """A digest of the code of a function and of all that it reaches.

    Args:
        function: as written, before it is compiled.
        options: that it is compiled with.

    Returns:
        The digest, as letters; the same in every process with the same code.

    Cost: about a millisecond for a hundred functions.
    """
    parts = _Parts({_top(function.__module__), _top(__name__)})
    parts.add(function)
    parts.add(tuple(sorted(options.items())))
    return parts.digest.hexdigest()


class _Parts:
    """Visits every part once, and adds it to a digest."""

    def __init__(self, packages: set[str]) -> None:
        self.digest = hashlib.sha256()
        self._packages = packages  # whose functions are looked into
        self._seen: dict[int, Any] = {}  # by identity, kept alive so that none is used again

    def add(self, value: Any) -> None:
        """Adds a value that compiled code may reach."""
        if isinstance(value, _PLAIN):
            self._hash(type(value).__name__, repr(value))
        elif isinstance(value, tuple | set | frozenset):
            each = value if isinstance(value, tuple) else sorted(value, key=repr)
            self._hash(type(value).__name__, len(value))
            for one in each:
                self.add(one)
        elif id(value) not in self._seen:
            self._seen[id(value)] = value
            self._add_new(value)

    def _add_new(self, value: Any) -> None:
        if isinstance(value, CodeType):
            self._hash("code", value.co_code.hex(), value.co_names, value.co_varnames)
            self.add(value.co_consts)
        elif isinstance(value, FunctionType):
            self._add_function(value)
            # numba replaces a plain function by its overload, which is in the same module.
            self._add_module(value.__globals__)
        elif isinstance(value, ModuleType):
            self._hash("module", value.__name__)
            self._add_module(vars(value))
        elif isinstance(value, type):
            self._hash("class", value.__module__, value.__qualname__, getattr(value, "_fields", ()))
            self._add_methods(value)
        elif isinstance(value, np.ndarray):
            self._hash("array", value.dtype, value.shape, value.tobytes().hex())
        elif hasattr(value, "py_func"):  # a dispatcher of numba
            self.add(tuple(sorted(value.targetoptions.items())))
            self._add_function(value.py_func)
        elif hasattr(value, "_defn"):  # an intrinsic of numba
            self._add_function(value._defn)
        else:
            self._hash("other", type(value).__module__, type(value).__qualname__)

    def _add_function(self, function: FunctionType) -> None:
        self._hash("function", function.__module__, function.__qualname__)
        if _top(function.__module__) not in self._packages:
            return
        self.add(function.__code__)
        self.add(function.__defaults__)
        for cell in function.__closure__ or ():
            self.add(cell.cell_contents)
        for name in _names(function.__code__):
            if name in function.__globals__:
                self._hash("global", name)
                self.add(function.__globals__[name])

    def _add_methods(self, value: type) -> None:
        if _top(value.__module__) not in self._packages:
            return
        for name, member in vars(value).items():
            function = getattr(member, "__func__", member)  # of a static or class method
            if isinstance(function, FunctionType):
                self._hash("method", name)
                self.add(function)

    def _add_module(self, names: dict[str, Any]) -> None:
        if _top(names.get("__name__", "")) not in self._packages:
            return
        for value in list(names.values()):
            is_own = isinstance(value, FunctionType) and value.__globals__ is names
            if is_own or hasattr(value, "py_func"):
                self.add(value)

    def _hash(self, *what: Any) -> None:
        self.digest.update(f"{what!r};".encode())


def described(kind: Any) -> str:
    """The name of a type of numba, with the names of the fields that it leaves out."""
    inner = [described(one) for one in getattr(kind, "types", ())]
    return f"{kind} {getattr(kind, 'fields', ())} {inner}"


def _names(code: CodeType) -> list[str]:
    """Names that a function and those inside of it may look up."""
    inner = [name for c in code.co_consts if isinstance(c, CodeType) for name in _names(c)]
    return [*code.co_names, *inner]


def _top(module: str | None) -> str:
    return (module or "").partition(".")[0]
