"""Records of a run as flat tables of numbers, for loggers that draw a curve for each name."""

from collections.abc import Mapping
from typing import Any


def scalars(record: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a record by name; of an evaluation ``evaluation/length=10/loss`` and so on,
    and ``evaluation/loss``, the mean over its sequences.
    """
    found = {n: v for n, v in record.items() if n != "update" and _is_number(v)}
    results = record.get("evaluation", ())
    if count := sum(result["sequences"] for result in results):
        total = sum(result["loss"] * result["sequences"] for result in results)
        found["evaluation/loss"] = total / count
    for result in results:
        of = f"evaluation/{result['name']}={result['value']}"
        numbers = {n: v for n, v in result.items() if n not in ("name", "value") and _is_number(v)}
        found |= {f"{of}/{name}": value for name, value in numbers.items()}
    return found


def flat_settings(tables: Mapping[str, Any]) -> dict[str, str | float | bool]:
    """The settings of a run as ``model.memory_size``; what is no number or text, as text."""
    found: dict[str, str | float | bool] = {}
    for section, table in tables.items():
        for key, value in table.items() if isinstance(table, dict) else [("", table)]:
            name = f"{section}.{key}" if key else section
            found[name] = value if isinstance(value, str | int | float) else str(value)
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
