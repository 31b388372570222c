"""The README's table of the sweep: SAM beside an LSTMCell loop, and what surrounds it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.sweep.sweep_case import LOOP, LSTM
from benchmarks.sweep.sweep_file import FILE, ResultsError, Sweep
from benchmarks.tables.markdown import markdown, measured_on
from benchmarks.workload import PATHS

SHOWN, SHOWN_FULL, EXTRAPOLATED = (2**10, 2**20, 2**30), (2**16, 2**20), 2**20
GOOD_RECALL = 0.9
# The paper's NTM against its SAM, at 2^20 words (SAM paper, 4.1).
PAPER_TIMES = 1600
_WAYS = {"sequence": "whole sequence", "step": "stepwise", "plain": "plain torch"}
_BASELINES = {LOOP: "`nn.LSTMCell` loop", LSTM: "`nn.LSTM`"}


def time_table(results: Path) -> str:
    """Milliseconds and bytes per step: fresh and full memories, NTM, SDNC and the two baselines."""
    sweep = Sweep(results)
    head = ["", "N", "forward ms", "backward ms", "both ms", "x LSTMCell loop", "bytes kept"]
    rows = [head]
    fresh = [*sweep.entries("fresh")]
    for path in (path for path in PATHS if path != "plain"):
        found = at(fresh, SHOWN, model="sam", path=path, index="exact")
        rows.append(_row(found, f"{label(found[0])}, fresh memory"))
    for index in (_best_index(sweep), "faiss"):
        if index and (found := full_entries(sweep, index)):
            recall = ", ".join(f"{entry['recall_1']:.2f}" for entry in found)
            rows.append(_row(found, f"{label(found[0])}, every slot written, recall@1 {recall}"))
    rows.append(_row(at(fresh, SHOWN[1:2], model="sdnc")))
    ntm, sam = _largest(sweep, "ntm")
    rows.append(_row([ntm]))
    rows += [_row(at(fresh, (None,), model=name)) for name in (LSTM, LOOP)]
    record = sweep.part("fresh")
    return f"{markdown(rows)}\n\n{_caption(sweep, ntm, sam)} {measured_on(record)}"


def label(entry: dict[str, Any]) -> str:
    """What an entry is of, in words; without its size."""
    if entry["model"] in _BASELINES:
        return _BASELINES[entry["model"]]
    name = entry["model"].upper()
    if entry["index"] not in (None, "exact") or (entry["full"] and entry["index"]):
        name += f" `{entry['index']}`"
    return f"{name}, {_WAYS[entry['path']]}" if entry["model"] == "sam" else name


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


def full_entries(sweep: Sweep, index: str) -> list[dict[str, Any]]:
    """Full memories with an index at those shown sizes that were measured, on the fastest path."""
    found = [e for size in SHOWN_FULL for e in sweep.entries("full", index=index, memory_size=size)]
    if not found:
        return []
    largest = [entry for entry in found if entry["memory_size"] == found[-1]["memory_size"]]
    path = min(largest, key=lambda entry: entry["to_lstm"]["median"])["path"]
    return [entry for entry in found if entry["path"] == path]


def _best_index(sweep: Sweep) -> str | None:
    """Of our own approximate indexes that find enough, the fastest in the largest memory."""
    order = {}
    for index in dict.fromkeys(e["index"] for e in sweep.entries("full", full=True)):
        found = full_entries(sweep, index)
        good = all(entry["recall_1"] >= GOOD_RECALL for entry in found)
        if index not in ("exact", "faiss") and found and good:
            # One that was measured at fewer sizes was too slow for the others.
            order[index] = -len(found), found[-1]["to_lstm"]["median"]
    return min(order, key=lambda name: order[name]) if order else None


def _largest(sweep: Sweep, model: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A dense model at the largest size that it was measured at, and SAM in the same rounds."""
    found = [*sweep.entries("dense", model=model)]
    if not found:
        raise ResultsError(f"{FILE}: part 'dense': expected entries of {model}, got none")
    last = max(found, key=lambda entry: entry["memory_size"])
    sam = at([*sweep.entries("dense", path=PATHS[0])], (last["memory_size"],), model="sam")
    return last, sam[0]


def times_at(sweep: Sweep, model: str, size: int) -> float:
    """How many times a SAM's step one of a dense model would take at a size, by its slope.

    t(N) = t_n + (N - N_n) (t_n - t_{n-1}) / (N_n - N_{n-1}),  of the two largest measured
    """
    entries = sorted(sweep.entries("dense", model=model), key=lambda entry: entry["memory_size"])
    if len(entries) < 2:
        raise ResultsError(
            f"{FILE}: part 'dense': expected two sizes of {model}, got {len(entries)}"
        )
    (n_1, t_1), (n_2, t_2) = ((e["memory_size"], _median(e)) for e in entries[-2:])
    _, sam = _largest(sweep, model)
    return (t_2 + (size - n_2) * (t_2 - t_1) / (n_2 - n_1)) / _median(sam)


def _median(entry: dict[str, Any], phase: str = "total") -> float:
    return entry["seconds_per_step"][phase]["median"]


def _row(entries: Sequence[dict[str, Any]], name: str | None = None) -> list[str]:
    """Several sizes of one line share a row, their numbers in the same order."""
    sizes = [entry["memory_size"] for entry in entries]
    kept = list(dict.fromkeys(f"{e['bytes_per_step']:,.0f}" for e in entries if _has_bytes(e)))
    return [
        name or label(entries[0]),
        ", ".join(power(size) for size in sizes if size is not None),
        *(
            ", ".join(f"{1e3 * _median(entry, phase):.3f}" for entry in entries)
            for phase in ("forward", "backward", "total")
        ),
        ", ".join(f"{e['to_lstm']['median']:.2f}" if "to_lstm" in e else "1" for e in entries),
        ", ".join(kept),
    ]


def rounds_of(entries: Sequence[dict[str, Any]]) -> str:
    """How many rounds there were, or the fewest and the most."""
    fewest, most = (function(entry["rounds"] for entry in entries) for function in (min, max))
    return f"{most} rounds" if fewest == most else f"{fewest} to {most} rounds"


def _has_bytes(entry: dict[str, Any]) -> bool:
    return "bytes_per_step" in entry


def power(size: int) -> str:
    """2^20 and the like; other numbers in full."""
    exponent = size.bit_length() - 1
    return f"2^{exponent}" if size == 2**exponent else f"{size:,}"


def _caption(sweep: Sweep, ntm: dict[str, Any], sam: dict[str, Any]) -> str:
    record, dense = sweep.part("fresh"), sweep.part("dense")
    plan, ratios = record["plan"], []
    for path in (path for path in PATHS if path != "plain"):
        if (found := record["flat"].get(f"sam exact {path}")) is not None:
            value = found["ratio"]
            ratios.append(
                f"{_WAYS[path]} {value['median']:.2f} ({value['low']:.2f} to {value['high']:.2f})"
            )
    sizes = record["flat"][f"sam exact {PATHS[0]}"]["sizes"]
    largest = power(ntm["memory_size"])
    return (
        f"Per step, batch {plan['workload']['batch_size']}, median of "
        f"{rounds_of(record['entries'])}, T = {plan['workload']['steps']} (NTM "
        f"{dense['plan']['dense_steps']}, full memories "
        f"{sweep.part('full')['plan']['full_steps']}); bytes per sequence. Time at "
        f"{power(sizes[1])} to that at {power(sizes[0])}: {', '.join(ratios)}. An NTM's step takes "
        f"{_median(ntm) / _median(sam):,.0f} times SAM's at {largest} words, the largest "
        f"measured, and by its slope {times_at(sweep, 'ntm', EXTRAPOLATED):,.0f} times at "
        f"{power(EXTRAPOLATED)} (the paper: {PAPER_TIMES:,}). {_whole_bytes(sweep)}"
    )


def _whole_bytes(sweep: Sweep) -> str:
    """Bytes of a fresh state and of a training step, beside the paper's, in sentences."""
    record = sweep.part("bytes")
    size, state = max((int(size), value) for size, value in record["fresh_state_bytes"].items())
    peak = record["peaks"][0]
    paper = peak["paper"]
    return (
        f"A fresh state of {power(size)} words, batch {record['plan']['workload']['batch_size']}, "
        f"takes {state / 1000:.0f} kB. A training step with N = {power(peak['memory_size'])}, "
        f"T = {peak['steps']}, batch 1 takes at most {peak['peak'] / 2**20:.2f} MiB beside the "
        f"parameters, fresh memory and gradients included (the paper's SAM: "
        f"{paper['initial_mib']} + {paper['running_mib']} MiB)."
    )
