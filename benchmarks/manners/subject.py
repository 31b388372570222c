"""What a habit is tried on: nn.LSTM and the models, made and called alike."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sam.models import make_model

IN, T, B = 5, 4, 2
_SIZES = {"hidden_size": 8, "memory_size": 16, "word_size": 4}
MODELS: dict[str, dict[str, Any]] = {
    "sam": {**_SIZES, "num_heads": 2, "top_k": 2},
    "sdnc": {**_SIZES, "num_reads": 2, "top_k": 2},
    "dam": {**_SIZES, "num_heads": 2},
    "ntm": {**_SIZES, "num_heads": 2},
    "dnc": {**_SIZES, "num_reads": 2},
    "lstm": {"hidden_size": 8},
}
TORCH = "nn.LSTM"
SUBJECTS = (TORCH, *MODELS)


class Subject(NamedTuple):
    """One of them by its name."""

    name: str

    def make(self, **settings: Any) -> Any:
        """A new one, from the same seed each time."""
        torch.manual_seed(3)
        if self.name == TORCH:
            return nn.LSTM(IN, 8, **settings)
        return make_model(self.name, IN, 8, **MODELS[self.name], **settings)


def inputs(*shape: int) -> Tensor:
    """Numbers [T, B, I], or of another shape; the same each time."""
    return torch.randn(*(shape or (T, B, IN)), generator=torch.Generator().manual_seed(1))


def same(found: Any, expected: Any) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


class Habit(NamedTuple):
    """Something that people do."""

    what: str
    do: Callable[[Subject], None]  # raises where it does not work
    note: str = ""  # what differs, and why
