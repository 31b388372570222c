"""Entries of compiled functions, for calls that are made again and again.

At every call numba looks at each array that it is given, those in tuples included: with sixty of
them that takes ten microseconds. Here they are looked at once for arguments of some kinds.
"""

from typing import Any

import numpy as np

# What numba's type of an array depends on, besides dtype and dimensions: order, alignment, whether
# it may be written.
_FLAGS = 0x1 | 0x2 | 0x100 | 0x400
_ENTRIES: dict[tuple[Any, Any], Any] = {}


def entry_of(function: Any, given: tuple[Any, ...]) -> Any:
    """What takes the arguments of a compiled function, without a look at their types.

    Args:
        function: of `index.compiled.jit` or `lean_jit`; it is compiled if need be.
        given: arguments of the types that the entry is called with.

    Returns:
        The entry. It reads whatever it is given as what it was made for, so it may only be called
        with arguments of exactly these types: dtypes, dimensions and order of arrays; integers,
        floats, None and named tuples where they were. Nothing of a caller's goes there unchecked.

    Cost: .4 microseconds an array, when kinds were seen before.
    """
    if not hasattr(function, "overloads"):  # NUMBA_DISABLE_JIT is set
        return function
    key = function, _kind(given)
    if key not in _ENTRIES:
        _ENTRIES[key] = function.compile(tuple(map(function.typeof_pyval, given)))
    return _ENTRIES[key]


class Entries:
    """Entries for calls whose arguments keep their types, until the owner takes new ones."""

    def __init__(self) -> None:
        self._known: dict[tuple[Any, Any], Any] = {}

    def call(self, function: Any, given: tuple[Any, ...], kinds: Any = None) -> Any:
        """Calls a function by the entry for the arguments that it was first called with.

        Args:
            function: as of `entry_of`.
            given: its arguments.
            kinds: in what their types may still differ from call to call.
        """
        key = function, kinds
        if key not in self._known:
            self._known[key] = entry_of(function, given)
        return self._known[key](*given)


def _kind(given: Any) -> Any:
    if isinstance(given, np.ndarray):
        return given.dtype, given.ndim, given.flags.num & _FLAGS
    if isinstance(given, tuple):
        return type(given), tuple(map(_kind, given))
    return type(given)
