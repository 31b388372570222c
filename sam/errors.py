"""Errors of the library. Those about indexes are shared with the `index` package."""

from index.errors import (
    BackendMissingError,
    NonFiniteError,
    ShapeError,
    UnknownNameError,
    unknown_name,
)

__all__ = [
    "BackendMissingError",
    "CheckpointError",
    "ConfigError",
    "DataMissingError",
    "DivergedError",
    "NonFiniteError",
    "RunInUseError",
    "ShapeError",
    "StaleStateError",
    "UnknownNameError",
    "unknown_name",
]


class StaleStateError(RuntimeError):
    """A state was used after a step had consumed it, or a second backward pass was started."""


class ConfigError(ValueError):
    """A configuration value or key is not valid."""


class RunInUseError(ConfigError):
    """A run folder is in the hands of another process."""


class DivergedError(NonFiniteError):
    """Training cannot go on: something is NaN, infinite, or larger than the settings allow."""


class DataMissingError(FileNotFoundError):
    """A data set is not where it was looked for; the text says what to do."""


class CheckpointError(RuntimeError):
    """A checkpoint cannot be read, is damaged, or belongs to another configuration."""
