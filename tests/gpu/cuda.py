"""A CUDA device with the methods of `tests.gpu.elsewhere.Elsewhere`."""

import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, Self

import torch
from torch import Tensor, nn


class Cuda:
    """Tests that are written for this and for `Elsewhere` run on either."""

    device = torch.device("cuda", 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        torch.cuda.synchronize()

    def put(self, tensor: Tensor) -> Tensor:
        return tensor.detach().to(self.device).requires_grad_(tensor.requires_grad)

    def fetch(self, tensor: Tensor) -> Tensor:
        return tensor.detach().cpu()

    def model(self, model: nn.Module) -> nn.Module:
        return model.to(self.device)

    @contextmanager
    def without_waiting(self, allowed: Collection[str] = ()) -> Iterator[None]:
        """An error where something waits; torch cannot except functions, so only if none may."""
        if allowed:
            yield
            return
        _noticing("error")
        try:
            yield
        finally:
            _noticing("default")


def _noticing(mode: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that it does not notice everything
        torch.cuda.set_sync_debug_mode(mode)
