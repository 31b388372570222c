"""The README's table of the indexes, measured by `benchmarks.index`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.tables.markdown import field, keyed, measured_on, missing, power, table

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
    shown = {size: large[size] for size in _SHOWN if size in large}
    glove = next((record for record in records if record["part"] == "glove"), None)
    titles = {size: f"N = {power(size)}: ms, recall@1, @8" for size in _SHOWN}
    columns = [
        field("index", "family", "`{}`"),
        field("when", "when"),
        *keyed(titles, _step),
        field("bytes per word", "extra_bytes", "{:+.0f}"),
        field("GloVe: recall@10, ms per query", "glove"),
        field("SAM step: ms (ratio)", "sam"),
    ]
    steps = _sam_steps(results / "full_memory.json")
    rows = []
    for family, when in WHEN.items():
        row: dict[Any, Any] = {"family": family, "when": when}
        row |= {"glove": _glove(glove, family), "sam": steps.get(family)}
        for size, record in shown.items():
            if (entry := _first(record, family)) is not None:
                row[size] = entry
                row.setdefault("extra_bytes", entry["extra_bytes_per_word"])
        rows.append(row)
    return f"{table(columns, rows)}\n\n{_circumstances([*shown.values()], glove)}"


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
            f"{power(record['memory_size'])}"
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


def _first(record: dict[str, Any], family: str) -> dict[str, Any] | None:
    return next((entry for entry in record["indexes"] if entry["family"] == family), None)


def _step(entry: dict[str, Any]) -> str:
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
