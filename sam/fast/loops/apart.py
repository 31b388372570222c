"""How functions are compiled that are too large to become a part of each that calls them."""

from typing import Any

import numba

from index.compiled import INLINE_OPTIONS, inner_pipeline

# Without a word about it numba has a function become a part of its callers where these do. So one
# that is called in several places stood in each; apart, all is compiled in a tenth less time.
_OPTIONS: dict[str, Any] = {**INLINE_OPTIONS, "forceinline": False, "_nrt": False}

apart: Any = numba.njit(**_OPTIONS, **inner_pipeline())
"""As `index.compiled.lean_inline`, for a function that stays one of its own."""
