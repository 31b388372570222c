"""What a training step of a model costs: time, bytes, and the recall of its index.

The SAM paper's figure 1, for one model and one size: forward and backward pass of a sequence, the
optimizer left out.
"""

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import accumulate
from statistics import median
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from index import Audit
from sam.private_torch import allocations

ROUNDS, BUDGET = 5, 10.0  # turns that count, and the seconds that they may take
AUDITED = 100  # steps whose searches are compared with exact ones, which takes each step by itself


class StepCost(NamedTuple):
    """Costs of a sequence of T steps and B rows. Numbers that could not be measured are None."""

    steps: int
    batch_size: int
    forward_ms: float  # per time step, median of the turns
    backward_ms: float
    ms: float  # both
    state_bytes: int | None  # of the whole batch, after the sequence
    peak_bytes: int | None  # the most that tensors made in both passes held at one time
    # Of the last steps, `AUDITED` at most: the share of the K best words found, and what answered
    # most of the searches, "exact", "ivf", ...; None for a model without index.
    index_recall: float | None
    searching: str | None


def measure_step(
    model: nn.Module,
    inputs: Tensor,
    *,
    words: Tensor | None = None,
    rounds: int = ROUNDS,
    budget: float = BUDGET,
) -> StepCost:
    """Measures a forward and a backward pass of the mean of squares of the outputs.

    Args:
        model: called with inputs [T, B, I]; gradients of its parameters are cleared.
        inputs: [T, B, I], on the model's device.
        words: what the memory holds from the start, as in `MemoryNetwork.initial_state`; the passes
            then go on with one state, so that they are loaded once. By default each sequence begins
            with a fresh memory, whose making counts.
        rounds: turns that count; one comes before, in which forms are compiled.
        budget: seconds; there are fewer rounds if they would take longer, but one at least.

    Returns:
        The costs. Bytes of the peak are those of torch's allocator: on the CPU they count tensors
        and scratch space, not what Python, NumPy or FAISS hold beside them. With `words` there is
        no peak: what gives way to what is not known of blocks that were there before.

    Raises:
        ValueError: the model refuses the inputs or the words.
    """
    run = _Passes(model, inputs, words)
    wait = _waiting(inputs.device)

    def turn() -> tuple[float, float]:
        start = time.perf_counter()
        loss = run.forward()
        wait()
        middle = time.perf_counter()
        loss.backward()
        wait()
        end = time.perf_counter()
        run.clear()
        return middle - start, end - middle

    with _without_collector():
        once = sum(turn())
        turns = [turn() for _ in range(max(1, min(rounds, int(budget / max(once, 1e-9)))))]
    before = run.state  # kept, so that what is given back during the passes was made in them
    peak = None if run.loaded else _peak(run.both, inputs.device)
    del before
    run.clear()
    recall, searching = run.audited()
    forward, backward, both = (
        1e3 * median(seconds) / len(inputs)
        for seconds in (*zip(*turns, strict=True), map(sum, turns))
    )
    return StepCost(
        steps=len(inputs),
        batch_size=inputs.shape[1],
        forward_ms=forward,
        backward_ms=backward,
        ms=both,
        state_bytes=getattr(run.state, "nbytes", None),
        peak_bytes=peak,
        index_recall=recall,
        searching=searching,
    )


class _Passes:
    """Both passes of a model, from a fresh memory or in one that was loaded once."""

    def __init__(self, model: Any, inputs: Tensor, words: Tensor | None) -> None:
        self.model, self.inputs = model, inputs
        self.loaded = words is not None
        self.state: Any = None
        if words is not None:
            self.state = model.initial_state(inputs.shape[1], words=words)

    def forward(self) -> Tensor:
        before = self.state.detach() if self.loaded else None
        outputs, self.state = self.model(self.inputs, before)
        return outputs.square().mean()

    def both(self) -> None:
        self.forward().backward()

    def clear(self) -> None:
        """After a turn, in nobody's time: the next one makes its gradients anew."""
        self.model.zero_grad(set_to_none=True)
        if hasattr(self.state, "detach"):
            self.state = self.state.detach()

    def audited(self) -> tuple[float | None, str | None]:
        """The recall of the last searches of a sequence, and what answered most of them."""
        memory = getattr(self.state, "memory", None)
        if not hasattr(getattr(memory, "index", None), "searching"):
            return None, None
        first = max(0, len(self.inputs) - AUDITED)
        state = self.state.detach() if self.loaded else None
        with torch.no_grad():
            if first:
                _, state = self.model(self.inputs[:first], state)
            with Audit() as audit:
                _, self.state = self.model(self.inputs[first:], state)
        if not audit.searches:
            return None, None
        return audit.recall, audit.searches.most_common(1)[0][0]


@contextmanager
def _without_collector() -> Iterator[None]:
    """Python's garbage is collected in no turn, if it is at all."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _peak(run: Callable[[], object], device: torch.device) -> int | None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    sizes = allocations(run)
    return None if sizes is None else max(accumulate(sizes, initial=0))


def _waiting(device: torch.device) -> Callable[[], object]:
    """Waits for all that a device has been asked to do."""
    if device.type == "cuda":
        return lambda: torch.cuda.synchronize(device)
    return lambda: None
