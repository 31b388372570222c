"""Whether a module is called as it stands, so that a faster form may take the place of its call."""

from torch import nn

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def is_changed(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether a module is of another class, has another `forward`, or someone listens to it."""
    return (
        type(module) is not kind
        or "forward" in vars(module)
        or any(getattr(module, hooks) for hooks in _HOOKS)
    )
