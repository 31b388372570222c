"""Errors of the library. Those about indexes are shared with the `index` package."""

from index.errors import (
    BackendMissingError,
    FileFormatError,
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
    "FileFormatError",
    "NonFiniteError",
    "ProcessesError",
    "RunInUseError",
    "ShapeError",
    "StaleStateError",
    "UnknownNameError",
    "UnsupportedError",
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


class CheckpointError(FileFormatError, RuntimeError):
    """A file of a run, a model or a state is damaged, or belongs to another configuration."""


class ProcessesError(RuntimeError):
    """Another process of those that train together has ended, or does not answer."""


class UnsupportedError(NotImplementedError):
    """Torch was asked for something that has no form here, such as second derivatives."""
