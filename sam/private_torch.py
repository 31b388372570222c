"""The private names of torch that this package uses, and what is done where one is missing.

`index.checks` has one of its own. A test looks that there are no others.
"""

from collections.abc import Callable
from types import CodeType
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

# The tables of hooks of a module. Without them nobody can tell whether someone listens, so that
# every module counts as changed and every step is plain.
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
# Those of its parts, which `sam.fast.standard_cell` reads at each step: by name it takes longer.
PARTS = ("_modules", "_parameters")
HAS_TABLES = {*HOOKS, *PARTS} <= vars(nn.Module()).keys()


def plain_softmax_backward(grad: Tensor, result: Tensor, dim: int, dtype: torch.dtype) -> Tensor:
    """The gradient of what `result` is the softmax of, along `dim`; it has the result's dtype."""
    return (grad - (grad * result).sum(dim, keepdim=True)) * result


# The same as one operator; a new tensor either way.
_packet = getattr(torch.ops.aten, "_softmax_backward_data", None)
softmax_backward = plain_softmax_backward if _packet is None else _packet.default

# Whether `torch.func` or forward mode is at work, for which torch has no public question. Without
# these names nothing is refused.
_C: Any = getattr(torch, "_C", None)
_functorch: Any = getattr(_C, "_functorch", None)
_peek = getattr(_functorch, "peek_interpreter_stack", None)
_is_batchedtensor = getattr(_functorch, "is_batchedtensor", None)
_is_wrapped = getattr(_functorch, "is_functorch_wrapped_tensor", lambda tensor: False)
_get_unwrapped = getattr(_functorch, "get_unwrapped", None)


def in_transform() -> bool:
    """Whether a transform of `torch.func` is at work."""
    return _peek is not None and _peek() is not None


def is_batched(tensor: Tensor) -> bool:
    """Whether `torch.func.vmap` is at work on this tensor, below other transforms or not."""
    if _is_batchedtensor is None:
        return False
    while not _is_batchedtensor(tensor):
        if _get_unwrapped is None or not _is_wrapped(tensor):
            return False
        tensor = _get_unwrapped(tensor)
    return True


def in_forward_mode() -> bool:
    """Whether forward-mode derivatives are asked for."""
    return getattr(forward_ad, "_current_level", -1) >= 0


# Public names, but not in every torch.
_QUESTIONS = getattr(torch.jit, "is_tracing", None), getattr(torch.compiler, "is_exporting", None)


def is_traced() -> bool:
    """Whether `torch.jit.trace` or `torch.export` runs this, as far as this torch tells."""
    return any(ask is not None and bool(ask()) for ask in _QUESTIONS)


# What an update of Adam comes to in the end. Without these names the optimizer of torch calls them.
fused_adam = getattr(torch, "_fused_adam_", None)
fused_adamw = getattr(torch, "_fused_adamw_", None)
foreach_add = getattr(torch, "_foreach_add_", None)
foreach_norm = getattr(torch, "_foreach_norm", None)
foreach_mul = getattr(torch, "_foreach_mul_", None)

# Which backward pass it is that runs, for which torch has no public question. Without the name what
# one leaves when it ends early is added to the next.
_graph_task: Any = getattr(_C, "_current_graph_task_id", lambda: -1)


def backward_pass() -> int:
    """The number of the backward pass that runs; no two have the same.

    -1 outside of one, and always where this torch does not tell.
    """
    return _graph_task()


# What `torch.compile` looks at before it traces a function: whether to call it as it stands, and
# what to say where it may not. Without them it says something else.
DISABLED = ("_torchdynamo_disable", "_torchdynamo_disable_msg")

# What it does with a code object when that is called. Without these names a wrapper does it.
_frames: Any = getattr(getattr(_C, "_dynamo", None), "eval_frame", None)
_set_strategy = getattr(_frames, "set_code_exec_strategy", None)
_strategy = getattr(_frames, "_FrameExecStrategy", None)
_skip = getattr(getattr(_frames, "_FrameAction", None), "SKIP", None)


def skip_compiling(code: CodeType) -> bool:
    """Has `torch.compile` run a code object, and all that it calls, as it stands.

    Returns:
        Whether this torch can be told so.
    """
    if _set_strategy is None or _strategy is None or _skip is None:
        return False
    _set_strategy(code, _strategy(_skip, _skip))
    return True


# The old profiler counts what torch's CPU allocator hands out and takes back. The public one takes
# seconds to start, and writes lines of its own. Without these names nothing is counted.
_start = getattr(torch.autograd, "_enable_profiler_legacy", None)
_stop = getattr(torch.autograd, "_disable_profiler_legacy", None)
_options: Any = getattr(getattr(_C, "_profiler", None), "_ExperimentalConfig", None)
_autograd: Any = torch.autograd


def allocations(run: Callable[[], object]) -> list[int] | None:
    """Bytes of each block that torch's CPU allocator hands out during a call, in the order of time.

    Returns:
        Sizes; below 0 where a block is given back. None if this torch cannot tell.
    """
    if _start is None or _stop is None or _options is None:
        return None
    config = _autograd.ProfilerConfig(
        _autograd.ProfilerState.CPU, False, True, False, False, False, _options()
    )
    _start(config)
    try:
        run()
    finally:
        threads = _stop()
    # Those of each thread come in order; on the CPU all are made by the caller's.
    return [
        event.cpu_memory_usage()
        for events in threads
        for event in events
        if event.kind() == "memory_alloc"
    ]
