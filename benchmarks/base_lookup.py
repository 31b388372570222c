"""Train small, deploy large: ``python -m benchmarks.base_lookup``.

Trains the recipe `lookup`, in which each batch has 16 to 1,024 new words, and asks bases of words
that the network never saw: how many bits of the values it gives right, and in how many sequences
all of them. With `exact`, which compares every word, up to a million words. FAISS builds ten
million in half an hour, so it gets no more than a million unless ``--index faiss`` asks for it.

Ten million with `ivf` take some ten minutes: ``--index ivf --words 10000000 --run FOLDER --add``,
where the folder keeps the trained network, and the file what was found before. With ``--task
lookup_vectors`` words are real vectors, of which training sees other ones than the bases have, up
to 114,688. Writes base_lookup.json or base_lookup_vectors.json.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import torch

from benchmarks.harness import RESULTS, circumstances, marked, positive, write_json
from index import BaseMemory
from index.storage import StorageName
from sam.train import resolve, train_run
from sam.train.evaluate import evaluate
from sam.train.settings import read_recipe

SIZES = {"lookup": (10**4, 10**5, 10**6, 10**7), "lookup_vectors": (10**3, 10**4, 10**5)}
INDEXES = "exact", "ivf", "faiss"
_MOST_COMPARED = 10**6  # words that `exact` is measured with
_MOST_UNASKED = 10**6  # and `faiss`, unless it is asked for


def measure(
    task_name: str,
    sizes: Sequence[int],
    indexes: Sequence[str],
    dtype: StorageName,
    updates: int | None,
    count: int,
    run: Path | None = None,
    *,
    asked: bool = False,
) -> dict[str, Any]:
    """Trains, then evaluates over a base of each size and index.

    A run folder is kept, and a network that was trained there is not trained again.
    """
    config = resolve(*read_recipe(task_name))
    if updates is not None:
        config = replace(config, train=replace(config.train, max_updates=updates))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        outcome = train_run(config, run or folder / "run", resume=run is not None)
        model: Any = outcome.model
        results: dict[str, Any] = {"updates": outcome.progress.update, "seconds": outcome.seconds}
        trained = evaluate(model, config.task, levels=config.eval.levels, count=count)
        results["trained"] = [{"words": r.value, "bits_right": r.accuracy} for r in trained]
        results["bases"] = []
        for index in indexes:
            for size in sizes:
                if index == "exact" and size > _MOST_COMPARED:
                    continue
                if index == "faiss" and size > _MOST_UNASKED and not asked:
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


def _place(base: dict[str, Any]) -> tuple[int, str, int]:
    known = INDEXES.index(base["index"]) if base["index"] in INDEXES else len(INDEXES)
    return known, base["index"], base["words"]


def main(arguments: Sequence[str]) -> None:
    """Measures, writes, prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.base_lookup", description=__doc__)
    parser.add_argument("--task", default="lookup", choices=SIZES, help="the recipe")
    parser.add_argument("--words", type=positive, nargs="+", help="of the bases")
    parser.add_argument("--index", nargs="+", help="kinds of index, default all")
    parser.add_argument(
        "--dtype", default="float16", choices=get_args(StorageName), help="how words are kept"
    )
    parser.add_argument("--updates", type=positive, help="of the training, default the recipe's")
    parser.add_argument("--count", type=positive, default=100, help="sequences asked of each base")
    parser.add_argument("--threads", type=positive, default=1, help="threads torch may use")
    parser.add_argument("--run", type=Path, help="folder of the training, left and found again")
    parser.add_argument("--add", action="store_true", help="to the bases in the file of results")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder to write to")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    results = circumstances("benchmarks.base_lookup", arguments)
    sizes, file = options.words or SIZES[options.task], options.out / f"base_{options.task}.json"
    before = json.loads(file.read_text()) if options.add else {"bases": []}
    given: Any = options.index or INDEXES, options.dtype, options.updates, options.count
    results |= measure(
        options.task, sizes, *given, run=options.run, asked=options.index is not None
    )
    found = marked(results["bases"], results)
    new = {(base["index"], base["words"]) for base in found}
    kept = marked(before["bases"], before) if options.add else []
    kept = [base for base in kept if (base["index"], base["words"]) not in new] + found
    results["bases"] = sorted(kept, key=_place)
    write_json(file, results)
    print(file)


if __name__ == "__main__":
    main(sys.argv[1:])
