"""`SparseLinks.update` by compiled loops, on the arrays of the links.

Nothing is checked here: slots must be in [-1, capacity), and arrays of the links' dtype without
gaps.
"""

import numpy as np
from torch import Tensor

from sam.fast.loops import link_updates
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
