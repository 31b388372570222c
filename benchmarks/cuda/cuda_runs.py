"""What `benchmarks.cuda` times: sequences on a GPU, launched from Python and as CUDA graphs.

A graph holds both passes of a whole sequence: a copy of the memory as it was at the start, all
steps of the cell, the output layer, the loss, and the backward pass into the gradients. It is not
one step replayed, since the order of access counts on the host: such a graph would take the same
slots each time. Nor does it hold what looks at values: the check of the inputs, a memory that
grows, and one whose slots are all in use, where each step asks whether enough of them are left.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.workload import Workload
from sam.fast.dispatch import take_step

WARMUP = 3  # runs before a graph is captured
Run = Callable[[], Tensor]
"""Both passes of a sequence; returns the loss."""


def words_before(workload: Workload, memory_size: int, *, occupied: bool) -> Tensor:
    """What the memory holds at the start, [n, W]; the sequence takes H T further slots.

    Args:
        workload: sizes.
        memory_size: N.
        occupied: all slots but those, or as many as those.

    Raises:
        ValueError: the memory has fewer than 2 H T slots.
    """
    taken = workload.num_heads * workload.steps
    if memory_size < 2 * taken:
        raise ValueError(f"memory_size: expected at least 2 H T = {2 * taken}, got {memory_size}")
    generator = torch.Generator().manual_seed(1)
    count = memory_size - taken if occupied else taken
    return torch.randn(count, workload.word_size, generator=generator)


def sam_run(model: nn.Module, inputs: Tensor, words: Tensor) -> Run:
    """Steps a SAM, each time from a copy of one state; no value of the inputs is looked at.

    Args:
        model: on some device.
        inputs: [T, B, I], there.
        words: see `words_before`.
    """
    network: Any = model
    start = network.initial_state(inputs.shape[1], words=words)

    def run() -> Tensor:
        model.zero_grad(set_to_none=True)
        state, hidden, reads = start.clone(), [], []
        for features in inputs.unbind(0):
            output, state = take_step(network.cell, features, state)
            hidden.append(output)
            reads.append(state.reads)
        return _backward(network.output, hidden, reads)

    return run


def lstm_run(workload: Workload, inputs: Tensor) -> Run:
    """nn.LSTMCell on inputs as wide as those of SAM's controller, then the output layer, once."""
    torch.manual_seed(0)
    cell = nn.LSTMCell(workload.input_size + workload.read_size, workload.hidden_size)
    output = nn.Linear(workload.hidden_size + workload.read_size, workload.output_size)
    model = nn.ModuleList([cell, output]).to(inputs.device)
    read = inputs.new_zeros(workload.batch_size, workload.read_size)
    zeros = inputs.new_zeros(workload.batch_size, workload.hidden_size)

    def run() -> Tensor:
        model.zero_grad(set_to_none=True)
        state, hidden = (zeros, zeros), []
        for features in inputs.unbind(0):
            state = cell(torch.cat([features, read], 1), state)
            hidden.append(state[0])
        return _backward(output, hidden, [read] * len(hidden))

    return run


def _backward(output: nn.Module, hidden: list[Tensor], reads: list[Tensor]) -> Tensor:
    loss = output(torch.cat([torch.stack(hidden), torch.stack(reads)], 2)).square().mean()
    loss.backward()
    return loss.detach()


def captured(run: Run) -> Run:
    """A CUDA graph of a run: the same work on the same tensors, launched at once.

    Its gradients are where the capture put them, overwritten by each replay. What is called is to
    be kept as long as they are used.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARMUP):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = run()

    def replay() -> Tensor:
        graph.replay()
        return loss

    return replay


def ways(run: Run, device: torch.device) -> dict[str, Run]:
    """How a run is made: from Python and, on a GPU, as a graph."""
    return {"python": run, "graph": captured(run)} if device.type == "cuda" else {"python": run}
