"""The least time that a step of SAM could take on a machine: its work against two rates.

A step needs some multiplications and has to move some numbers. Neither takes less time than at the
rate of a product of large matrices, or of a copy of a large array.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

import torch

from benchmarks.workload import Workload

_NUMBER, _INTEGER = 4, 8  # bytes


class Rates(NamedTuple):
    """What a machine does in a second, on the threads that torch has."""

    flops: float  # in a product of large matrices, float32
    bytes: float  # read and written by a copy of a large array


def measure_rates(*, size: int = 768, megabytes: int = 64, rounds: int = 7) -> Rates:
    """The best of some rounds.

    Args:
        size: of the square matrices.
        megabytes: of the array.
        rounds: of each.
    """
    left, right = torch.randn(2, size, size)
    source = torch.zeros(megabytes * 2**20 // _NUMBER)
    target = torch.zeros_like(source)
    product = min(_taken(lambda: torch.mm(left, right)) for _ in range(rounds))
    copy = min(_taken(lambda: target.copy_(source)) for _ in range(rounds))
    return Rates(2 * size**3 / product, 2 * _NUMBER * len(source) / copy)


class Work(NamedTuple):
    """Of one step of one batch row, forward and backward."""

    flops: float  # a multiplication and an addition are two
    bytes: float  # moved at least once between memory and processor

    def least_seconds(self, rates: Rates) -> float:
        """The roofline: whichever of the two takes longer."""
        return max(self.flops / rates.flops, self.bytes / rates.bytes)


def work_of(load: Workload, model: str = "sam") -> Work:
    """The work of a model, "sam" or "sdnc", on sequences with fresh memories.

    The products with the weights of controller, interface and output layer, thrice: forward, for
    the gradient of what goes in, and for that of the weights; the search of all words written so
    far; the words written and read. Bytes are those kept for the backward pass, written and read
    again, the words searched, and the weights once a step in each direction, shared by the batch.
    A SAM has as many write as read heads; an SDNC has one, and keeps the words it compared as well.
    What its links cost is not counted: they are looked up and sorted, not multiplied.
    """
    units, reads = load.hidden_size, load.read_size
    heads, size, top_k = load.num_heads, load.word_size, load.top_k
    is_linked = model == "sdnc"
    writes, kept_words = (1, 2) if is_linked else (heads, 1)
    controls = reads + writes * (size + 2) + (4 if is_linked else 1) * heads
    recurrent, interface = 4 * units * (reads + units), units * controls
    layers = recurrent + interface + 4 * units * load.input_size
    layers += (units + reads) * load.output_size
    words = writes * (load.steps + 1) / 2  # in use, on average
    touched = heads * top_k + writes + heads * top_k
    # A word written: added, measured, scaled, and its gradient taken twice; as many for one read.
    flops = 6 * layers + 2 * words * heads * size + 10 * touched * size
    kept = _NUMBER * (6 * units + controls + reads + kept_words * heads * top_k * (2 + size))
    kept += _INTEGER * (kept_words * heads * top_k + writes)
    weights = _NUMBER * 2 * (recurrent + interface) / load.batch_size
    return Work(flops, 2 * kept + _NUMBER * words * size + weights)


def _taken(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
