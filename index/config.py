"""Which index to build, as a value that can be compared, printed and written to a file."""

import math
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Self, get_args

from index.checks import MOST_SLOTS
from index.errors import unknown_name
from index.metric import Metric as Metric
from index.storage import StorageName

# The least and the highest value of every number that can be set. The highest are far beyond what
# is of use; above them sizes of tables would not fit into 64 bits.
_BOUNDS = {
    "tables": (1, 2**8),
    "buckets": (1, 2**31 - 1),
    "bucket_size": (1, 2**16),
    "probes": (1, 2**16),
    "recall": (0.01, 1),
    "exact_below": (0, MOST_SLOTS),
    "refresh_after": (0, math.inf),
    "seed": (0, 2**63 - 1),
    "norm_eps": (0, 1e6),
}
_WHOLE = frozenset(_BOUNDS) - {"refresh_after", "recall", "norm_eps"}
_OPTIONS = (
    *(name for name in _BOUNDS if name not in ("seed", "norm_eps")),
    *("compiled", "storage", "copies"),
)
# What settings written before there was `norm_eps` mean, and the fields a pickle then had.
_NORM_EPS_BEFORE = 1e-6
_FIELDS_BEFORE = (
    *("kind", "metric", "tables", "buckets", "bucket_size", "probes", "exact_below"),
    *("refresh_after", "seed", "compiled", "options"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexConfig:
    """Which index to build.

    What is None follows the backend's own rule, which its docstring states. A backend refuses an
    option that it has no use for.

    Attributes:
        kind: a registered name, for some backends with a suffix after a colon.
        metric: how a word m scores for a query q, higher is better.
            ``cosine``: q.m / (n(q) n(m)) with n(v) = sqrt(v.v + norm_eps), 0 where either is 0;
            ``dot``: q.m;
            ``l2``: -|q - m|^2.
        tables: how many times the words are hashed.
        buckets: buckets (lists, cells) of a table, once the memory is full; a smaller memory in
            use has fewer.
        bucket_size: words that a list shall have.
        probes: how many buckets a query looks into, of mean length; more find more, and take
            longer.
        recall: the share of the true k best that a search shall find, on the mean, in place of
            `probes`: the index watches itself and looks into as many buckets as that takes. Where
            neither is given, approximate kinds aim at 0.9.
        exact_below: with fewer slots in use every word is compared, as by ``exact``.
        refresh_after: what was learned from the words is learned anew once this many times the
            words in use have been replaced; 0 never.
        seed: of whatever is drawn at random.
        compiled: whether the compiled forms of the hot loops are used, as the argument of
            `index.compiled.is_compiled`; with None that decides. What is found is the same.
        storage: how words are kept: as ``float32``, ``float16`` or ``bfloat16``, or as ``int8``
            with a scale for each word; None is the dtype of the index. A word is rounded when it
            comes, and scores are computed from what is kept.
        copies: whether lists hold copies of their words, which are faster to search, or look them
            up; None is true.
        norm_eps: added inside the norms of the cosine. None is 0: the true cosine, to rounding,
            for vectors of any length. Models set that of their own similarity.
        options: options that only this backend has, by name; see `VectorIndex.options_class`.
            Names and types are checked when the index is made. Not to be changed afterwards.

    Raises:
        ValueError: an empty kind, an unknown metric, a number out of its range, or an option that
            is neither number, text nor bool.
    """

    kind: str = "exact"
    metric: Metric = "cosine"
    tables: int | None = None
    buckets: int | None = None
    bucket_size: int | None = None
    probes: int | None = None
    recall: float | None = None
    exact_below: int | None = None
    refresh_after: float | None = None
    seed: int = 0
    compiled: bool | None = None
    storage: StorageName | None = None
    copies: bool | None = None
    norm_eps: float | None = None
    options: dict[str, int | float | bool | str] = field(default_factory=dict, hash=False)

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
        if self.recall is not None and self.probes is not None:
            raise ValueError(f"recall: expected either recall or probes, got {self.probes} probes")
        for name in ("compiled", "copies"):
            value = getattr(self, name)
            if value not in (None, False, True):
                raise ValueError(f"{name}: expected true, false or None, got {value!r}")
        if self.storage not in (None, *get_args(StorageName)):
            known = ", ".join(get_args(StorageName))
            raise ValueError(f"storage: expected one of {known}, got {self.storage!r}")
        if not isinstance(self.options, dict):
            raise ValueError(f"options: expected a dict, got {self.options!r}")
        for name, value in self.options.items():
            if not isinstance(name, str) or not isinstance(value, int | float | bool | str):
                raise ValueError(f"options: expected numbers, text or bools, got {name}={value!r}")
        object.__setattr__(self, "options", dict(self.options))  # the caller's dict may change

    def given(self) -> tuple[str, ...]:
        """The options shared by backends that are not left to the backend's rule."""
        return tuple(name for name in _OPTIONS if getattr(self, name) is not None)

    def settings(self) -> dict[str, Any]:
        """The fields by name, as a file holds them; `from_settings` reads them.

        Files are those of before there were `options`, `recall`, `storage`, `copies` and `norm_eps`
        where these change nothing: without them if they are not given, without the last if it is
        1e-6.
        """
        shown = {one.name: getattr(self, one.name) for one in fields(self)}
        if not self.options:
            del shown["options"]
        for name in ("recall", "storage", "copies"):
            if shown[name] is None:
                del shown[name]
        if self.norm_eps == _NORM_EPS_BEFORE:
            del shown["norm_eps"]
        return shown

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> Self:
        """The configuration that `settings` wrote, also of a file without `norm_eps`."""
        before: dict[str, Any] = {"norm_eps": _NORM_EPS_BEFORE}
        return cls(**(before | settings))

    def __getstate__(self) -> dict[str, Any]:
        return {one.name: getattr(self, one.name) for one in fields(self)}

    def __setstate__(self, state: dict[str, Any] | list[Any]) -> None:
        if isinstance(state, list):  # pickled before there was `norm_eps`
            state = {"norm_eps": _NORM_EPS_BEFORE} | dict(zip(_FIELDS_BEFORE, state, strict=True))
        known = IndexConfig(**state)
        for one in fields(self):
            object.__setattr__(self, one.name, getattr(known, one.name))

    def own_options(self, cls: type | None) -> Any:
        """The options of one backend only.

        Args:
            cls: a dataclass whose fields are those options; None for a backend without any.

        Returns:
            An instance of it, with the values of `options` and else the defaults; or None.

        Raises:
            UnknownNameError: there is no option of that name; the closest one is named.
            ValueError: an option is missing, of another type than its default, or refused.
        """
        known = {one.name: one for one in fields(cls)} if cls is not None else {}
        for name, value in self.options.items():
            if name not in known:
                raise unknown_name(f"option of index {self.kind!r}", name, known)
            kind = type(known[name].default)
            right = type(value) is kind or (kind is float and type(value) is int)
            if kind in (bool, int, float, str) and not right:
                raise ValueError(
                    f"{name}: expected {kind.__name__} for index {self.kind!r}, got {value!r}"
                )
        for name, one in known.items():
            if name not in self.options and one.default is one.default_factory is MISSING:
                raise ValueError(f"{name}: expected a value for index {self.kind!r}, got none")
        return cls(**self.options) if cls is not None else None
