"""How functions are compiled that only other compiled functions call.

Numba makes finished machine code of every function by itself, and once more as a part of each that
calls it. Of an inner function nobody needs the former: here it is left as the compiler first writes
it, and optimized where it has become a part of its callers. That spares a third of the time of
compiling, and the code is as fast.
"""

import functools
from typing import Any


@functools.cache
def inner_pipeline() -> dict[str, Any]:
    """Options of `numba.njit` for inner functions; none if this numba has other private parts.

    All of them that this relies on are named here: `JITCodeLibrary` with the methods overridden and
    called below, and `state` and `define_pipelines` of a compiler. A library that was not added to
    the engine has no addresses, so its environment, which only Python needs, is not set either.
    """
    try:
        from numba.core.codegen import JITCodeLibrary
        from numba.core.compiler import Compiler
    except ImportError:
        return {}
    if not all(hasattr(JITCodeLibrary, name) for name in _PRIVATE):
        return {}

    class InnerLibrary(JITCodeLibrary):
        @property
        def codegen(self) -> Any:
            return _NoEnvironment

        def _optimize_final_module(self) -> None:
            pass

        def _finalize_final_module(self) -> None:
            self._finalize_dynamic_globals()
            self._verify_declare_only_symbols()
            self._finalized = True

        def get_pointer_to_function(self, name: str) -> int:
            return 0

    class InnerCompiler(Compiler):
        def define_pipelines(self) -> Any:
            state: Any = self.state
            name = state.func_id.func_qualname
            state.library = InnerLibrary(state.targetctx.codegen(), name)
            state.library.enable_object_caching()
            return super().define_pipelines()

    return {"pipeline_class": InnerCompiler}


_PRIVATE = (
    "_finalize_dynamic_globals",
    "_finalize_final_module",
    "_optimize_final_module",
    "_verify_declare_only_symbols",
    "codegen",
    "enable_object_caching",
    "get_pointer_to_function",
)


class _NoEnvironment:
    """In the place of the engine, where there is nothing to set."""

    @staticmethod
    def set_env(name: str, environment: Any) -> None:
        pass
