"""The README's table of the sweep: SAM beside an LSTMCell loop, and what surrounds it."""

from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.sweep.sweep_case import LOOP, LSTM
from benchmarks.sweep.sweep_file import FILE, ResultsError, Sweep
from benchmarks.tables.markdown import Column, measured_on, power, table
from benchmarks.tables.sweep_entries import WAYS, at, label, rounds_of, seconds
from benchmarks.workload import PATHS

SHOWN, SHOWN_FULL, EXTRAPOLATED = (2**10, 2**20, 2**30), (2**16, 2**20), 2**20
GOOD_RECALL = 0.9
# The paper's NTM against its SAM, at 2^20 words (SAM paper, 4.1).
PAPER_TIMES = 1600


class _Row(NamedTuple):
    """Entries of one model at several sizes; each column joins their numbers."""

    name: str
    entries: list[dict[str, Any]]


def _milliseconds(row: _Row, phase: str) -> str:
    return ", ".join(f"{1e3 * seconds(entry, phase):.3f}" for entry in row.entries)


def _sizes(row: _Row) -> str:
    sizes = [entry["memory_size"] for entry in row.entries]
    return ", ".join(power(size) for size in sizes if size is not None)


def _ratios(row: _Row) -> str:
    ratios = [entry.get("to_lstm") for entry in row.entries]  # the loop itself has none
    return ", ".join("1" if ratio is None else f"{ratio['median']:.2f}" for ratio in ratios)


def _kept(row: _Row) -> str:
    kept = [f"{e['bytes_per_step']:,.0f}" for e in row.entries if "bytes_per_step" in e]
    return ", ".join(dict.fromkeys(kept))


_COLUMNS = (
    Column("", lambda row: row.name),
    Column("N", _sizes),
    Column("forward ms", lambda row: _milliseconds(row, "forward")),
    Column("backward ms", lambda row: _milliseconds(row, "backward")),
    Column("both ms", lambda row: _milliseconds(row, "total")),
    Column("x LSTMCell loop", _ratios),
    Column("bytes kept", _kept),
)


def time_table(results: Path) -> str:
    """Milliseconds and bytes per step: fresh and full memories, NTM, SDNC and the two baselines."""
    sweep = Sweep(results)
    rows: list[_Row] = []
    fresh = [*sweep.entries("fresh")]
    for path in (path for path in PATHS if path != "plain"):
        found = at(fresh, SHOWN, model="sam", path=path, index="exact")
        rows.append(_Row(f"{label(found[0])}, fresh memory", found))
    for index in (_best_index(sweep), "faiss"):
        if index and (found := full_entries(sweep, index)):
            recall = ", ".join(f"{entry['recall_1']:.2f}" for entry in found)
            rows.append(_Row(f"{label(found[0])}, every slot written, recall@1 {recall}", found))
    ntm, sam = _largest(sweep, "ntm")
    ways = dict.fromkeys(entry["path"] for entry in fresh if entry["model"] == "sdnc")
    others = [at(fresh, SHOWN[1:2], model="sdnc", path=path)[0] for path in ways or PATHS[:1]]
    others.append(ntm)
    others += [at(fresh, (None,), model=name)[0] for name in (LSTM, LOOP)]
    rows += [_Row(label(entry), [entry]) for entry in others]
    record = sweep.part("fresh")
    return f"{table(_COLUMNS, rows)}\n\n{_caption(sweep, ntm, sam)} {measured_on(record)}"


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
    (n_1, t_1), (n_2, t_2) = ((e["memory_size"], seconds(e)) for e in entries[-2:])
    _, sam = _largest(sweep, model)
    return (t_2 + (size - n_2) * (t_2 - t_1) / (n_2 - n_1)) / seconds(sam)


def _caption(sweep: Sweep, ntm: dict[str, Any], sam: dict[str, Any]) -> str:
    record, dense = sweep.part("fresh"), sweep.part("dense")
    plan, ratios = record["plan"], []
    for path in (path for path in PATHS if path != "plain"):
        if (found := record["flat"].get(f"sam exact {path}")) is not None:
            value = found["ratio"]
            ratios.append(
                f"{WAYS[path]} {value['median']:.2f} ({value['low']:.2f} to {value['high']:.2f})"
            )
    sizes = record["flat"][f"sam exact {PATHS[0]}"]["sizes"]
    largest = power(ntm["memory_size"])
    return (
        f"Per step, batch {plan['workload']['batch_size']}, median of "
        f"{rounds_of(record['entries'])}, T = {plan['workload']['steps']} (NTM "
        f"{dense['plan']['dense_steps']}, full memories "
        f"{sweep.part('full')['plan']['full_steps']}); bytes per sequence. Time at "
        f"{power(sizes[1])} to that at {power(sizes[0])}: {', '.join(ratios)}. An NTM's step takes "
        f"{seconds(ntm) / seconds(sam):,.0f} times SAM's at {largest} words, the largest "
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
