"""Train small, deploy large: ``python -m benchmarks.base_lookup``.

Trains the recipe `lookup`, in which each batch has 16 to 1,024 new words, and asks bases of words
that the network never saw: how many bits of the values it gives right, and in how many sequences
all of them. With `exact`, which compares every word, up to a million words. With ``--task
lookup_vectors`` words are real vectors, of which training sees other ones than the bases have, up
to 114,688. Writes base_lookup.json or base_lookup_vectors.json.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import torch

from benchmarks.harness import RESULTS, circumstances, positive, write_json
from index import BaseMemory
from index.storage import StorageName
from sam.train import resolve, train_run
from sam.train.evaluate import evaluate
from sam.train.settings import read_recipe

SIZES = {"lookup": (10**4, 10**5, 10**6, 10**7), "lookup_vectors": (10**3, 10**4, 10**5)}
INDEXES = "exact", "ivf", "faiss"
_MOST_COMPARED = 10**6  # words that `exact` is measured with


def measure(
    task_name: str,
    sizes: Sequence[int],
    indexes: Sequence[str],
    dtype: StorageName,
    updates: int | None,
    count: int,
) -> dict[str, Any]:
    """Trains, then evaluates over a base of each size and index."""
    config = resolve(*read_recipe(task_name))
    if updates is not None:
        config = replace(config, train=replace(config.train, max_updates=updates))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        outcome = train_run(config, folder / "run")
        model: Any = outcome.model
        results: dict[str, Any] = {"updates": outcome.progress.update, "seconds": outcome.seconds}
        trained = evaluate(model, config.task, levels=config.eval.levels, count=count)
        results["trained"] = [{"words": r.value, "bits_right": r.accuracy} for r in trained]
        results["bases"] = []
        for index in indexes:
            for size in sizes:
                if index == "exact" and size > _MOST_COMPARED:
                    continue
                path = folder / "base"
                started = time.perf_counter()
                words = config.task.pieces(size, seed=1)
                model.base = BaseMemory.create(path, words, index=index, dtype=dtype)
                built = time.perf_counter() - started
                task = replace(config.task, base=str(path))
                (found,) = evaluate(model, task, count=count)
                results["bases"].append(
                    {
                        "index": index,
                        "words": size,
                        "dtype": dtype,
                        "build_seconds": built,
                        "nbytes": model.base.nbytes,
                        "bits_right": found.accuracy,
                        "sequences_right": found.solved,
                    }
                )
                print(line(results["bases"][-1]), flush=True)
    return results


def line(base: dict[str, Any]) -> str:
    """What was found over one base."""
    right = f"bits right {base['bits_right']:.4f}, sequences right {base['sequences_right']:.3f}"
    return f"{base['index']}, {base['words']:,} words: {right}"


def main(arguments: Sequence[str]) -> None:
    """Measures, writes, prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.base_lookup", description=__doc__)
    parser.add_argument("--task", default="lookup", choices=SIZES, help="the recipe")
    parser.add_argument("--words", type=positive, nargs="+", help="of the bases")
    parser.add_argument("--index", nargs="+", default=INDEXES, help="kinds of index")
    parser.add_argument(
        "--dtype", default="float16", choices=get_args(StorageName), help="how words are kept"
    )
    parser.add_argument("--updates", type=positive, help="of the training, default the recipe's")
    parser.add_argument("--count", type=positive, default=100, help="sequences asked of each base")
    parser.add_argument("--threads", type=positive, default=1, help="threads torch may use")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder to write to")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    results = circumstances("benchmarks.base_lookup", arguments)
    sizes = options.words or SIZES[options.task]
    given = options.index, options.dtype, options.updates, options.count
    results |= measure(options.task, sizes, *given)
    file = options.out / f"base_{options.task}.json"
    write_json(file, results)
    print(file)


if __name__ == "__main__":
    main(sys.argv[1:])
