"""`SparseLinks.update` and `SparseLinks.follow` by compiled loops, on the arrays of the links.

Nothing is checked here: slots must be in [-1, capacity), and arrays of the links' dtype without
gaps.
"""

import numpy as np
from torch import Tensor

from sam.fast.loops import link_following, link_updates
from sam.ops.sparse_links import SparseLinks


def update_links(links: SparseLinks, slots: Tensor, weights: Tensor) -> None:
    """`update`, of tensors without gaps or gradient."""
    update(links, slots.contiguous().numpy(), weights.contiguous().numpy())


def update(links: SparseLinks, slots: np.ndarray, weights: np.ndarray) -> None:
    """Renews links and precedence after a write with weights [B, J] at slots int64 [B, J]."""
    after = links.precedence.clone()
    link_updates.update(
        *(*links.table.arrays(), after.slots.numpy(), after.values.numpy()),
        *(slots, weights, links.decay_sources),
    )
    links.precedence, links.last_update = after, update_links


def follow(links: SparseLinks, slots: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, ...]:
    """Where weights [B, R, K] at slots go along the links.

    Returns:
        Slots and values of f, then of b, each [B, R, K K_L].
    """
    shape = *slots.shape[:2], slots.shape[2] * links.num_links
    found = tuple(np.empty(shape, kind) for kind in (slots.dtype, values.dtype) * 2)
    link_following.follow(*links.table.arrays(), slots, values, *found)
    return found
