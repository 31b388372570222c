"""A base shared by all memories, from small to large: ``python -m benchmarks.base_memory``.

For each number of words and each index a base of clustered words is written to the disk, opened,
and searched as in a step of SAM: batch 8, 4 queries a memory near words of the base, the 4 nearest
of them, after 5 words a memory were written over it; beside it a step of an LSTM cell. A SAM is
trained over each base, too, sequences of 50 steps from a fresh state, beside the LSTMCell loop of
the other benchmarks. The bases take turns, so that other load slows all of them. Last a step of the
row-wise optimizers beside torch's own sparse one. Writes base_memory.json.

Figures called cold are taken after the system has dropped the files from its memory; all others are
warm.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.base_made import WORD_SIZE, made
from benchmarks.harness import (
    circumstances,
    marked,
    positive,
    ratio,
    repeated,
    results_folder,
    spread,
    take_turns,
    write_json,
)
from benchmarks.index.play import CLOCKS
from benchmarks.workload import Trained, Workload
from index import BaseMemory, make_index, recall_at_k
from index.bench.word_sources import QUERY_NOISE, copies
from sam.optim import RowwiseAdagrad, RowwiseAdam

SIZES, INDEXES = (10**5, 10**6, 10**7), ("ivf", "product", "faiss")
BATCH, QUERIES, K, WRITES = 8, 4, 4, 5
LSTM_UNITS, TOUCHED, MOST_ROWS = 100, 4096, 10**7
FILE = "base_memory.json"
_STEPS = 20  # of a turn
_SEQUENCE = 50  # steps of SAM


def layered(base: BaseMemory) -> tuple[Any, dict[str, float]]:
    """An index over a base with some words of its own, and how long it took to make."""
    sizes: Any = {"batch_size": BATCH, "capacity": 2 * len(base), "word_size": WORD_SIZE}
    make_index("exact", base=base, **sizes)
    started = time.perf_counter()
    index = make_index("exact", base=base, **sizes)
    return index, {"create_ms": 1e3 * (time.perf_counter() - started)}


def steps_of(index: Any, base: BaseMemory) -> Any:
    """One exchange: words are written, half of them over the base, and the nearest are looked for.

    What is written and asked for changes from step to step, and returns after 64 of them.
    """
    generator = torch.Generator().manual_seed(1)
    high, rounds = len(base), 64
    asked = torch.randint(high, (rounds, BATCH, QUERIES), generator=generator)
    queries = copies(base.words_at(asked), QUERY_NOISE, generator=generator)
    slots = torch.randint(2 * high, (rounds, BATCH, WRITES), generator=generator)
    words = torch.randn(rounds, BATCH, WRITES, WORD_SIZE, generator=generator)
    index.reserve(2 * high)
    at = 0

    def step() -> None:
        nonlocal at
        now = at % rounds
        index.exchange(slots[now], words[now], queries[now], K)
        at += 1

    return step, queries


def sam_over(base: BaseMemory, workload: Workload) -> Trained:
    """A SAM that begins each sequence with a state over a base, and room for as many words more."""
    model, inputs = workload.model(2 * len(base)), workload.inputs()

    def run() -> Tensor:
        return model(inputs, model.initial_state(workload.batch_size, base=base))[0]

    return Trained(model, run)


def recall_of(base: BaseMemory, queries: Tensor) -> float:
    """recall@4 of a base for queries [..., W]."""
    asked = queries.flatten(0, -2)[:128]
    true = base.search(asked, K, exact=True)
    return recall_at_k(base.search(asked, K), true).mean().item()


def lstm_step() -> Any:
    """A step of an LSTM cell, with the gradient left out as in the searches."""
    cell = nn.LSTMCell(WORD_SIZE, LSTM_UNITS)
    inputs, state = torch.randn(BATCH, WORD_SIZE), None

    def step() -> None:
        nonlocal state
        with torch.no_grad():
            state = cell(inputs, state)

    return step


def measure(options: argparse.Namespace, sizes: Sequence[int], rounds: int) -> list[Any]:
    """A record for each base."""
    dtype = options.dtype
    workload = Workload(batch_size=BATCH, steps=_SEQUENCE, word_size=WORD_SIZE)
    records, things = [], {"lstm": repeated(lstm_step(), _STEPS)}
    things["loop"] = workload.lstm_cell_loop().timed
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        for index in options.index:
            for count in sizes:
                base, record = made(options.folder or Path(folder), index, count, dtype)
                over, created = layered(base)
                step, queries = steps_of(over, base)
                for _ in range(64):
                    step()
                record |= created | {"recall": recall_of(base, queries), "clock": options.clock}
                records.append((base, over, record))
                things[f"{index} {count}"] = repeated(step, _STEPS)
                things[f"sam {index} {count}"] = sam_over(base, workload).timed
        times = take_turns(things, rounds=rounds, clock=CLOCKS[options.clock])
        cell, loop = times["lstm"]["search"], times["loop"]["total"]
        for base, over, record in records:
            name = f"{record['index']} {record['words']}"
            taken, sam = times[name]["search"], times[f"sam {name}"]["total"]
            record["sam_ms"] = spread([1e3 * t / _SEQUENCE for t in sam])
            record["sam_to_loop"] = ratio(sam, loop)
            record["step_ms"] = spread([1e3 * t / _STEPS for t in taken])
            record["times_lstm_cell"] = ratio(taken, cell)
            record["resident"], record["overlay_bytes"] = base.resident, over.nbytes
        return [record for _, _, record in records]


def optimizers(rows: int, rounds: int) -> dict[str, Any]:
    """A step of each optimizer on a table, 4,096 rows touched, some of them repeatedly."""
    kinds: dict[str, Any] = {
        "sparse_adam": torch.optim.SparseAdam,
        "rowwise_adam": RowwiseAdam,
        "rowwise_adagrad": RowwiseAdagrad,
    }
    things = {}
    for name, kind in kinds.items():
        table = nn.Parameter(torch.zeros(rows, WORD_SIZE))
        things[name] = repeated(_update(table, kind([table])), 1)
    times = take_turns(things, rounds=rounds)
    sparse = times["sparse_adam"]["search"]
    return {"rows": rows, "touched": TOUCHED} | {
        name: {
            "ms": spread([1e3 * t for t in taken["search"]]),
            "times_sparse_adam": ratio(taken["search"], sparse),
        }
        for name, taken in times.items()
    }


def _update(table: Tensor, optimizer: Any) -> Any:
    generator = torch.Generator().manual_seed(2)
    rows = torch.randint(len(table), (1, TOUCHED), generator=generator)
    values = torch.randn(TOUCHED, WORD_SIZE, generator=generator)

    def update() -> None:
        table.grad = torch.sparse_coo_tensor(rows, values, table.shape, check_invariants=True)
        optimizer.step()

    return update


def summary(bases: list[Any]) -> str:
    """A line for each base."""
    form = "{:8} {:>9} {:>8} {:>8} {:>8} {:>9} {:>8} {:>7} {:>7} {:>7}"
    heads = "index words build_s open_ms cold_ms resident step_ms x_lstm recall x_loop"
    lines = [form.format(*heads.split())]
    for one in bases:
        cells = [one["index"], one["words"], f"{one['build_seconds']:.1f}"]
        cells += [f"{one[name]:.2f}" for name in ("open_ms", "cold_open_ms")]
        cells += [f"{one['resident'] / 2**20:.0f} MiB", f"{one['step_ms'].median:.3f}"]
        cells += [f"{one['times_lstm_cell'].median:.1f}", f"{one['recall']:.3f}"]
        cells += [f"{one['sam_to_loop'].median:.1f}"]
        lines += [form.format(*cells)]
    return "\n".join(lines)


def summary_of(table: dict[str, Any]) -> str:
    """A line for each optimizer."""
    lines = []
    for name in ("sparse_adam", "rowwise_adam", "rowwise_adagrad"):
        one = table[name]
        share = f"{one['times_sparse_adam'].median:.3f} of sparse_adam"
        lines.append(f"{name}, {table['rows']} rows: {one['ms'].median:.2f} ms, {share}")
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> None:
    """Measures, writes, prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.base_memory", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a look: small bases, 3 rounds")
    parser.add_argument("--words", type=positive, nargs="+", help="default 10^5, 10^6, 10^7")
    parser.add_argument("--index", nargs="+", default=INDEXES, help="kinds of index")
    parser.add_argument("--dtype", default="float32", help="how words are kept")
    parser.add_argument("--rounds", type=positive, help="turns of each, default 15")
    parser.add_argument("--threads", type=positive, default=1, help="threads torch may use")
    parser.add_argument("--clock", choices=[*CLOCKS], default="wall", help="cpu on a busy machine")
    parser.add_argument("--folder", type=Path, help="where bases are left, and found again")
    parser.add_argument(
        "--make-only", action="store_true", help="leave bases in --folder, and stop"
    )
    parser.add_argument("--add", action="store_true", help="to the bases in the file of results")
    parser.add_argument("--out", type=Path, help="folder to write to")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    sizes = options.words or ((10**4, 10**5) if options.quick else SIZES)
    rounds = options.rounds or (3 if options.quick else 15)
    file = results_folder(options.out, quick=options.quick) / FILE
    if options.add and not file.is_file():
        parser.error(f"--add: expected results to add to, got no file {file}")
    if options.make_only:
        if options.folder is None:
            parser.error("--make-only: expected a --folder to leave bases in, got none")
        for index in options.index:
            for count in sizes:
                print(made(options.folder, index, count, options.dtype)[1], flush=True)
        return
    results = circumstances("benchmarks.base_memory", arguments)
    results["step"] = {"batch": BATCH, "queries": QUERIES, "k": K, "writes": WRITES}
    bases = marked(measure(options, sizes, rounds), results)
    print(summary(bases))
    if options.add:
        before = json.loads(file.read_text())
        results["bases"] = together(marked(before["bases"], before), bases)
        results["optimizers"] = before["optimizers"]
    else:
        results["bases"] = bases
        results["optimizers"] = optimizers(min(MOST_ROWS, max(sizes)), rounds)
        print(summary_of(results["optimizers"]))
    write_json(file, results)
    print(file)


def together(before: list[Any], bases: list[Any]) -> list[Any]:
    """Records of bases, by index, dtype and size; later ones take the place of earlier ones."""
    kept = {(one["index"], one["dtype"], one["words"]): one for one in (*before, *bases)}
    order = [*dict.fromkeys(index for index, _, _ in kept)]
    return [kept[key] for key in sorted(kept, key=lambda key: (order.index(key[0]), *key[1:]))]


if __name__ == "__main__":
    main(sys.argv[1:])
