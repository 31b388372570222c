"""Multi-query associative recall: many pairs of tokens, then many queries, one step each."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from sam.errors import ConfigError
from sam.setting_checks import check_finite
from sam.tasks.drawing import permutations
from sam.tasks.levels import RangeTask, check_whole
from sam.tasks.task import Batch, Kind

NOISE_TOKENS = 16
_NEAREST = 16  # steps; accuracy is told for gaps below this, below 4 times as many, and so on


@dataclass(frozen=True, kw_only=True, slots=True)
class MQAR(RangeTask):
    """P (key, value) pairs, then queries, each answered by the value of the key. The level is P.

    From Arora et al., "Zoology: Measuring and improving recall in efficient language models", 2023.
    Inputs are one-hot tokens: `num_keys` keys, `num_values` values, and with `distractors` 16
    tokens of noise. The keys of a sequence differ; values are free. With Q queries and D
    distractors a query there are ``T = 2 P + Q (1 + D)`` steps::

        steps       token                           target             scored
        2 i         key i                           0                  no
        2 i + 1     value i                         0                  no
        queries     one of the keys                 its value's class  yes
        the rest    noise, Q D times                0                  no

    Every key is queried once, in random order, before one is queried again. The queries stand at
    random places among the noise, step s = 1, 2, ... after the pairs with a weight proportional to
    ``s^(gap_power - 1)``, without replacement: evenly with 1, the nearer the likelier below that.
    An evaluation tells the accuracy by gap too, the steps from a value to its query.

    Args:
        min_pairs: fewest pairs drawn in training.
        max_pairs: most pairs drawn in training.
        num_keys: different keys; levels end there.
        num_values: different values, the classes.
        queries: queries in a sequence; as many as pairs when None.
        distractors: steps of noise for each query.
        gap_power: how near the queries come, above 0.

    Raises:
        ConfigError: a setting is out of its range, or `max_pairs` is above `num_keys`.
    """

    kind: ClassVar[Kind] = "classes"
    curriculum_start: ClassVar[int] = 16
    level_settings: ClassVar[tuple[str, str]] = "min_pairs", "max_pairs"
    slice_name: ClassVar[str] = "pairs"

    min_pairs: int = 8
    max_pairs: int = 64
    num_keys: int = 64
    num_values: int = 64
    queries: int | None = None
    distractors: int = 0
    gap_power: float = 1.0

    def __post_init__(self) -> None:
        RangeTask.__post_init__(self)
        check_whole("num_keys", self.num_keys, 1)
        check_whole("num_values", self.num_values, 2)
        check_whole("distractors", self.distractors, 0)
        if self.queries is not None:
            check_whole("queries", self.queries, 1)
        check_finite("gap_power", self.gap_power)
        if not self.gap_power > 0:
            raise ConfigError(f"gap_power: expected above 0, got {self.gap_power}")
        if self.max_pairs > self.num_keys:
            raise ConfigError(
                f"max_pairs: expected at most num_keys={self.num_keys}, got {self.max_pairs}"
            )

    @property
    def input_size(self) -> int:
        """One channel a token."""
        return self.num_keys + self.num_values + (NOISE_TOKENS if self.distractors else 0)

    @property
    def output_size(self) -> int:
        """One logit per value."""
        return self.num_values

    def _check_level(self, level: int) -> None:
        RangeTask._check_level(self, level)
        if level > self.num_keys:
            raise ConfigError(f"level: expected at most num_keys={self.num_keys}, got {level}")

    def _draw(self, batch_size: int, level: int, generator: torch.Generator) -> Batch:
        keys = permutations(self.num_keys, batch_size, generator)[:level]
        values = torch.randint(self.num_values, (level, batch_size), generator=generator)
        count = self.queries or level
        rounds = range(-(-count // level))
        asked = torch.cat([permutations(level, batch_size, generator) for _ in rounds])[:count]
        places = 2 * level + self._places(count, batch_size, generator)

        steps = 2 * level + count * (1 + self.distractors)
        tokens = torch.empty(steps, batch_size, dtype=torch.int64)
        if self.distractors:
            noise = torch.randint(NOISE_TOKENS, (steps, batch_size), generator=generator)
            tokens.copy_(noise + self.num_keys + self.num_values)
        tokens[: 2 * level : 2] = keys
        tokens[1 : 2 * level : 2] = values + self.num_keys
        tokens.scatter_(0, places, keys.gather(0, asked))
        targets = torch.zeros_like(tokens).scatter_(0, places, values.gather(0, asked))
        mask = torch.zeros_like(tokens, dtype=torch.bool).scatter_(0, places, True)
        inputs = torch.zeros(steps, batch_size, self.input_size, dtype=torch.float32)
        inputs.scatter_(2, tokens.unsqueeze(2), 1.0)
        return Batch(inputs, targets, mask, self._slices(batch_size, level))

    def _places(self, count: int, batch_size: int, generator: torch.Generator) -> Tensor:
        """Steps of the queries, counted from the end of the pairs, [count, B] ascending."""
        steps = count * (1 + self.distractors)
        if steps == count:
            return torch.arange(count).unsqueeze(1).expand(count, batch_size)
        # The largest of log-weights plus Gumbel noise are a draw without replacement.
        uniform = torch.rand(steps, batch_size, generator=generator, dtype=torch.float64)
        weights = (self.gap_power - 1) * torch.arange(1, steps + 1, dtype=torch.float64).log()
        chosen = (weights.unsqueeze(1) - (-uniform.log()).log()).topk(count, dim=0).indices
        return chosen.sort(dim=0).values

    def measures(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Percent of the queries right, by the gap between a value and its query."""
        right = (outputs.argmax(dim=2) == batch.targets).double()
        gaps = _gaps(batch.inputs.argmax(dim=2), self.input_size)
        least, found = 0, {}
        while bool((among := batch.mask & (gaps >= least)).any()):
            most = max(_NEAREST, 4 * least)
            among &= gaps < most
            # Without a query of such a gap this is 0 / 0, NaN: it does not count.
            found[f"gap < {most} right %"] = 100 * (right * among).sum(0) / among.sum(0)
            least = most
        return found


def _gaps(tokens: Tensor, count: int) -> Tensor:
    """Steps from the value that follows the first occurrence of each step's token, [T, B]."""
    steps = torch.arange(len(tokens), device=tokens.device).unsqueeze(1).expand_as(tokens)
    first = tokens.new_full((count, tokens.shape[1]), len(tokens))
    first = first.scatter_reduce(0, tokens, steps, "amin")
    return steps - first.gather(0, tokens) - 1
