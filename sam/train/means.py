"""Means of named numbers over the sequences of an evaluation."""

from collections.abc import Hashable, Mapping

from torch import Tensor


class Means:
    """Sums up the numbers that a task names for each sequence; NaN does not count."""

    def __init__(self) -> None:
        self._sums: dict[Hashable, dict[str, tuple[float, int]]] = {}

    def add(self, group: Hashable, numbers: Mapping[str, Tensor], rows: Tensor) -> None:
        """Adds the numbers [B] of a batch's sequences to a group.

        Args:
            group: what the sequences share.
            numbers: by name.
            rows: which of the sequences are of the group, [B] bool.
        """
        for name, values in numbers.items():
            found = values.detach().double()[rows]
            found = found[~found.isnan()]
            sums = self._sums.setdefault(group, {})
            before, count = sums.get(name, (0.0, 0))
            sums[name] = before + found.sum().item(), count + len(found)

    def of(self, group: Hashable) -> dict[str, float] | None:
        """The means of a group, by name, of those that count anywhere; None if there are none."""
        sums = self._sums.get(group, {})
        return {name: total / count for name, (total, count) in sums.items() if count} or None
