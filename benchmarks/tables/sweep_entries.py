"""What the tables of the sweep have in common: choosing its entries, and naming them."""

from collections.abc import Sequence
from typing import Any

from benchmarks.sweep.sweep_case import LOOP, LSTM
from benchmarks.sweep.sweep_file import FILE, ResultsError
from benchmarks.workload import PATHS

WAYS = {"sequence": "whole sequence", "step": "stepwise", "plain": "plain torch"}
_BASELINES = {LOOP: "`nn.LSTMCell` loop", LSTM: "`nn.LSTM`"}


def label(entry: dict[str, Any]) -> str:
    """The model of an entry, in words; without its size."""
    if entry["model"] in _BASELINES:
        return _BASELINES[entry["model"]]
    name = entry["model"].upper()
    if entry["index"] not in (None, "exact") or (entry["full"] and entry["index"]):
        name += f" `{entry['index']}`"
    several = entry["model"] == "sam" or entry["path"] == PATHS[0]  # an SDNC's steps have no name
    return f"{name}, {WAYS[entry['path']]}" if several else name


def by_label(entries: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Entries by their label; the LSTMCell loop comes last."""
    found: dict[str, list[dict[str, Any]]] = {}
    for entry in sorted(entries, key=lambda entry: entry["model"] == LOOP):
        found.setdefault(label(entry), []).append(entry)
    return found


def at(
    entries: Sequence[dict[str, Any]], sizes: Sequence[int | None], **wanted: Any
) -> list[dict[str, Any]]:
    """The entry of each size that has the wanted values.

    Raises:
        ResultsError: there is none for a size.
    """
    found = []
    for size in sizes:
        matching = [
            entry
            for entry in entries
            if entry["memory_size"] == size and all(entry[k] == v for k, v in wanted.items())
        ]
        if not matching:
            given = ", ".join(f"{key} {value}" for key, value in wanted.items())
            raise ResultsError(f"{FILE}: expected an entry of {given} with N = {size}, got none")
        found.append(matching[0])
    return found


def seconds(entry: dict[str, Any], phase: str = "total") -> float:
    """The median of the seconds per step."""
    return entry["seconds_per_step"][phase]["median"]


def rounds_of(entries: Sequence[dict[str, Any]]) -> str:
    """How many rounds there were, or the fewest and the most."""
    fewest, most = (function(entry["rounds"] for entry in entries) for function in (min, max))
    return f"{most} rounds" if fewest == most else f"{fewest} to {most} rounds"
