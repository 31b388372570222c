"""The private names of torch that this package uses, and what is done where one is missing.

`index.checks` has one of its own. A test looks that there are no others.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

# The tables of hooks of a module. Without them nobody can tell whether someone listens, so that
# every module counts as changed and all takes the plain way.
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
# Those of its parts, which `sam.sequence` looks into at each step: by name it takes longer.
PARTS = ("_modules", "_parameters")
HAS_TABLES = {*HOOKS, *PARTS} <= vars(nn.Module()).keys()


def plain_softmax_backward(grad: Tensor, result: Tensor, dim: int, dtype: torch.dtype) -> Tensor:
    """The gradient of what `result` is the softmax of, along `dim`; it has the result's dtype."""
    return (grad - (grad * result).sum(dim, keepdim=True)) * result


# The same as one operator; a new tensor either way.
_packet = getattr(torch.ops.aten, "_softmax_backward_data", None)
softmax_backward = plain_softmax_backward if _packet is None else _packet.default


# Ways of calling that have no form here. Where torch has another name for one, it is not refused.
_functorch: Any = getattr(torch._C, "_functorch", None)
_transforms = getattr(_functorch, "peek_interpreter_stack", None)
_is_batched = getattr(_functorch, "is_batchedtensor", None)
_is_tracing = getattr(torch.jit, "is_tracing", None)


def is_transformed() -> bool:
    """Whether this runs inside a transform of `torch.func`."""
    return _transforms is not None and _transforms() is not None


def is_batched(tensor: Tensor) -> bool:
    """Whether a tensor stands for many, inside `torch.func.vmap`."""
    return _is_batched is not None and _is_batched(tensor)


def is_forward_mode() -> bool:
    """Whether derivatives are taken on the way forth."""
    return getattr(forward_ad, "_current_level", -1) >= 0


def is_traced() -> bool:
    """Whether `torch.jit.trace` runs this."""
    return _is_tracing is not None and bool(_is_tracing())
