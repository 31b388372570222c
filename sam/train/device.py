"""Where a run computes: the device and the precision of its forward passes."""

import os
from contextlib import AbstractContextManager, nullcontext

import torch

from sam.errors import ConfigError
from sam.train.train_config import TrainConfig


def chosen_device(name: str) -> torch.device:
    """The device that `train.device` names; among several processes, each has its own GPU.

    Raises:
        ConfigError: a GPU is asked for, and torch finds none.
    """
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ConfigError("train.device: expected a GPU that torch can use for 'cuda', got none")
    local = os.environ.get("LOCAL_RANK", "0")
    number = int(local) if local.isdecimal() else 0
    return torch.device("cuda", number % torch.cuda.device_count())


def precision_of(config: TrainConfig, device: torch.device) -> AbstractContextManager[object]:
    """Around a forward pass: autocast, or nothing. The loss is computed outside, in float32."""
    if config.precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def peak_mib(device: torch.device) -> float | None:
    """The most memory that was in use so far, in MiB: of the GPU, or of this process.

    None where the system does not tell.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        import resource
        import sys
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 2**20 if sys.platform == "darwin" else most / 2**10
