"""`initial_state(words=...)` of a whole model: episodes, chunks, conversion, wrong words."""

import pytest
import torch

from sam import ConfigError, NonFiniteError, ShapeError
from sam.cell import MemoryCell
from sam.controller import LSTMController
from sam.memory.sam import SAMMemory
from sam.models import SAM
from sam.network import MemoryNetwork

B, H, W = 3, 2, 5


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_a_row_that_starts_anew_is_empty():
    model = SAM(W, 2, hidden_size=6, memory_size=20, word_size=W, num_heads=H, top_k=2).double()
    inputs, words = normal(6, B, W), normal(20, W)
    starts = torch.zeros(6, B, dtype=torch.bool)
    starts[2, 0] = True
    loaded, _ = model(inputs, model.initial_state(B, words=words))
    found, state = model(inputs, model.initial_state(B, words=words), starts=starts)
    alone, _ = model(inputs[2:, :1])
    torch.testing.assert_close(found[2:, :1], alone, rtol=0, atol=1e-12)
    torch.testing.assert_close(found[:, 1:], loaded[:, 1:], rtol=0, atol=1e-12)
    assert state.memory.index.occupancy.tolist() == [8, 20, 20]


def test_chunks_equal_one_call_and_copies_are_independent():
    model = SAM(W, 2, hidden_size=6, memory_size=50, word_size=W, num_heads=H, top_k=2).double()
    inputs, words = normal(9, B, W), normal(B, 45, W)
    empty, _ = model(inputs)
    whole, _ = model(inputs, model.initial_state(B, words=words))
    assert not torch.allclose(whole[0], empty[0]), "loaded words must count from the first step"
    state, parts = model.initial_state(B, words=words), []
    kept = state.clone()
    for chunk in inputs.split([1, 5, 3]):
        outputs, state = model(chunk, state)
        parts.append(outputs)
    torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=1e-12)
    torch.testing.assert_close(model(inputs, kept)[0], whole, rtol=0, atol=1e-12)


def test_words_are_converted_shared_and_get_no_gradient():
    model = SAM(W, 2, hidden_size=6, memory_size=20, word_size=W, num_heads=H, top_k=2)
    words = normal(20, W).requires_grad_()
    outputs, state = model(normal(4, B, W).float(), model.initial_state(B, words=words))
    outputs.sum().backward()
    assert words.grad is None and state.memory.words.words.dtype == torch.float32
    same = model.initial_state(B, words=words.detach().float().expand(B, -1, -1))
    torch.testing.assert_close(model(normal(4, B, W).float(), same)[0], outputs)


class Bare(SAMMemory):
    """As a user may write it: without the keyword."""

    def initial_state(self, batch_size, *, device=None, dtype=torch.float32):
        return SAMMemory.initial_state(self, batch_size, device=device, dtype=dtype)


def test_a_memory_without_the_keyword_works_and_refuses_words():
    memory = Bare(memory_size=20, word_size=W, num_heads=H, top_k=2)
    model = MemoryNetwork(MemoryCell(LSTMController(W + H * W, 6), memory), 2)
    model(torch.zeros(2, B, W), model.initial_state(B))
    with pytest.raises(ConfigError, match=r"words: expected a memory whose .* got a Bare"):
        model.initial_state(B, words=torch.zeros(20, W))


@pytest.mark.parametrize(
    ("words", "error", "text"),
    [
        (torch.zeros(21, W), ShapeError, "at most memory_size=20 words, got 21"),
        (torch.zeros(4, 4), ShapeError, r"\[n, W=5\] or \[B=3, n, W=5\], got .* \[4, 4\]"),
        (torch.zeros(2, 4, W), ShapeError, r"\[2, 4, 5\]"),
        (torch.zeros(4, W).log(), NonFiniteError, "words: expected finite values"),
    ],
)
def test_wrong_words_are_refused(words, error, text):
    model = SAM(W, 2, hidden_size=6, memory_size=20, word_size=W, num_heads=H, top_k=2)
    with pytest.raises(error, match=text):
        model.initial_state(B, words=words)
