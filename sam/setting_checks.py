"""Checks of settings that the memories share."""

from collections.abc import Sequence
from typing import Any

from index.checks import MOST, MOST_FLOAT, MOST_SLOTS, check_at_least
from sam.errors import ConfigError


def check_sizes(**sizes: Any) -> None:
    """Raises ConfigError unless every size is an integer of at least 1 that is not absurd."""
    for name, value in sizes.items():
        most = MOST_SLOTS if name == "memory_size" else MOST
        check_at_least(name, value, most=most, error=ConfigError)


def check_at_most(name: str, value: int, limit_name: str, limit: int) -> None:
    """Raises ConfigError if `value` is above `limit`."""
    if value > limit:
        raise ConfigError(f"{name}: expected at most {limit_name}={limit}, got {value}")


def check_choice(name: str, value: Any, known: Sequence[Any]) -> None:
    """Raises ConfigError unless `value` is one of the known ones."""
    if value not in known:
        raise ConfigError(f"{name}: expected one of {tuple(known)}, got {value!r}")


def check_fraction(name: str, value: float) -> None:
    """Raises ConfigError unless `value` is in [0, 1)."""
    if not 0 <= value < 1:
        raise ConfigError(f"{name}: expected a value in [0, 1), got {value}")


def check_between(name: str, value: float, least: float, most: float = MOST) -> None:
    """Raises ConfigError unless ``least <= value <= most``; NaN is refused too."""
    if not value >= least:
        raise ConfigError(f"{name}: expected at least {least}, got {value}")
    if value > most:
        raise ConfigError(f"{name}: expected at most {most}, got {value}")


def check_finite(name: str, value: float) -> None:
    """Raises ConfigError unless `value` is a number, finite in float32 too."""
    if not isinstance(value, int | float) or not abs(value) <= MOST_FLOAT:
        raise ConfigError(f"{name}: expected a finite number, got {value!r}")
