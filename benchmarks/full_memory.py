"""SAM with every slot of its memory written: ``python -m benchmarks.full_memory``, ten minutes.

    python -m benchmarks.full_memory --index ivf lsh --memory-size 65536 1048576

Milliseconds per step, forward and backward, at two memory sizes for each index, beside the
LSTMCell loop in the same rounds (`benchmarks.workload`). The memory is loaded with copies of the
model's own keys, or with words in clusters; then it goes on from chunk to chunk, written to at
every step. Writes full_memory.json.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.bytes.footprint import bytes_per_step, saved_bytes
from benchmarks.harness import (
    RESULTS,
    Lap,
    Measured,
    circumstances,
    positive,
    ratio,
    spread,
    take_turns,
    write_json,
)
from benchmarks.index.index_recall import Recalls, recall_of_copies
from benchmarks.key_words import spread_keys, words_near_keys
from benchmarks.workload import PATHS, PathName, Workload, on_path
from index import BackendMissingError, as_index_config
from index.bench.traffic import Setting, Traffic
from index.spelling import parse_index
from sam import SAM

INDEXES = ("exact", "ivf", "product", "lsh", "faiss")
SIZES = (2**16, 2**20)
LSTM = "LSTMCell loop"


def _near_keys(model: SAM, workload: Workload, count: int) -> Tensor:
    spread_keys(model, workload)
    return words_near_keys(model, workload, count)


def _clustered(model: SAM, workload: Workload, count: int) -> Tensor:
    setting = Setting(memory_size=count, word_size=workload.word_size, batch_size=1)
    return Traffic(setting).fill()[0]


# By name what a memory is loaded with: [N, W] for a model, which may be changed for it.
WORDS: dict[str, Callable[[SAM, Workload, int], Tensor]] = {
    "keys": _near_keys,
    "clustered": _clustered,
}


class FullMemory:
    """A SAM that goes on from chunk to chunk in a memory that was full from the start.

    Args:
        workload: sizes; `steps` is the length of a chunk.
        memory_size: N.
        index: as `index.spelling.parse_index` reads it.
        words: of `WORDS`.
    """

    def __init__(
        self, workload: Workload, memory_size: int, index: str, words: str = "keys"
    ) -> None:
        self.workload = workload
        self.model = replace(workload, index=parse_index(index)).model(memory_size)
        loaded = WORDS[words](self.model, workload, memory_size)
        self.inputs = workload.inputs()
        start = time.perf_counter()
        self.state: Any = self.model.initial_state(workload.batch_size, words=loaded)
        self.load_seconds = time.perf_counter() - start

    def timed(self, lap: Lap) -> None:
        """A chunk, in phases "forward" and "backward"."""
        self._chunk(PATHS[0], lap)

    def on(self, path: PathName) -> Measured:
        """The same on another of `PATHS`; all go on with the one memory in turns."""
        return partial(self._chunk, path)

    def _chunk(self, path: PathName, lap: Lap) -> None:
        outputs, self.state = on_path(self.model, path)(self.inputs, self.state.detach())
        loss = outputs.square().mean()
        lap("forward")
        loss.backward()
        lap("backward")
        self.model.zero_grad(set_to_none=True)

    def bytes_per_step(self, path: PathName, *, steps: tuple[int, int] = (5, 15)) -> float:
        """Bytes kept per step and batch row for the backward pass; see `saved_bytes`."""
        call = on_path(self.model, path)

        def forward(length: int) -> Any:
            given = self.inputs[:1].expand(length, -1, -1)
            outputs, self.state = call(given, self.state.detach())
            return outputs.square().mean()

        def saved(length: int) -> int:
            return saved_bytes(partial(forward, length), apart_from=self.model.parameters())

        return bytes_per_step(saved, batch_size=self.workload.batch_size, steps=steps)

    def recalls(self, *, steps: int = 5) -> dict[str, float | None]:
        """Recall at 1 and at K for copies of the words as they are now, and for the model's keys.

        The keys are those of a model that was never trained: near words if these are "keys".
        """
        memory = self.state.memory
        found = recall_of_copies(memory.index, memory.words.words, self.workload.top_k)
        with torch.no_grad(), Recalls() as keys:
            _, self.state = self.model(self.inputs[:steps], self.state.detach())
        return {**found, "recall_1_of_keys": keys.recall_1, "recall_k_of_keys": keys.recall}


def measure(
    workload: Workload, index: str, sizes: Sequence[int], *, rounds: int, words: str
) -> dict[str, Any]:
    """One index at every size, in turns with the LSTMCell loop.

    Returns:
        Per size milliseconds per step, the ratio to the loop, seconds of loading, recall and bytes;
        and the ratio of the largest size to the smallest.
    """
    models = {size: FullMemory(workload, size, index, words) for size in sizes}
    things = {LSTM: workload.lstm_cell_loop().timed}
    things |= {f"{size}": model.timed for size, model in models.items()}
    times = take_turns(things, rounds=rounds)
    entries = []
    for size, model in models.items():
        phases = times[f"{size}"]
        stats = model.state.memory.index.stats()
        entries.append(
            {
                "memory_size": size,
                "ms_per_step": {
                    phase: spread([1e3 * seconds / workload.steps for seconds in rounds_of])
                    for phase, rounds_of in phases.items()
                },
                "to_lstm": ratio(phases["total"], times[LSTM]["total"]),
                "load_seconds": model.load_seconds,
                **model.recalls(),
                "searching": stats.searching,
                "candidates": stats.candidates,
                "state_bytes": model.state.nbytes,
            }
        )
    largest, smallest = (times[f"{size}"]["total"] for size in (sizes[-1], sizes[0]))
    return {
        "index": index,
        "sizes": entries,
        "largest_to_smallest": ratio(largest, smallest),
        "lstm_cell_loop_ms": spread([1e3 * s / workload.steps for s in times[LSTM]["total"]]),
    }


def main(arguments: Sequence[str]) -> int:
    """Measures, writes after each index, prints; 1 after a mistake of the user's."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.full_memory",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--index", nargs="+", default=INDEXES, help="kinds, options in brackets")
    parser.add_argument("--memory-size", type=positive, nargs="+", default=SIZES, help="N")
    parser.add_argument("--words", choices=WORDS, default="keys", help="what it is loaded with")
    parser.add_argument("--steps", type=positive, default=20, help="T of a chunk")
    parser.add_argument("--rounds", type=positive, default=9)
    parser.add_argument("--threads", type=positive, default=1, help="threads torch may use")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder to write to")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    workload = Workload(steps=options.steps)
    results = circumstances("benchmarks.full_memory", arguments)
    results |= {"setting": asdict(workload), "rounds": options.rounds, "indexes": []}
    results["setting"] |= {"index": "see indexes", "words": options.words}
    path = options.out / "full_memory.json"
    try:
        for index in options.index:
            as_index_config(parse_index(index))
        for index in options.index:
            sizes = sorted(options.memory_size)
            found = measure(workload, index, sizes, rounds=options.rounds, words=options.words)
            results["indexes"].append(found)
            write_json(path, results)
            print(summary(found), flush=True)
    except (ValueError, BackendMissingError) as error:
        print(error, file=sys.stderr)
        return 1
    print(path)
    return 0


def summary(found: dict[str, Any]) -> str:
    """One index in a line."""
    sizes = ", ".join(
        f"N = 2^{entry['memory_size'].bit_length() - 1}: "
        f"{entry['ms_per_step']['total'].median:.2f} ms ({entry['to_lstm'].median:.1f} x LSTMCell)"
        for entry in found["sizes"]
    )
    return f"{found['index']}: {sizes}, ratio {found['largest_to_smallest'].median:.2f}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
