"""A kept model after very many steps: ``python -m benchmarks.learning.many_steps CHECKPOINT``.

    python -m benchmarks.learning.many_steps benchmarks/checkpoints/length_needle_sam \\
        --levels 10000 100000 1000000

Of each level: what was wrong, also with the memory off, milliseconds of the processor a step of the
batch, and the bytes of the state. It writes ``steps_NAME.json``. A task whose evaluation comes in
parts, as that of `needle` does, is run part by part with the state carried on.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.harness import RESULTS, circumstances, positive, write_json
from sam.errors import ConfigError
from sam.train.carried import forward
from sam.train.folder import load_run
from sam.train.losses import score
from sam.train.memory_off import memory_off
from sam.train.seeds import generator_for
from sam.train.train_config import RunConfig


def after_many_steps(model: nn.Module, config: RunConfig, level: int, count: int) -> dict[str, Any]:
    """One batch of test sequences at a level: errors, time of the processor and bytes of the state.

    Args:
        model: in evaluation mode.
        config: of its run.
        level: of the task.
        count: sequences, all in one batch.
    """
    generator = generator_for(config.train.seed, 0, "evaluation")
    parts = config.task.evaluation(count, generator=generator, levels=(level,), count=count)
    state, steps, spent, sizes = None, 0, 0.0, []
    wrong = targets = torch.zeros(count, dtype=torch.float64)
    with torch.no_grad():
        for batch in parts:
            begin = time.process_time()
            outputs, state = forward(model, batch, state)
            spent += time.process_time() - begin
            steps += len(batch.inputs)
            sizes.append(state.nbytes)
            if bool(batch.mask.any()):
                scores = score(outputs, batch, config.task)
                wrong, targets = wrong + scores.wrong, targets + scores.targets
    return {
        "level": level,
        "sequences": count,
        "steps": steps,
        "wrong": float(wrong.mean()),
        "accuracy": 1 - float(wrong.sum() / targets.sum()),
        "solved": float((wrong == 0).double().mean()),
        "ms_a_step": 1000 * spent / steps,
        "state_bytes": sizes[-1],
        "state_bytes_after_first_part": sizes[0],
    }


def main(arguments: Sequence[str]) -> int:
    """Evaluates, writes the results, and returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.learning.many_steps", description=__doc__
    )
    parser.add_argument("run", metavar="CHECKPOINT", type=Path, help="folder of a run")
    parser.add_argument("--levels", type=positive, nargs="+", required=True)
    parser.add_argument("--count", type=positive, default=8, help="sequences at each level")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args(arguments)
    try:
        config, model, _ = load_run(options.run)
    except (ConfigError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    torch.set_num_threads(config.train.threads)
    lowest = max(config.task.easiest, config.task.levels[0])
    after_many_steps(model.eval(), config, lowest, options.count)  # compiles, and is not timed
    found = []
    for level in options.levels:
        record = after_many_steps(model.eval(), config, level, options.count)
        off = after_many_steps(memory_off(model).eval(), config, level, options.count)
        found.append(record | {"accuracy_memory_off": off["accuracy"]})
        print(found[-1])
    name = options.run.resolve().name
    levels, count = map(str, options.levels), str(options.count)
    command = [f"benchmarks/checkpoints/{name}", "--levels", *levels, "--count", count]
    content = circumstances("benchmarks.learning.many_steps", command)
    path = options.out / f"steps_{name}.json"
    write_json(path, content | {"task": config.task_name, "levels": found})
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
