"""A full memory whose words are what a model asks for: noisy copies of its own keys.

The keys of a model that was never trained are nearly alike, and lie near no word of any collection.
A trained one has written what it asks for. So that this can be timed without training, the keys'
weights are made larger, by which the keys of different steps differ, and the memory is filled with
copies of the keys that the model has for random inputs.
"""

from dataclasses import replace

import torch
from torch import Tensor

from benchmarks.workload import Workload
from index.bench.word_sources import copies
from sam import SAM

SCALE, NOISE = 6.0, 0.5  # of the keys' weights; norm of the noise beside that of a key
_CHUNKS = 10  # sequences of which the keys are taken


def spread_keys(model: SAM, workload: Workload) -> None:
    """Makes the weights of a model's keys larger, in place."""
    with torch.no_grad():
        model.cell.interface.linear.weight[: workload.read_size] *= SCALE


def words_near_keys(model: SAM, workload: Workload, count: int) -> Tensor:
    """Noisy copies of the keys of a model with H heads, drawn at random, [count, W].

    The model runs on random inputs with an empty memory of its own, `_CHUNKS` sequences.
    """
    generator = torch.Generator().manual_seed(0)
    other = replace(workload, index="exact").model(workload.num_heads * 2**8)
    other.load_state_dict(model.state_dict())
    seen: list[Tensor] = []
    linear = other.cell.interface.linear
    handle = linear.register_forward_hook(lambda _module, _given, out: seen.append(out.detach()))
    state = other.initial_state(workload.batch_size)
    shape = workload.steps, workload.batch_size, workload.input_size
    with handle, torch.no_grad():
        for _ in range(_CHUNKS):
            _, state = other(torch.randn(shape, generator=generator), state)
    keys = torch.cat(seen)[:, : workload.read_size].reshape(-1, workload.word_size)
    chosen = keys[torch.randint(len(keys), (count,), generator=generator)]
    return copies(chosen, NOISE, generator=generator)
