"""Calls of an index that must be refused, and must not change anything."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tests.attack.index_dictionary import Dictionary


def _spoiled(words: Tensor, value: float) -> Tensor:
    words = words.clone()
    words[-1, -1, -1] = value
    return words


def _zeros(words: Tensor, *shape: int) -> Tensor:
    return torch.zeros(shape or words.shape[:2], dtype=torch.int64)


WRONG: tuple[Callable[[Any, Tensor, Dictionary], Any], ...] = (
    lambda i, w, d: i.update(_zeros(w), _spoiled(w, torch.nan)),
    lambda i, w, d: i.update(_zeros(w) - 1, _spoiled(w, torch.inf)),
    lambda i, w, d: i.update(_zeros(w) + d.limit, w),
    lambda i, w, d: i.update(_zeros(w) - 2, w),
    lambda i, w, d: i.update(_zeros(w) + 2**62, w),
    lambda i, w, d: i.update(_zeros(w)[:, :1], w),
    lambda i, w, d: i.update(_zeros(w).double(), w),
    lambda i, w, d: i.update(_zeros(w) > 0, w),
    lambda i, w, d: i.update(_zeros(w, len(w) + 1, 2), w),
    lambda i, w, d: i.update(_zeros(w), w > 0),
    lambda i, w, d: i.update(_zeros(w), w.to(torch.complex64)),
    lambda i, w, d: i.update(_zeros(w), torch.cat((w, w), 2)),
    lambda i, w, d: i.update(_zeros(w), w.to("meta")),
    lambda i, w, d: i.remove(_zeros(w) + d.capacity),
    lambda i, w, d: i.remove(_zeros(w) - 2),
    lambda i, w, d: i.remove(_zeros(w).flatten()),
    lambda i, w, d: i.search(_spoiled(w, -torch.inf), 2),
    lambda i, w, d: i.search(w[:, :, :0], 2),
    lambda i, w, d: i.search(torch.cat((w, w)), 2),
    lambda i, w, d: i.search(w, 0),
    lambda i, w, d: i.search(w, 2.0),
    lambda i, w, d: i.search_exact(w, True),
    lambda i, w, d: i.load(_spoiled(w, torch.nan)),
    lambda i, w, d: i.load(w[:, :1].expand(-1, min(d.capacity, 2**31) + 1, -1)[:1, :, :0]),
    lambda i, w, d: i.reset(torch.ones(len(w) + 1, dtype=torch.bool)),
    lambda i, w, d: i.reset(torch.ones(len(w))),
    lambda i, w, d: i.reset(torch.ones(len(w), 1, dtype=torch.bool)),
    lambda i, w, d: i.reserve(d.capacity + 1),
    lambda i, w, d: i.reserve(0),
    lambda i, w, d: i.resize(0),
    lambda i, w, d: i.exchange(_zeros(w) - 1, _spoiled(w, torch.nan), w, 2),
    lambda i, w, d: i.exchange(_zeros(w) - 1, w, _spoiled(w, torch.inf), 2),
)
