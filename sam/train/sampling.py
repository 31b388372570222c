"""Text from a trained model, character by character; the command ``sample``."""

import argparse
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from sam.errors import ConfigError
from sam.setting_checks import check_between
from sam.train.folder import load_run

_MOST = 10_000_000


@runtime_checkable
class Writes(Protocol):
    """A task of tokens that knows what text they stand for, as `sam.tasks.Text` does."""

    def encode(self, text: str) -> Tensor:
        """Text as tokens, [T] int64; ValueError if a part of it is none."""
        ...

    def decode(self, ids: Tensor) -> str:
        """Tokens [T] as text."""
        ...

    def inputs(self, ids: Tensor) -> Tensor:
        """What a model is given for tokens, [T, B] to [T, B, I]."""
        ...


def sample_text(
    model: nn.Module,
    task: Writes,
    prompt: str,
    *,
    length: int = 200,
    temperature: float = 1.0,
    seed: int = 0,
) -> str:
    """Goes on with a text: reads the prompt, then draws each token from what the model expects.

    Args:
        model: trained on the task.
        task: what its tokens mean.
        prompt: at least one token.
        length: tokens to draw.
        temperature: the logits are divided by it; below 1 likely tokens become likelier, and 0
            always takes the likeliest.
        seed: of the draws.

    Returns:
        The text after the prompt.

    Raises:
        ConfigError: the prompt is empty, or a setting is out of its range.
        ValueError: something in the prompt is no token.

    Cost: a step of the model for each token.
    """
    check_between("length", length, 0, _MOST)
    check_between("temperature", temperature, 0)
    check_between("seed", seed, 0, 2**63 - 1)
    if not prompt:
        raise ConfigError("prompt: expected at least one character, got none")
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(seed)
    ids, state = task.encode(prompt), None
    written: list[Tensor] = []
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            for _ in range(length):
                outputs, state = model(task.inputs(ids[:, None]).to(device), state)
                ids = _drawn(outputs[-1, 0].float().cpu(), temperature, generator)
                written.append(ids)
    finally:
        model.train(was_training)
    return task.decode(torch.cat(written)) if written else ""


def _drawn(logits: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    """One token, [1]."""
    if temperature == 0:
        return logits.argmax()[None]
    # The largest is 0, so that no temperature, however low, makes two of them infinite.
    logits = logits.double()
    weights = ((logits - logits.max()) / temperature).softmax(-1)
    return torch.multinomial(weights, 1, generator=generator)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``sample``."""
    parser.add_argument("folder", metavar="RUN", type=Path, help="folder of a run on a text")
    parser.add_argument("--prompt", required=True, help="the text to go on with")
    parser.add_argument("--length", type=int, default=200, help="characters, default 200")
    parser.add_argument(
        "--temperature", type=float, default=1.0, help="default 1; 0: the likeliest"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the draws, default 0")


def sample(options: argparse.Namespace) -> str:
    """What the command prints: prompt and continuation.

    Raises:
        ConfigError: the run's task writes no text.
    """
    config, model, _ = load_run(options.folder)
    if not isinstance(config.task, Writes):
        raise ConfigError(
            f"sample: expected a run on a task of text, such as 'text', got one on "
            f"{config.task_name!r}"
        )
    torch.set_num_threads(config.train.threads)
    settings = {name: getattr(options, name) for name in ("length", "temperature", "seed")}
    return options.prompt + sample_text(model, config.task, options.prompt, **settings)
