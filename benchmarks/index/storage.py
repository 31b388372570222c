"""What rounded words cost and save: ``python -m benchmarks.index.storage``.

The same words in the same kinds of indexes, kept as float32, float16, bfloat16 and int8, with and
without copies in the lists. Recall@10 against an exact search of the words before they were
rounded; milliseconds to replace 36 words and search for 32, in turns with float32; bytes a word of
the whole index. Ten minutes; writes index_storage.json, record by record.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.harness import (
    RESULTS,
    Lap,
    Measured,
    Report,
    positive,
    ratio,
    spread,
    take_turns,
)
from benchmarks.index.calls import ASKED, WRITES
from benchmarks.index.datasets import WordSet, load_set
from benchmarks.index.play import CLOCKS
from benchmarks.index.records import Records
from benchmarks.tables.storage_table import storage_table
from index import IndexConfig, StoredIndex, make_index, recall_at_k
from index.config import Metric

FILE = "index_storage.json"
KEYS = ("set", "words", "kind", "storage", "copies")
K = 10
KINDS = ("exact", "ivf", "product", "lsh")
WITH_COPIES = ("ivf", "product", "auto")
STORAGES = ("float32", "float16", "bfloat16", "int8")
# By what a set is compared.
METRICS: dict[str, Metric] = {"glove": "cosine", "mnist": "l2"}
_LOOKS, _CALLS = 6, 2  # searches until an index knows its recall, and calls a turn


def forms(kind: str) -> list[dict[str, Any]]:
    """The options of each way to keep words; the first one is the default."""
    copies = (None, False) if kind in WITH_COPIES else (None,)
    return [{"storage": name, "copies": each} for each in copies for name in STORAGES]


def measure(
    words: WordSet, metric: Metric, kind: str, *, rounds: int, clock: str = "wall"
) -> list[dict[str, Any]]:
    """A record for each form of one kind of index, all of them filled with the same words."""
    sizes: dict[str, Any] = {"capacity": words.size, "word_size": words.words.shape[1]}
    fresh, asked = words.words[: words.size], words.queries
    exact = make_index(IndexConfig(metric=metric), **sizes)
    exact.load(fresh)
    true, indexes = exact.search(asked, K), {}
    below = {} if kind == "exact" else {"exact_below": 0}
    for form in forms(kind):
        index = make_index(IndexConfig(kind=kind, metric=metric, **below, **form), **sizes)
        assert isinstance(index, StoredIndex)
        index.load(fresh)
        for part in asked.chunk(_LOOKS):
            index.search(part, K)
        indexes[form["storage"], form["copies"]] = index
    found = {key: index.search(asked, K) for key, index in indexes.items()}
    held = {key: index.search_exact(asked, K) for key, index in indexes.items()}
    calls = {str(key): _traffic(index, words) for key, index in indexes.items()}
    times = take_turns(calls, rounds=rounds, clock=CLOCKS[clock])
    reference = times[str(("float32", None))]["total"]
    return [
        {
            "set": words.name,
            "words": words.size,
            "word_size": sizes["word_size"],
            "metric": metric,
            "kind": kind,
            "storage": key[0],
            "copies": key[1],
            "recall": _overlap(found[key].slots, true.slots),
            "recall_of_kept": float(recall_at_k(found[key], held[key]).mean()),
            "bytes_per_word": index.nbytes / words.size,
            "ms": spread([1e3 * each / _CALLS for each in times[str(key)]["total"]]),
            "to_float32": ratio(times[str(key)]["total"], reference),
            "clock": clock,
        }
        for key, index in indexes.items()
    ]


def _overlap(found: Tensor, true: Tensor) -> float:
    """The share of true slots [Q, k] that were found; their scores are of other words."""
    return (true.unsqueeze(2) == found.unsqueeze(1)).any(2).double().mean().item()


def _traffic(index: StoredIndex, words: WordSet) -> Measured:
    """The same calls for every index: words are replaced, then it is searched."""
    generator = torch.Generator().manual_seed(1)

    def measured(lap: Lap) -> None:
        for _ in range(_CALLS):
            slots = torch.randint(words.size, (WRITES,), generator=generator)
            chosen = torch.randint(len(words.words), (WRITES,), generator=generator)
            asked = torch.randint(len(words.queries), (ASKED,), generator=generator)
            index.update(slots, words.words[chosen])
            index.search(words.queries[asked], K)
        lap("calls")

    return measured


def run(options: argparse.Namespace, records: Records, report: Report) -> None:
    """Measures what was asked for and adds a record for each."""
    for name in options.sets:
        try:
            words = load_set(name, most=options.words, folder=options.data)
        except OSError as error:
            report(f"{name}: left out; {error}")
            continue
        for kind in options.kinds:
            how = {"rounds": options.rounds, "clock": options.clock}
            for record in measure(words, METRICS[name], kind, **how):
                records.add(record)
            report(f"{name} {kind}: measured")


def main(arguments: Sequence[str]) -> int:
    """Measures, writes, prints; 1 after a mistake of the user's, reported in one line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.index.storage", description=__doc__)
    parser.add_argument("--sets", nargs="+", choices=[*METRICS], default=[*METRICS])
    parser.add_argument("--kinds", nargs="+", choices=[*KINDS, "auto"], default=KINDS)
    parser.add_argument("--words", type=positive, help="of a memory, where the set has more")
    parser.add_argument("--rounds", type=positive, default=15, help="turns of each")
    parser.add_argument("--clock", choices=[*CLOCKS], default="wall", help="cpu on a busy machine")
    parser.add_argument("--data", type=Path, help="folder with ann and mnist")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder to write to")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    try:
        records = Records(options.out / FILE, "benchmarks.index.storage", arguments, KEYS)
        run(options, records, lambda line: print(line, flush=True))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    print(storage_table(options.out))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
