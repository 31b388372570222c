"""Dynamic N-grams: bits whose distribution is drawn anew each time (NTM paper, sec. 4.4)."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sam.errors import ConfigError
from sam.tasks.counting import counts_before
from sam.tasks.levels import RangeTask, check_whole
from sam.tasks.task import Batch, Kind

_MOST_CONTEXT = 16  # bits; the optimal predictor counts each of the 2^16 contexts


@dataclass(frozen=True, kw_only=True, slots=True)
class NGrams(RangeTask):
    """Bits of a random N-gram model, each to be predicted from those before. The level is T.

    A sequence draws the probability of a 1 for every context, the last N bits, from Beta(1/2, 1/2).
    Its first N bits are fair coins, the others follow the probability of their context. At step t
    the bit of step t - 1 is shown, one-hot in two channels, nothing at step 0; the target is bit t,
    and every step is scored. The paper has N = 5 (6-grams) and 200 bits.

    An evaluation tells beside the model's bits those of the optimal predictor, which knows how
    sequences are made, but not the probabilities. With N1 ones and N0 zeros after a context so far

        P(1) = (N1 + 1/2) / (N1 + N0 + 1)                                       (NTM, eq. 10)

    and the first N bits cost 1 each: 133.3 of 200 bits on average.

    Args:
        min_length: shortest sequence drawn in training, bits.
        max_length: longest sequence drawn in training, bits.
        context: N, the bits that the next one depends on.

    Raises:
        ConfigError: a setting is out of its range, or the range of lengths is empty.
    """

    kind: ClassVar[Kind] = "bits"
    curriculum_start: ClassVar[int] = 25
    level_settings: ClassVar[tuple[str, str]] = "min_length", "max_length"
    slice_name: ClassVar[str] = "length"
    # Without a type these are no settings.
    input_size = 2
    output_size = 1

    min_length: int = 200
    max_length: int = 200
    context: int = 5

    def __post_init__(self) -> None:
        RangeTask.__post_init__(self)
        check_whole("context", self.context, 1)
        if self.context > _MOST_CONTEXT:
            raise ConfigError(f"context: expected at most {_MOST_CONTEXT}, got {self.context}")

    def _draw(self, batch_size: int, level: int, generator: torch.Generator) -> Batch:
        # Beta(1/2, 1/2) is the distribution of sin^2 of a uniform angle.
        angles = torch.rand(batch_size, 2**self.context, generator=generator, dtype=torch.float64)
        ones = (angles * math.pi / 2).sin().square()
        uniform = torch.rand(level, batch_size, generator=generator, dtype=torch.float64)
        bits = torch.from_numpy(_chain(ones.numpy(), uniform.numpy(), self.context)).long()
        inputs = torch.zeros(level, batch_size, 2, dtype=torch.float32)
        inputs[1:] = functional.one_hot(bits[:-1], 2)
        targets = bits.unsqueeze(2).float()
        mask = torch.ones(level, batch_size, dtype=torch.bool)
        return Batch(inputs, targets, mask, self._slices(batch_size, level))

    def measures(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """What the optimal predictor needs for each sequence, and how much more the model does."""
        model = functional.binary_cross_entropy_with_logits(
            outputs, batch.targets, reduction="none"
        ).sum(dim=(0, 2)) / math.log(2)
        optimal = optimal_bits(batch.targets.squeeze(2).long(), self.context)
        return {"optimal bits": optimal, "above optimal %": 100 * (model / optimal - 1)}


def _chain(ones: np.ndarray, uniform: np.ndarray, context: int) -> np.ndarray:
    """Bits [T, B] bool from the probabilities [B, 2^N] and uniform numbers [T, B].

    Cost: O(T B) time. Each bit needs the one before, so there is a loop over time; it is in NumPy,
    whose calls cost a third of torch's, and allocates nothing.
    """
    rows, low = len(ones), ones.shape[1] - 1
    bits = uniform < 0.5
    # A context is a place in the flat table of all sequences; after it and a 0 comes `after_zero`.
    table, place = ones.ravel(), np.arange(ones.size)
    after_zero = (place & ~low) | (place << 1 & low)
    current = np.arange(rows) * ones.shape[1]
    for bit in bits[:context]:
        current = after_zero[current] + bit
    chance, following = np.empty(rows), np.empty(rows, dtype=np.int64)
    for bit, number in zip(bits[context:], uniform[context:], strict=True):
        table.take(current, out=chance, mode="clip")
        np.less(number, chance, out=bit)
        after_zero.take(current, out=following, mode="clip")
        np.add(following, bit, out=current)
    return bits


def optimal_bits(bits: Tensor, context: int) -> Tensor:
    """The cross-entropy of the optimal predictor (NTM paper, eq. 10), bits of each sequence, [B].

    Args:
        bits: [T, B] int64.
        context: N, the bits that the next one depends on.

    Cost: O(T log(T) B) time.
    """
    steps, rows = bits.shape
    if steps <= context:
        return torch.full((rows,), float(steps), dtype=torch.float64, device=bits.device)
    # [T - N, B]: the last N bits before each of the others, as a number.
    weights = 2 ** torch.arange(context - 1, -1, -1, device=bits.device)
    contexts = (bits.unfold(0, context, 1)[:-1] * weights).sum(-1)
    seen, ones = counts_before(contexts, bits[context:])
    chance = (ones + 0.5) / (seen + 1)
    chance = torch.where(bits[context:] == 1, chance, 1 - chance)
    return context - chance.log2().sum(0)
