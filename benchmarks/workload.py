"""What is timed: a SAM on random inputs, and a loop of nn.LSTMCell as wide as its controller."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks.harness import Lap
from index import IndexConfig
from sam import SAM, make_model


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
        """A SAM with N words."""
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

    def trained(self, name: str, memory_size: int) -> "Trained":
        """That model; it begins every sequence with a fresh memory."""
        model, inputs = self.network(name, memory_size), self.inputs()
        return Trained(model, lambda: model(inputs)[0])

    def sam(self, memory_size: int) -> "Trained":
        """That SAM; it begins every sequence with a fresh memory."""
        model, inputs = self.model(memory_size), self.inputs()
        return Trained(model, lambda: model(inputs)[0])

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
