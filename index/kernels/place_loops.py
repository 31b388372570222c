"""Slots and places of a step over a base, in two calls: what a model does around an exchange."""

from index.compiled import lean_jit
from index.kernels.base_lists import put_word
from index.kernels.slot_loops import entry, hand_out


@lean_jit
def settle(written, first, taken, head, named, marks, slots):
    """Gives places that were handed out their slots, and tells those of the places written.

    Args:
        written: places, int64 [B, M], -1 for none.
        first: the first own slot.
        taken: own slots of each row that have a place, int64 [B, 1]; it grows.
        head: places handed out, int64 [B, 1].
        named: the tables of a `SlotMap`, with room for them.
        marks: whether the word of a place was written, bool [B, 1 + P]; column 1 + place.
        slots: go here, int64 [B, M].

    Returns:
        The most places of a row.
    """
    keys, places, slot_of, counts = named
    most = 0
    for b in range(len(written)):
        for _ in range(head[b, 0] - counts[b]):
            slot = first + taken[b, 0]
            hand_out(b, entry(slot, keys[b]), slot, keys, places, slot_of, counts)
            taken[b, 0] += 1
        for m in range(written.shape[1]):
            place = written[b, m]
            slots[b, m] = slot_of[b, place] if place >= 0 else -1
            if place >= 0:
                marks[b, 1 + place] = True
        most = max(most, counts[b])
    return most


@lean_jit
def bring(found, named, bound, order, words, rows, new):
    """Puts places in the place of slots; base words that had none get one, and are copied.

    Args:
        found: slots, int64 [B, M], -1 for none.
        named: the tables of a `SlotMap`, with room for as many more.
        bound: words of the base.
        order: stamps, int64 [B, 1 + P], and the head and end of the snapshot, int64 [B, 1].
        words: as `put_word` takes them: words, layout and order.
        rows: the words of the memories, [1 + C, B, W].
        new: rows, places and slots whose words could not be copied go here, int64 [3, B M].

    Returns:
        The most places of a row; how many words could not be copied; and whether a slot without a
        place is none of the base: then places are not whole.
    """
    keys, places, slot_of, counts = named
    stamps, head, end = order
    kept, layout, order_of = words
    most, missing = 0, 0
    for b in range(len(found)):
        for m in range(found.shape[1]):
            slot = found[b, m]
            if slot < 0:
                continue
            at = entry(slot, keys[b])
            if keys[b, at] < 0:
                if slot >= bound:
                    return most, missing, True
                place = counts[b]
                hand_out(b, at, slot, keys, places, slot_of, counts)
                stamps[b, 1 + place] = slot
                head[b, 0] += 1
                end[b, 0] += 1
                if not put_word(slot, kept, layout, order_of, rows[1 + place, b]):
                    new[0, missing], new[1, missing], new[2, missing] = b, place, slot
                    missing += 1
            found[b, m] = places[b, at]
        most = max(most, counts[b])
    return most, missing, False
