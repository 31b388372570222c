"""How a word scores for a query, and the norm that makes a cosine of an inner product."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor

Metric = Literal["cosine", "dot", "l2"]
# Norms whose squares are far from the ends of the range of float32.
_LOW, _HIGH = 1e-10, 1e15


def unit(vectors: Tensor, root_eps: Tensor) -> Tensor:
    """v / n(v) with n(v) = sqrt(v.v + eps), of vectors of any length; 0 where n(v) is 0.

    Args:
        vectors: finite, [..., W].
        root_eps: sqrt(eps), a scalar tensor.

    Cost: O(vectors) time. On the CPU it looks whether the formula can be used as it stands, which
    takes half the time; elsewhere nothing waits for the device.
    """
    norms = torch.hypot(torch.linalg.vector_norm(vectors, dim=-1, keepdim=True), root_eps)
    if vectors.device.type == "cpu" and norms.numel():
        least, most = torch.aminmax(norms)
        if least.item() > _LOW and most.item() < _HIGH:
            return vectors / norms
    return _unit_of_any_length(vectors, root_eps)


def _unit_of_any_length(vectors: Tensor, root_eps: Tensor) -> Tensor:
    """`unit`, after a division by a power of two that is close to the largest number.

    So no square overflows or vanishes. It is exact: where none would, the result is the same.
    """
    tiny = torch.finfo(vectors.dtype).tiny
    largest = vectors.abs().amax(-1, keepdim=True)
    largest = largest.maximum(root_eps).clamp_(min=2 * tiny)
    scale = 0.5 * largest / torch.frexp(largest).mantissa
    scaled = vectors / scale
    lengths = torch.linalg.vector_norm(scaled, dim=-1, keepdim=True)
    return scaled.div_(torch.hypot(lengths, root_eps / scale).clamp_(min=tiny))


def full_width(device: torch.device) -> AbstractContextManager[Any]:
    """Keeps autocast from computing in half precision inside the block."""
    if torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()
