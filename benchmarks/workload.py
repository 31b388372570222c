"""What is timed: a SAM on random inputs, and a loop of nn.LSTMCell as wide as its controller."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal
from unittest.mock import patch

import torch
from torch import Tensor, nn

from benchmarks.harness import Lap
from index import IndexConfig
from index.compiled import use_compiled
from sam import SAM, make_model
from sam.fast import dispatch

# Ways that a sparse model runs over a sequence, the fastest first: as the library chooses, which is
# all steps in one operation where there is one; step by step; and step by step in plain torch.
PathName = Literal["sequence", "step", "plain"]
PATHS: tuple[PathName, ...] = ("sequence", "step", "plain")


def paths_with(index: str) -> tuple[PathName, ...]:
    """Those of `PATHS` that a SAM with this index can take, the fastest first."""
    return PATHS


def on_path(model: nn.Module, path: PathName) -> Callable[..., Any]:
    """The call of a model on one of `PATHS`.

    Args:
        model: any of the library; a dense one runs in the same way on all paths.
        path: which.

    Raises:
        ValueError: there is no such way.
    """
    if path not in PATHS:
        raise ValueError(f"path: expected one of {', '.join(PATHS)}, got {path!r}")
    if path == "sequence":
        return model
    compiled = None if path == "step" else False

    def by_steps(*given: Any, **named: Any) -> Any:
        never = dict.fromkeys(dispatch.LEAST_STEPS, math.inf)
        with patch.dict(dispatch.LEAST_STEPS, never), use_compiled(compiled):
            return model(*given, **named)

    return by_steps


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """Sizes of the measurement; those of the SAM paper's supplement E where it gives them.

    The paper does not state K, I, O and, for time, T. Its minibatch is 8 for time and 1 for bytes.
    """

    batch_size: int = 8
    steps: int = 100
    input_size: int = 8
    output_size: int = 8
    hidden_size: int = 100
    num_heads: int = 4
    top_k: int = 4
    word_size: int = 32
    index: str | IndexConfig = "exact"

    @property
    def read_size(self) -> int:
        """H W, the numbers read at a step."""
        return self.num_heads * self.word_size

    def inputs(self) -> Tensor:
        """Random inputs [T, B, I], the same on every call."""
        generator = torch.Generator().manual_seed(0)
        return torch.randn(self.steps, self.batch_size, self.input_size, generator=generator)

    def model(self, memory_size: int) -> SAM:
        """A SAM with N words; `on_path` says how it is run."""
        torch.manual_seed(0)
        return SAM(
            self.input_size,
            self.output_size,
            hidden_size=self.hidden_size,
            memory_size=memory_size,
            word_size=self.word_size,
            num_heads=self.num_heads,
            top_k=self.top_k,
            index=self.index,
        )

    def network(self, name: str, memory_size: int) -> nn.Module:
        """Any model of the library with N words, as many read heads as SAM, and this workload's
        other sizes."""
        torch.manual_seed(0)
        heads = {"num_reads" if name in ("dnc", "sdnc") else "num_heads": self.num_heads}
        sparse = {"top_k": self.top_k, "index": self.index} if name in ("sam", "sdnc") else {}
        return make_model(
            name,
            self.input_size,
            self.output_size,
            hidden_size=self.hidden_size,
            memory_size=memory_size,
            word_size=self.word_size,
            **heads,
            **sparse,
        )

    def trained(self, name: str, memory_size: int, path: PathName = PATHS[0]) -> "Trained":
        """That model with inputs, on a path; every sequence begins with a fresh memory."""
        return self._from_fresh(self.network(name, memory_size), path)

    def sam(self, memory_size: int, path: PathName = PATHS[0]) -> "Trained":
        """A SAM with inputs, on a path; every sequence begins with a fresh memory."""
        return self._from_fresh(self.model(memory_size), path)

    def _from_fresh(self, model: nn.Module, path: PathName) -> "Trained":
        call, inputs = on_path(model, path), self.inputs()
        return Trained(model, lambda: call(inputs)[0])

    def lstm_cell_loop(self) -> "Trained":
        """nn.LSTMCell stepped in Python on [x_t ; r_{t-1}], then the output layer, once.

        It is SAM's network without interface and memory, the words read being zeros: what SAM
        would cost if its memory were free.
        """
        torch.manual_seed(0)
        cell = nn.LSTMCell(self.input_size + self.read_size, self.hidden_size)
        output = nn.Linear(self.hidden_size + self.read_size, self.output_size)
        inputs = self.inputs()
        read = torch.zeros(self.batch_size, self.read_size)
        zeros = torch.zeros(self.batch_size, self.hidden_size)

        def run() -> Tensor:
            state, hidden = (zeros, zeros), []
            for given in inputs.unbind(0):
                state = cell(torch.cat([given, read], 1), state)
                hidden.append(state[0])
            reads = torch.stack([read] * self.steps)
            return output(torch.cat([torch.stack(hidden), reads], 2))

        return Trained(nn.ModuleList([cell, output]), run)

    def nn_lstm(self) -> "Trained":
        """nn.LSTM over the whole sequence: the loop's sums on the loop's inputs, in one call.

        Without a memory no step waits for words that the step before has read.
        """
        torch.manual_seed(0)
        layer = nn.LSTM(self.input_size + self.read_size, self.hidden_size)
        output = nn.Linear(self.hidden_size + self.read_size, self.output_size)
        inputs = self.inputs()

        def run() -> Tensor:
            reads = inputs.new_zeros(self.steps, self.batch_size, self.read_size)
            hidden, _ = layer(torch.cat([inputs, reads], 2))
            return output(torch.cat([hidden, reads], 2))

        return Trained(nn.ModuleList([layer, output]), run)


class Trained:
    """A model with inputs: one forward and one backward pass of the mean of squares.

    Args:
        model: whose parameters get gradients.
        run: its outputs.
    """

    def __init__(self, model: nn.Module, run: Callable[[], Tensor]) -> None:
        self.model, self.run = model, run

    def loss(self) -> Tensor:
        """The forward pass."""
        return self.run().square().mean()

    def train(self) -> None:
        """Both passes; the gradients stay with the parameters."""
        self.loss().backward()

    def timed(self, lap: Lap) -> None:
        """Both passes, in phases "forward" and "backward"."""
        loss = self.loss()
        lap("forward")
        loss.backward()
        lap("backward")
        self.model.zero_grad(set_to_none=True)  # after the last phase: in nobody's time
