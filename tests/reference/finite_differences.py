"""Gradients against central differences, with one backward pass.

torch.autograd.gradcheck goes through a graph once for every output number; a memory written in
place allows one backward pass, so the outputs are projected on a random direction first.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def check_gradients(
    function: Callable[..., Tensor], inputs: Sequence[Tensor], *, step: float = 1e-6
) -> None:
    """Asserts that the gradient of every float64 input agrees with central differences to 1e-7."""
    leaves = [tensor.detach().clone().requires_grad_() for tensor in inputs]
    outputs = function(*leaves)
    direction = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(0)).double()
    (outputs * direction).sum().backward()
    for place, leaf in enumerate(leaves):
        assert leaf.grad is not None, f"input {place} got no gradient"
        numeric = torch.zeros_like(leaf)
        for entry in range(leaf.numel()):
            ends = []
            for sign in (1, -1):
                moved = [tensor.detach().clone() for tensor in inputs]
                moved[place].view(-1)[entry] += sign * step
                with torch.no_grad():
                    ends.append((function(*moved) * direction).sum())
            numeric.view(-1)[entry] = (ends[0] - ends[1]) / (2 * step)
        scale = max(1.0, float(numeric.abs().max()))
        error = float((leaf.grad - numeric).abs().max()) / scale
        assert error < 1e-7, f"input {place}: error {error} of the gradient"
