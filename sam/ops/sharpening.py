"""Sharpening of sparse read weights (NTM paper, eq. 9, over the K words of a head).

    w(k) = m(k)^gamma / sum_j m(j)^gamma

for mixed read weights m. SDNC mixes b, c and f and keeps the K largest, so that its weights sum to
less than 1, and what goes along the links from them to less again: after some steps a head reads
next to nothing. Divided by their sum they stay as large as they were; with gamma above 1 the
largest gains on the others at every step, which undoes what each mix blurs, as the sharpening of an
NTM does after its shift.
"""

import torch

from sam.ops.sparse import SparseWeights


def sharpen_reads(weights: SparseWeights, gamma: float) -> SparseWeights:
    """The weights of each head to a power, divided by their sum; see the equation above.

    Args:
        weights: m >= 0, [B, R, K]; a head without any slot stays without.
        gamma: at least 1; 1 divides by the sum and no more.

    Returns:
        w, [B, R, K]; each head's weights sum to 1 or, where it has no slot, to 0. Slot -1 wherever
        the power is too small for the dtype.

    Cost: O(B R K) time and numbers kept for the backward pass.
    """
    mixed = weights.values
    # The quotient does not change if all weights are divided by one number, so it gets no gradient.
    highest = mixed.detach().amax(2, keepdim=True)
    highest = highest.masked_fill(highest == 0, 1.0)
    powers = (mixed / highest).pow(gamma)
    total = powers.sum(2, keepdim=True)
    values = powers / total.masked_fill(total == 0, 1.0)
    none = values == 0
    return SparseWeights(torch.where(none, -1, weights.slots), values.masked_fill(none, 0.0))
