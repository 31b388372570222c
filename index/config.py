"""Which index to build, as a value that can be compared, printed and written to a file."""

from dataclasses import dataclass
from typing import Literal, get_args

Metric = Literal["cosine", "dot", "l2"]


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexConfig:
    """Which index to build.

    Attributes:
        kind: a registered name, for some backends with a suffix after a colon.
        metric: how a word m scores for a query q, higher is better.
            ``cosine``: q.m / (n(q) n(m)) with n(v) = sqrt(v.v + 1e-6);
            ``dot``: q.m;
            ``l2``: -|q - m|^2.

    Raises:
        ValueError: an empty kind or an unknown metric.
    """

    kind: str = "exact"
    metric: Metric = "cosine"

    def __post_init__(self) -> None:
        if not isinstance(self.kind, str) or not self.kind:
            raise ValueError(f"kind: expected the name of an index, got {self.kind!r}")
        if self.metric not in get_args(Metric):
            known = ", ".join(get_args(Metric))
            raise ValueError(f"metric: expected one of {known}, got {self.metric!r}")
