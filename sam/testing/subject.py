"""What a contract is about: a model that is made anew for each test, and inputs for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence


class Subject:
    """A model under test. A subclass may change `input_size` and `output_size`."""

    input_size, output_size = 5, 3
    steps, batch_size = 9, 4
    tolerance = 1e-12

    def make_model(self) -> nn.Module:
        """A new model with `input_size` inputs and `output_size` outputs."""
        raise NotImplementedError(f"{type(self).__name__}: expected a method make_model")

    def model(self, dtype: torch.dtype = torch.float64) -> Any:
        """The model with the same parameters each time."""
        torch.manual_seed(3)
        return self.make_model().to(dtype)

    def inputs(self, steps: int | None = None) -> Tensor:
        """The first `steps` inputs, [T, B, I]; the same numbers each time."""
        generator = torch.Generator().manual_seed(1)
        shape = self.steps, self.batch_size, self.input_size
        return torch.randn(shape, dtype=torch.float64, generator=generator)[:steps]

    def starts(self, *places: tuple[int, int]) -> Tensor:
        """Starts, [T, B], true at the given steps and batch rows."""
        found = torch.zeros(self.steps, self.batch_size, dtype=torch.bool)
        for step, row in places:
            found[step, row] = True
        return found

    def close(self, found: Any, expected: Any, what: str) -> None:
        """Raises AssertionError, with `what` should be equal, unless it is."""
        torch.testing.assert_close(
            found, expected, rtol=0, atol=self.tolerance, msg=lambda text: f"{what}\n{text}"
        )


def require(condition: bool, text: str) -> None:
    if not condition:
        raise AssertionError(text)


@contextmanager
def raises(error: type[Exception], what: str) -> Iterator[None]:
    """Checks that the body raises an error of this class."""
    try:
        yield
    except error:
        return
    raise AssertionError(f"{what} must raise {error.__name__}")


def grad_of(tensor: Tensor) -> Tensor:
    if tensor.grad is None:
        raise AssertionError("the inputs must get a gradient")
    return tensor.grad.clone()


def packed(inputs: Tensor, lengths: list[int]) -> PackedSequence:
    return pack_padded_sequence(inputs, torch.tensor(lengths), enforce_sorted=False)
