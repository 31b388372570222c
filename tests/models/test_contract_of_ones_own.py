"""The contracts run on memories and controllers from outside, and each of their tests can fail."""

import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from sam import Field, GRUController, SDNCMemory
from sam import state as states
from sam.ops import content_weights, read_words
from sam.testing import ControllerContract, MemoryContract

N, W = 5, 4


class RingState(NamedTuple):
    words: Tensor  # [B, N, W], the latest one last
    read_weights: Tensor  # [B, 1, N]


class RingMemory(nn.Module):
    """Keeps the last N words. The first ones are learned. It offers no trace and no growth."""

    num_reads, word_size = 1, W
    fields = (Field("key", (1, W)), Field("strength", (1,), "oneplus"), Field("word", (W,)))

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.ones(N, W))

    def initial_state(self, batch_size: int, **kind: Any) -> RingState:
        weights = torch.zeros(batch_size, 1, N, **kind)
        return RingState(self.first.expand(batch_size, -1, -1), weights)

    def step(self, controls: Any, state: RingState) -> tuple[Tensor, RingState]:
        words = torch.cat([state.words[:, 1:], controls.word[:, None]], 1)
        weights = content_weights(controls.key, controls.strength, words)
        return read_words(words, weights), RingState(words, weights)


class TestRing(MemoryContract):
    def make_memory(self) -> Any:
        return RingMemory()


class TestSDNC(MemoryContract):
    def make_memory(self) -> Any:
        return SDNCMemory(memory_size=16, word_size=W, num_reads=2, top_k=2)


class TestGRU(ControllerContract):
    def make_controller(self, input_size: int) -> Any:
        return GRUController(input_size, 7)


class FaultyState(NamedTuple):
    words: Tensor
    read_weights: Tensor

    def reset(self, mask: Tensor) -> "FaultyState":
        """Zeros, where the ring begins with ones."""
        return FaultyState(*states.reset(tuple(self), mask))


class Faulty(RingMemory):
    """A ring with one fault, named."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault, self.calls = fault, 0

    def initial_state(self, batch_size: int, **kind: Any) -> Any:
        state = super().initial_state(batch_size, **kind)
        return FaultyState(*state) if self.fault == "resets to zeros" else state

    def step(self, controls: Any, state: Any) -> tuple[Tensor, Any]:
        if self.fault == "counts its calls":
            self.calls += 1
            controls.word = controls.word * self.calls
        if self.fault == "mixes batch rows":
            controls.word = controls.word.roll(1, 0)
        if self.fault == "divides by zero":
            controls.word = controls.word + 0 * (controls.word - controls.word).sqrt()
        reads, after = super().step(controls, state)
        if self.fault == "cuts the gradient":
            reads = reads.detach()
        if self.fault == "returns another shape":
            reads = torch.cat([reads, reads], 1)
        if self.fault == "changes its state in place":
            with torch.no_grad():
                state.words.set_(after.words.detach().clone())
        return reads, type(state)(*after)


@pytest.mark.parametrize(
    ("fault", "test", "text"),
    [
        ("counts its calls", "chunks_give_what_one_call_gives", "in chunks must give"),
        ("mixes batch rows", "batch_rows_are_independent", "permuted"),
        ("mixes batch rows", "starts_give_what_separate_episodes_give", "an episode inside a row"),
        ("resets to zeros", "starts_give_what_separate_episodes_give", "an episode inside a row"),
        ("resets to zeros", "a_reset_is_a_fresh_start", "back to the initial state"),
        ("cuts the gradient", "every_parameter_gets_a_finite_gradient", "must get a gradient"),
        ("divides by zero", "every_parameter_gets_a_finite_gradient", "must be finite"),
        ("returns another shape", "a_step_returns_words_and_a_state", "words read must be"),
        ("changes its state in place", "a_used_state_is_unchanged_or_refused", "StaleStateError"),
    ],
)
def test_a_fault_is_named(fault: str, test: str, text: str) -> None:
    found = type("Found", (MemoryContract,), {"make_memory": lambda self: Faulty(fault)})()
    (name,) = (name for name in dir(found) if name.startswith(f"test_{test}"))
    with pytest.raises(AssertionError, match=text):
        getattr(found, name)()


def test_what_a_subclass_must_give_is_named() -> None:
    with pytest.raises(NotImplementedError, match="MemoryContract: expected a method make_memory"):
        MemoryContract().model()


def test_sam_and_its_contracts_do_not_import_pytest() -> None:
    code = "import sam.testing, sys; print('pytest' in sys.modules)"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
