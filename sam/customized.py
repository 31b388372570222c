"""Whether a module is called as it stands, so that a faster form may take the place of its call."""

from torch import nn

from sam.private_torch import HAS_TABLES


def is_customized(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether a module is of another class, has another `forward`, or someone listens to it."""
    if type(module) is not kind or not HAS_TABLES:
        return True
    own = module.__dict__  # looked up directly: this is asked at every step
    return bool(
        own["_forward_hooks"]
        or own["_forward_pre_hooks"]
        or own["_backward_hooks"]
        or own["_backward_pre_hooks"]
        or "forward" in own
    )
