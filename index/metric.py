"""The norm that makes a cosine of an inner product."""

import torch
from torch import Tensor

# Inside both norms: a zero word or query scores 0 and never divides by 0.
COSINE_EPS = 1e-6


def unit(vectors: Tensor, root_eps: Tensor) -> Tensor:
    """v / n(v) with n(v) = sqrt(v.v + eps), of vectors [..., W]; `root_eps` is sqrt(eps)."""
    lengths = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return vectors / torch.hypot(lengths, root_eps)
