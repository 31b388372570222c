"""What `benchmarks.index` found, in lines for the terminal."""

from typing import Any


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
