"""Which index to build, as a value that can be compared, printed and written to a file."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from index.checks import MOST_SLOTS

Metric = Literal["cosine", "dot", "l2"]
# The least and the highest value of every number that can be set. The highest are far beyond what
# is of use; above them sizes of tables would not be whole numbers of 64 bits.
_BOUNDS = {
    "tables": (1, 2**8),
    "buckets": (1, 2**31 - 1),
    "bucket_size": (1, 2**16),
    "probes": (1, 2**16),
    "exact_below": (0, MOST_SLOTS),
    "refresh_after": (0, math.inf),
    "seed": (0, 2**63 - 1),
}
_WHOLE = frozenset(_BOUNDS) - {"refresh_after"}
_OPTIONS = (*(name for name in _BOUNDS if name != "seed"), "compiled")


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexConfig:
    """Which index to build.

    What is None follows the backend's own rule, which its docstring states. A backend refuses an
    option that it has no use for.

    Attributes:
        kind: a registered name, for some backends with a suffix after a colon.
        metric: how a word m scores for a query q, higher is better.
            ``cosine``: q.m / (n(q) n(m)) with n(v) = sqrt(v.v + 1e-6);
            ``dot``: q.m;
            ``l2``: -|q - m|^2.
        tables: how many times the words are hashed.
        buckets: buckets (lists, cells) of a table, once the memory is full; a smaller memory in
            use has fewer.
        bucket_size: words a bucket has places for.
        probes: buckets of each table that a query looks into; more find more, and take longer.
        exact_below: with fewer slots in use every word is compared, as by ``exact``.
        refresh_after: what was learned from the words is learned anew once this many times the
            words in use have been replaced; 0 never.
        seed: of whatever is drawn at random.
        compiled: whether the compiled twins of the hot loops are used, as the argument of
            `index.compiled.is_compiled`; with None that decides. What is found is the same.

    Raises:
        ValueError: an empty kind, an unknown metric or a number out of its range.
    """

    kind: str = "exact"
    metric: Metric = "cosine"
    tables: int | None = None
    buckets: int | None = None
    bucket_size: int | None = None
    probes: int | None = None
    exact_below: int | None = None
    refresh_after: float | None = None
    seed: int = 0
    compiled: bool | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.kind, str) or not self.kind:
            raise ValueError(f"kind: expected the name of an index, got {self.kind!r}")
        if self.metric not in get_args(Metric):
            known = ", ".join(get_args(Metric))
            raise ValueError(f"metric: expected one of {known}, got {self.metric!r}")
        for name, (least, most) in _BOUNDS.items():
            value = getattr(self, name)
            if value is None and name != "seed":
                continue
            kinds = (int,) if name in _WHOLE else (int, float)
            if isinstance(value, bool) or not isinstance(value, kinds):
                raise ValueError(f"{name}: expected a number, got {value!r}")
            if not value >= least:
                raise ValueError(f"{name}: expected at least {least}, got {value!r}")
            if value > most:
                raise ValueError(f"{name}: expected at most {most}, got {value!r}")
        if self.compiled not in (None, False, True):
            raise ValueError(f"compiled: expected true, false or None, got {self.compiled!r}")

    def given(self) -> tuple[str, ...]:
        """The options that are not left to the backend's rule."""
        return tuple(name for name in _OPTIONS if getattr(self, name) is not None)
