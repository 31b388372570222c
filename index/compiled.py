"""Compiled forms of hot loops: whether to use them, and how they are compiled.

A compiled form is a function in plain Python loops that numba compiles for this machine. It
computes what the torch form beside it computes, to rounding. Compiling takes seconds to a minute,
once: the result is kept on disk, see `index.compiled_cache`.

Whether compiled forms are used is decided by the first of these that says something: the argument
`compiled` of what is called, the block `with use_compiled(...)` around it, the environment variable
SPARSE_SAM_COMPILED ("0" or "1"), and whether numba is installed. Without an argument only float32
tensors on the CPU use them.
"""

import contextlib
import functools
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, TypeVar

import torch

from index.errors import BackendMissingError
from index.inner_code import inner_pipeline

F = TypeVar("F", bound=Callable[..., Any])

VARIABLE = "SPARSE_SAM_COMPILED"
_FALSE, _TRUE = ("0", "false", "off", "no"), ("1", "true", "on", "yes")
# Sums may be taken in any order and products fused, but NaN and infinity keep their meaning.
_FAST_MATH = {"reassoc", "contract", "arcp", "nsz"}
_USE: ContextVar[bool | None] = ContextVar("compiled", default=None)


@contextlib.contextmanager
def use_compiled(wanted: bool | None) -> Iterator[None]:
    """Inside the block compiled forms are used, or not; None leaves it to the environment."""
    token = _USE.set(wanted)
    try:
        yield
    finally:
        _USE.reset(token)


def wanted() -> bool | None:
    """The value of the innermost `use_compiled` around this call; None without one."""
    return _USE.get()


def is_compiled(choice: bool | None, device: torch.device, dtype: torch.dtype) -> bool:
    """Whether to use compiled forms for tensors of this kind.

    Args:
        choice: the caller's argument; None leaves it to `use_compiled`, the environment, and
            whether numba is installed.
        device: where the tensors live.
        dtype: of the tensors.

    Raises:
        BackendMissingError: compiled forms were asked for, and numba is not installed.
        ValueError: they were asked for by `choice`, away from the CPU or for another dtype than
            float32 and float64; or the environment variable is neither true nor false.
    """
    fits = device.type == "cpu" and dtype in (torch.float32, torch.float64)
    if choice is not None:
        if choice and not fits:
            raise ValueError(
                f"compiled: expected float32 or float64 on the CPU, got {dtype} on {device}"
            )
        use: bool | None = choice
    elif device.type != "cpu" or dtype != torch.float32:
        return False
    else:
        use = wanted()
        if use is None:
            use = _from_environment(os.environ.get(VARIABLE, ""))
    if use is None:
        return _installed()
    if use and not _installed():
        raise BackendMissingError(
            "compiled forms need numba, which is not installed: "
            "pip install 'sparse-access-memory[fast]'"
        )
    return use


def _from_environment(text: str) -> bool | None:
    if not text:
        return None
    if text.lower() not in _FALSE + _TRUE:
        raise ValueError(f"{VARIABLE}: expected 0 or 1, got {text!r}")
    return text.lower() in _TRUE


@functools.cache
def _installed() -> bool:
    """Whether numba is there, and the folder of the compiled forms."""
    try:
        return None not in map(importlib.util.find_spec, ("numba", "index.kernels.steps"))
    except ModuleNotFoundError:
        return False


# Compiled functions run without the interpreter's lock and divide as NumPy does.
OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": _FAST_MATH, "error_model": "numpy"}
# What only compiled functions call needs no entry for Python, which takes as long to compile.
_INNER_OPTIONS: Any = {**OPTIONS, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
INLINE_OPTIONS: Any = {**_INNER_OPTIONS, "forceinline": True}
# For functions that make no arrays: who calls them keeps those that they are given. Otherwise each
# slice counts as one more reference, by an atomic instruction that threads wait for.
LEAN: dict[str, Any] = {"_nrt": False}


def jit(function: F) -> F:
    """Compiles a function when it is first called with arguments of some types; keeps the result.

    Only modules that hold compiled forms may use it: it imports numba.
    """
    return _jit(function, OPTIONS)


def lean_jit(function: F) -> F:
    """As `jit`, for a function that makes no arrays, nor do those that it calls."""
    return _jit(function, OPTIONS | LEAN)


def _jit(function: F, options: dict[str, Any]) -> F:
    import numba

    from index.compiled_cache import keep

    compiled: Any = numba.njit(**options)(function)
    if hasattr(compiled, "py_func"):  # unless NUMBA_DISABLE_JIT is set
        keep(compiled)
        _announced().add(function)
    return compiled


def inline(function: F) -> F:
    """As `jit`, for a small function that becomes part of the compiled ones which call it.

    It has no entry for Python: a call from there, other than of `py_func`, ends the process.
    """
    return _inner(function, INLINE_OPTIONS)


def lean_inline(function: F) -> F:
    """As `inline`, for a function that makes no arrays."""
    return _inner(function, INLINE_OPTIONS | LEAN)


def part(function: F) -> F:
    """As `inline`, for a function that is too large to stand in several places."""
    return _inner(function, _INNER_OPTIONS)


def lean_part(function: F) -> F:
    """As `part`, for a function that makes no arrays."""
    return _inner(function, _INNER_OPTIONS | LEAN)


def _inner(function: F, options: dict[str, Any]) -> F:
    import numba

    compiled: Any = numba.njit(**options, **inner_pipeline())(function)
    return compiled


@functools.cache
def _announced() -> set[Any]:
    """Functions whose compilation is announced, once for all of them together."""
    from numba.core import event

    from index.compiled_cache import obstacle

    functions: set[Any] = set()

    class Notice(event.Listener):
        announced = False

        def on_start(self, event: Any) -> None:
            if not self.announced and event.data["dispatcher"].py_func in functions:
                self.announced = True
                why_not = obstacle()
                print(
                    "sparse-access-memory: compiling for this machine, "
                    f"{'at each start' if why_not else 'once'} "
                    f"(a minute at most; {VARIABLE}=0 does without){why_not or ''}",
                    file=sys.stderr,
                    flush=True,
                )

        def on_end(self, event: Any) -> None:
            pass

    event.register("numba:compile", Notice())
    return functions
