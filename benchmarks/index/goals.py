"""What a record of `defaults` or `streaming` falls short of."""

from collections.abc import Iterator, Sequence
from typing import Any

# Recall may be that much below a target on the mean; and no worse than this for longer than so
# many updates.
_MEAN, _WORST, _UPDATES = 0.03, 0.1, 2000
# What the default option asks for, and what is asked of the others unless told.
DEFAULT_TARGET = 0.9
_LONGEST = 50.0  # milliseconds of a call, with up to so many words
_WORDS = 50000


def misses(record: dict[str, Any]) -> list[str]:
    """Which goals an index misses, each in a few words; none for one that is told its effort.

    The mean of recall within .03 of the target, at least, and at least .9 where that is the
    default; not more than .1 below the target for more than 2,000 updates; not slower than exact
    search; no call longer than 50 ms with up to 50,000 words.
    """
    if record["effort"]:
        return []
    target = record["target"]
    phases = {name: record[name] for name in ("churn", "drift") if name in record}
    phases = phases or {record["runbook"]: record}
    least = DEFAULT_TARGET if target is None else target - _MEAN
    recalls = {name: phase["recall"] for name, phase in phases.items()}
    if "fresh" in record:
        recalls["fresh"] = record["fresh"]["recall"]
    found = [f"{name} recall {value:.3f}" for name, value in recalls.items() if value < least]
    for name, phase in phases.items():
        if phase["below"] > _UPDATES:
            worst = DEFAULT_TARGET if target is None else target
            found.append(f"{name} below {worst - _WORST:.2f} for {phase['below']:,} updates")
        if phase["to_exact"] and phase["to_exact"]["median"] > 1:
            found.append(f"{name} {phase['to_exact']['median']:.2f} x exact")
        if record["words"] <= _WORDS and phase["ms"]["longest"] > _LONGEST:
            found.append(f"{name} a call of {phase['ms']['longest']:.0f} ms")
    return found


def shortfalls(records: Sequence[dict[str, Any]]) -> Iterator[str]:
    """A line for each record that misses a goal, then one with their number."""
    missed = [misses(record) for record in records]
    for record, found in zip(records, missed, strict=True):
        if found:
            names = (record.get("runbook"), record["set"], record["metric"], record["kind"])
            asked = "" if record["target"] is None else f" at {record['target']:g}"
            yield f"{' '.join(name for name in names if name)}{asked}: {'; '.join(found)}"
    yield f"{sum(map(bool, missed))} of {len(records)} fall short"
