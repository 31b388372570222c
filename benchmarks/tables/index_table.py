"""What `benchmarks.index` found, as text: for the terminal, and for the README."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.tables.markdown import markdown, measured_on, missing

# By family, in the order of the README's rows.
WHEN = {
    "exact": "up to some thousand words written, or every neighbour counts",
    "ivf": "many words: the best recall; learns where words lie, and anew as they move",
    "product": "as `ivf`: the fastest in a very large memory; less recall beyond the nearest",
    "lsh": "the nearest word is all that counts, or words change their nature; learns nothing",
    "faiss": "many queries for each change (GloVe), or any factory string of FAISS; on the CPU",
    "raw faiss": "(the yardstick: IVFFlat with 4 probes, called in a loop by hand)",
}
_SHOWN, _WORD_SIZE = (2**16, 2**20), 32
_GOOD_RECALL = 0.9  # on GloVe the fastest setting is shown that finds so much


def index_table(results: Path) -> str:
    """Which index when: time, recall and bytes on clustered words after churn, and on GloVe."""
    path = results / "index.json"
    if not path.exists():
        return missing("benchmarks.index")
    records = json.loads(path.read_text())["records"]
    large = {
        record["memory_size"]: record
        for record in records
        if record["part"] == "clustered" and record["word_size"] == _WORD_SIZE
    }
    glove = next((record for record in records if record["part"] == "glove"), None)
    head = ["index", "when"]
    head += [f"N = 2^{size.bit_length() - 1}: ms, recall@1, @8" for size in _SHOWN]
    rows = [[*head, "bytes per word", "GloVe: recall@10, ms per query", "SAM step: ms (ratio)"]]
    steps = _sam_steps(results / "full_memory.json")
    for family, when in WHEN.items():
        found = [_first(large.get(size), family) for size in _SHOWN]
        cells = [_step(entry) for entry in found]
        extra = next((f"{e['extra_bytes_per_word']:+.0f}" for e in found if e is not None), "")
        rows.append(
            [f"`{family}`", when, *cells, extra, _glove(glove, family), steps.get(family, "")]
        )
    shown = [large[size] for size in _SHOWN if size in large]
    return f"{markdown(rows)}\n\n{_circumstances(shown, glove)}"


def _sam_steps(path: Path) -> dict[str, str]:
    """By family, milliseconds of a SAM step on the largest full memory, and to the smallest."""
    if not path.exists():
        return {}
    found = {}
    for one in json.loads(path.read_text())["indexes"]:
        milliseconds = one["sizes"][-1]["ms_per_step"]["total"]["median"]
        ratio = one["largest_to_smallest"]["median"]
        found[one["index"]] = f"{milliseconds:.1f} ({ratio:.1f})"
    return found


def _circumstances(shown: Sequence[dict[str, Any]], glove: dict[str, Any] | None) -> str:
    text = []
    if shown:
        one = shown[0]
        churn = ", ".join(
            f"{record['churn']['slots'] / record['memory_size']:g} N at "
            f"2^{record['memory_size'].bit_length() - 1}"
            for record in shown
        )
        text.append(
            f"Clustered words, W = {one['word_size']}, batch {one['batch_size']}, full memories; "
            f"ms to replace {one['writes']} words of each and search for {one['queries']} x "
            f"{one['top_k']}, after churn ({churn}); bytes beside the words themselves."
        )
    if glove is not None:
        text.append(
            f"GloVe: {glove['memory_size']:,} words of {glove['word_size']} numbers, one memory, "
            f"the fastest setting measured with recall of {_GOOD_RECALL:g}, or else the best."
        )
    text.append(
        "SAM: forward and backward on a full memory of 2^20 words, batch 8, 4 heads, K = 4, and "
        "to that of 2^16 (`benchmarks.full_memory`)."
    )
    measured = (shown or [glove])[0]
    return " ".join([*text, measured_on(measured)] if measured else text)


def _first(record: dict[str, Any] | None, family: str) -> dict[str, Any] | None:
    entries = record["indexes"] if record else []
    return next((entry for entry in entries if entry["family"] == family), None)


def _step(entry: dict[str, Any] | None) -> str:
    if entry is None:
        return ""
    state = entry["churned"]
    return f"{state['ms']['total']['median']:.2f}, {state['recall_1']:.3f}, {state['recall_k']:.3f}"


def _glove(record: dict[str, Any] | None, family: str) -> str:
    entries = [e for e in (record["indexes"] if record else []) if e["family"] == family]
    if not entries:
        return ""
    good = [entry for entry in entries if entry["recall_k"] >= _GOOD_RECALL]
    best = max(entries, key=lambda entry: entry["recall_k"])
    one = min(good, key=lambda entry: entry["ms_per_query"]["median"]) if good else best
    numbers = f"{one['recall_k']:.2f}, {one['ms_per_query']['median']:.3f}"
    return numbers if one["name"] == family else f"{numbers} (`{one['name']}`)"


def summary(record: dict[str, Any]) -> str:
    """One record in some lines."""
    title = f"{record['part']}, N = {record['memory_size']}, W = {record['word_size']}"
    wide = max(len(entry["name"]) for entry in record["indexes"])
    lines = [f"  {entry['name']:<{wide}}  {_numbers(entry)}" for entry in record["indexes"]]
    return "\n".join([f"{title}:", *lines])


def _numbers(entry: dict[str, Any]) -> str:
    if "ms_per_query" in entry:
        return (
            f"{entry['ms_per_query']['median']:.3f} ms per query, recall@1 {entry['recall_1']:.3f} "
            f"@10 {entry['recall_k']:.3f}, {entry['to_exact']['median']:.2f} x exact, "
            f"built in {entry['build_seconds']:.1f} s"
        )
    if "churned" not in entry:
        before, after = entry["before"], entry["after"]
        return (
            f"recall@1 {before['recall_1']:.3f} -> {after['recall_1']:.3f}, "
            f"@8 {before['recall_k']:.3f} -> {after['recall_k']:.3f}, {entry['seconds']:.1f} s"
        )
    parts = [f"built in {entry['build_seconds']:.1f} s, {entry['extra_bytes_per_word']:+.0f} bytes"]
    for name in ("fresh", "churned"):
        state = entry[name]
        ms = {phase: spread["median"] for phase, spread in state["ms"].items()}
        ratios = ", ".join(f"{r['median']:.2f} x {other}" for other, r in state["to"].items())
        parts.append(
            f"{name}: update {ms['update']:.3f} + search {ms['search']:.3f} = {ms['total']:.3f} ms "
            f"({ratios}), recall {state['recall_1']:.3f} {state['recall_k']:.3f}"
        )
    return "; ".join(parts)
