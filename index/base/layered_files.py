"""What the file of a state holds of an index over a base: what was written over it, not the base.

The index is a `LayeredIndex` everywhere here.
"""

from typing import Any

import torch

from index.base.slot_map import SlotMap
from index.contents import Contents

_OVERLAY = "overlay"


def content(index: Any) -> dict[str, Any]:
    """Slots by place, what the overlay holds, and which base it lies over."""
    own = {f"{_OVERLAY}.{name}": part for name, part in index._overlay._content().items()}
    written, hides_all = index._map.written(), index._hides_all
    return {"base": index.base.identity, "written": written, "hides_all": hides_all, **own}


def restore(index: Any, given: Contents) -> None:
    """Fills an index that was just made over the same base.

    Raises:
        FileFormatError: it was another base, or this is no such index.
    """
    given.same("base", index.base.identity)
    batch_size, device = index.batch_size, index.device
    written = given.integers("written", (batch_size, None), -1, index.capacity)
    hides_all = given.tensor("hides_all", (batch_size,), torch.bool)
    ordered = written.sort(1).values
    again = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)
    gaps = (written[:, 1:] >= 0) & (written[:, :-1] < 0)
    if bool(again.any()) or bool(gaps.any()):
        raise given.refuse("written", "each slot once, from the first place on", "others")
    own = given.under(_OVERLAY)
    occupied = own.peek("occupied")
    index._overlay._restore(own)
    if occupied is not None:
        # Of memories that were picked from others the overlay may have room for more words.
        held, beyond = occupied.to(written.device).tensor_split([written.shape[1]], 1)
        named = written[:, : held.shape[1]] >= 0
        if bool(beyond.any()) or bool((held & ~named).any()):
            raise given.refuse("written", "a slot for each word of the overlay", "none")
    index._map = SlotMap.of(written.to(device))
    index._recount()
    index._hides_all = hides_all.to(device)
    highest = int(written.max()) if written.numel() else -1
    index._in_use = max(index._in_use, highest + 1)
