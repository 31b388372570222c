"""How a word scores for a query, and the norm that makes a cosine of an inner product."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor

Metric = Literal["cosine", "dot", "l2"]


def unit(vectors: Tensor, root_eps: Tensor) -> Tensor:
    """v / n(v) with n(v) = sqrt(v.v + eps), of vectors of any length; 0 where n(v) is 0.

    Vectors are first divided by a power of two close to their largest number, so that no square
    overflows or vanishes. That is exact: where none would, the result is that of the formula.

    Args:
        vectors: finite, [..., W].
        root_eps: sqrt(eps), a scalar tensor.

    Cost: O(vectors) time; one tensor of their size beside the result.
    """
    tiny = torch.finfo(vectors.dtype).tiny
    largest = torch.linalg.vector_norm(vectors, ord=torch.inf, dim=-1, keepdim=True)
    largest = largest.maximum(root_eps).clamp_(min=2 * tiny)
    scale = 0.5 * largest / torch.frexp(largest).mantissa
    scaled = vectors / scale
    lengths = torch.linalg.vector_norm(scaled, dim=-1, keepdim=True)
    lengths = torch.hypot(lengths, root_eps / scale).clamp_(min=tiny)
    return scaled.div_(lengths)


def full_width(device: torch.device) -> AbstractContextManager[Any]:
    """Keeps autocast from computing in half precision inside the block."""
    if torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()
