"""Which index to build, as a value that can be compared, printed and written to a file."""

from dataclasses import dataclass
from typing import Literal, get_args

Metric = Literal["cosine", "dot", "l2"]
# The least value of every number that can be set.
_LEAST = {
    "tables": 1,
    "buckets": 1,
    "bucket_size": 1,
    "probes": 1,
    "exact_below": 0,
    "refresh_after": 0,
}


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
        ValueError: an empty kind, an unknown metric or a number that is too small.
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
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and not value >= least:
                raise ValueError(f"{name}: expected at least {least}, got {value!r}")
        if self.compiled not in (None, False, True):
            raise ValueError(f"compiled: expected true, false or None, got {self.compiled!r}")

    def given(self) -> tuple[str, ...]:
        """The options that are not left to the backend's rule."""
        return tuple(name for name in (*_LEAST, "compiled") if getattr(self, name) is not None)
