"""How a word scores for a query, and the norm that makes a cosine of an inner product."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor

Metric = Literal["cosine", "dot", "l2"]
# Added to both squared norms: a zero word or query scores 0 and nothing is divided by 0.
NORM_EPS = 1e-6


def unit(vectors: Tensor, root_eps: Tensor) -> Tensor:
    """v / n(v) with n(v) = sqrt(v.v + eps), of vectors [..., W]; `root_eps` is sqrt(eps)."""
    lengths = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return vectors / torch.hypot(lengths, root_eps)


def full_width(device: torch.device) -> AbstractContextManager[Any]:
    """Keeps autocast from computing in half precision inside the block."""
    if torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()
