"""What memories wrote and what they see of a base, merged by score."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from index.base.slot_map import SlotMap
from index.compiled import is_compiled
from index.neighbors import Neighbors


class Layers(NamedTuple):
    """What lies over a base."""

    written: SlotMap  # slots of each memory: those of the base are hidden from it
    hides_all: Tensor  # memories that see nothing of the base, bool [B]


def merge(
    own: Neighbors, seen: Neighbors, memories: Tensor, layers: Layers, k: int, *, more: bool
) -> tuple[Neighbors, Tensor]:
    """The k best of both for each query.

    Args:
        own: places and scores that the overlay found, best first, -1 beyond the last, [m, K].
        seen: slots and scores that the base found, likewise, [m, A].
        memories: of each query, int64 [m].
        layers: what hides words of the base.
        k: how many.
        more: whether the base has more words than the A it was asked for.

    Returns:
        Slots and scores [m, k], best first, -1 and -inf where there are fewer; and which queries
        may find better ones in the base, bool [m].

    Cost: O(m (K + A)).
    """
    written, hides_all = layers
    if is_compiled(None, memories.device, own.scores.dtype):
        return _compiled(own, seen, memories, layers, k, more)
    places = own.slots.clamp_min(0)
    slots = written.slots_of(memories, places).masked_fill(own.slots < 0, -1)
    gone = (written.find(seen.slots, memories) >= 0) | hides_all[memories].unsqueeze(1)
    scores_seen = seen.scores.masked_fill(gone, -torch.inf)
    all_scores = torch.cat((own.scores, scores_seen), 1)
    all_slots = torch.cat((slots, seen.slots), 1)
    if (missing := k - all_scores.shape[1]) > 0:
        all_scores = torch.nn.functional.pad(all_scores, (0, missing), value=-torch.inf)
        all_slots = torch.nn.functional.pad(all_slots, (0, missing), value=-1)
    best = all_scores.topk(k)
    found = all_slots.gather(1, best.indices).masked_fill_(best.values == -torch.inf, -1)
    short = (best.values[:, -1] < seen.scores[:, -1]) & (seen.slots[:, -1] >= 0)
    short &= ~hides_all[memories]
    return Neighbors(found, best.values), short if more else torch.zeros_like(short)


def most_hidden(covered: Tensor, hides_all: Tensor) -> int:
    """The most words of the base that a memory hides which sees some; -1 where none sees any.

    Args:
        covered: how many each has written over, int64 [B].
        hides_all: memories that see nothing of the base, bool [B].
    """
    if is_compiled(None, covered.device, torch.float32):
        from index.kernels import layers as loops

        return loops.most_hidden(covered.numpy(), hides_all.numpy())
    seen = covered.masked_fill(hides_all, -1)
    return int(seen.max()) if len(seen) else -1


def best_of_parts(found: Sequence[Neighbors], k: int) -> Neighbors:
    """The k best of what was found in several parts, [Q, K] each, by slot where scores are equal.

    -1 and -inf where there are fewer, as in the parts.
    """
    slots = torch.cat([part.slots for part in found], 1)
    scores = torch.cat([part.scores for part in found], 1)
    # By slot where scores are equal: the order of a sort that is stable.
    ordered, by_slot = slots.sort(1)
    scores, order = scores.gather(1, by_slot).sort(stable=True, dim=1, descending=True)
    slots, scores = ordered.gather(1, order[:, :k]), scores[:, :k]
    missing = 0, max(0, k - slots.shape[1])
    pad = torch.nn.functional.pad
    return Neighbors(pad(slots, missing, value=-1), pad(scores, missing, value=-torch.inf))


def _compiled(
    own: Neighbors, seen: Neighbors, memories: Tensor, layers: Layers, k: int, more: bool
) -> tuple[Neighbors, Tensor]:
    from index.kernels import layers as loops

    found = Neighbors(
        torch.empty(len(memories), k, dtype=torch.int64), own.scores.new_empty(len(memories), k)
    )
    short = loops.merge(
        own.scores.contiguous().numpy(),
        own.slots.contiguous().numpy(),
        seen.scores.contiguous().numpy(),
        seen.slots.contiguous().numpy(),
        more,
        memories.numpy(),
        (*layers.written.arrays(), layers.hides_all.numpy()),
        found.scores.numpy(),
        found.slots.numpy(),
    )
    return found, torch.from_numpy(short)
