"""Trains a memory of one's own: the last N words, read by content.

    python examples/own_memory.py

`sam.testing.MemoryContract` tests such a memory; see CONTRIBUTING.md.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from sam import Field, LSTMController, MemoryCell, MemoryNetwork
from sam.ops import content_weights, read_words
from sam.tasks import make_task


class LastWordsState(NamedTuple):
    words: Tensor  # M, [B, N, W], the latest one last
    read_weights: Tensor  # [B, H, N]


class LastWords:
    """M_t = M_{t-1} without its first word, and with a_t behind the last; r_t reads by content."""

    memory_size, word_size, num_reads = 16, 8, 2  # N, W, H
    fields = Field("add", (8,)), Field("keys", (2, 8)), Field("strengths", (2,), "oneplus")

    def initial_state(self, batch_size: int, **kind: Any) -> LastWordsState:
        words = torch.zeros(batch_size, self.memory_size, 8, **kind)
        return LastWordsState(words, torch.zeros(batch_size, 2, self.memory_size, **kind))

    def step(self, controls: Any, state: LastWordsState) -> tuple[Tensor, LastWordsState]:
        words = torch.cat([state.words[:, 1:], controls.add[:, None]], 1)
        weights = content_weights(controls.keys, controls.strengths, words)
        return read_words(words, weights), LastWordsState(words, weights)


def main(updates: int = 500) -> list[float]:
    torch.manual_seed(0)
    task, generator = make_task("copy", max_length=2, bits=4), torch.Generator().manual_seed(0)
    cell = MemoryCell(LSTMController(task.input_size + 2 * 8, 64), LastWords())
    model = MemoryNetwork(cell, task.output_size)
    optimizer, losses = torch.optim.Adam(model.parameters(), lr=3e-3), []
    while len(losses) < updates:
        batch = task.sample(16, generator=generator)
        loss = cross_entropy(model(batch.inputs)[0][batch.mask], batch.targets[batch.mask])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


if __name__ == "__main__":
    torch.set_num_threads(1)  # the steps are small
    found = main()
    print(f"loss: at first {found[0]:.3f}, at last {sum(found[-20:]) / 20:.3f}")
