"""The end of a run: evaluation, what a step costs, parameters, summary and figures."""

import dataclasses
from pathlib import Path

from torch import nn

from sam.available import failed_allocation
from sam.errors import ConfigError
from sam.train.curriculum import batch_size_at
from sam.train.evaluate import SliceResult, evaluate
from sam.train.figures import make_figures
from sam.train.loop import Progress, level_reached
from sam.train.run import Outcome
from sam.train.seeds import generator_for
from sam.train.step_cost import StepCost, measure_step
from sam.train.summary import write_results
from sam.train.train_config import RunConfig


def evaluated(config: RunConfig, model: nn.Module) -> list[SliceResult]:
    """Evaluates a model as the settings say."""
    settings = dataclasses.asdict(config.eval)
    return evaluate(model, config.task, seed=config.train.seed, **settings)


def finish_run(
    config: RunConfig,
    folder: Path,
    outcome: Outcome,
    results: list[SliceResult],
    *,
    command: str = "",
) -> list[Path]:
    """Writes the results of a run that has been trained to its end, and draws its figures.

    Args:
        config: the run's settings.
        folder: the run's folder, whose lock this process holds.
        outcome: how training ended.
        results: evaluation of the trained model.
        command: what was typed, for the summary.

    Returns:
        The figures.

    Raises:
        BackendMissingError: safetensors or matplotlib is not installed.
        OSError: something cannot be written.
    """
    cost = cost_of(config, outcome.model, outcome.progress)
    write_results(config, folder, outcome, results, command=command, cost=cost)
    return make_figures(config, folder, outcome.model, outcome.progress)


def cost_of(config: RunConfig, model: nn.Module, progress: Progress) -> StepCost | None:
    """Costs of a step at the highest level that was trained on, with the run's batches there.

    Returns:
        The costs; None if such a batch does not fit into memory, which must not end a run that has
        been trained.
    """
    generator = generator_for(config.train.seed, 0, "cost")
    level = level_reached(config, progress)
    size = batch_size_at(config.curriculum, config.train.batch_size, level)
    was_training = model.training
    model.train()
    try:
        batch = config.task.sample(size, generator=generator, level=level)
        like = next(model.parameters())
        return measure_step(model, batch.inputs.to(like.device))
    except (ConfigError, MemoryError, RuntimeError) as error:
        if failed_allocation(error) is None:
            raise
        return None
    finally:
        model.train(was_training)
