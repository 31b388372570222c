"""Compiled forms of `index.inverted_lists`: put words into lists, and give lists other pieces."""

import numpy as np

from index.compiled import inline, lean_inline, lean_jit, part
from index.kernels.copies import keep_copy, move_copy
from index.list_pieces import LARGER, SHARE, SIZES, SMALLEST, SPARE, SPARE_SHARE, STEP


@inline
def _size_number(places):
    """The number of the first size of a piece with at least so many places, and its places."""
    number, size = 0, SMALLEST
    while size < places:
        number, size = number + 1, size + max(STEP, size // SHARE)
    return number, size


@inline
def piece_size(places):
    """Places of the smallest piece with at least so many."""
    return _size_number(places)[1]


@inline
def _take_piece(places, lists):
    """Start and places of a piece with at least so many, 0 places if there is none: `Pieces`."""
    number, size = _size_number(places)
    room = size
    for larger in range(number, min(number + LARGER, SIZES)):
        start = lists.first_free[larger]
        if start >= 0:
            lists.first_free[larger] = ~np.int64(lists.held_rows[start])
            return start, room
        room += max(STEP, room // SHARE)
    begin = lists.end[0]
    if begin + size > len(lists.held_rows):
        return begin, 0
    lists.end[0] = begin + size
    return begin, size


@inline
def _give_piece_back(start, room, lists):
    number, _ = _size_number(room)
    if room > 0:
        lists.held_rows[start] = ~lists.first_free[number]
        lists.first_free[number] = start


@inline
def spare_room(length):
    """Places that a list of so many words should have at least: `Pieces.rooms`."""
    return length + length // SPARE_SHARE + SPARE


@part
def change_piece(one, places, table, lists):
    """Gives a list another piece with at least so many places; returns whether there was any."""
    start, length = lists.starts[one], lists.lengths[one]
    begin, room = _take_piece(places, lists)
    if room == 0:
        return False
    for i in range(length):
        row = lists.held_rows[start + i]
        lists.held_rows[begin + i] = row
        lists.place_of[row, table] = begin + i
        if len(lists.held_words):
            move_copy(lists, start + i, begin + i)
    _give_piece_back(start, lists.rooms[one], lists)
    lists.starts[one], lists.rooms[one] = begin, room
    return True


@inline
def drop_piece(one, lists):
    """Takes the piece of an empty list from it."""
    _give_piece_back(lists.starts[one], lists.rooms[one], lists)
    lists.starts[one], lists.rooms[one] = 0, 0


@inline
def _take_out(row, old, table, lists):
    """Takes a word out of its list; the last word of the list takes its place."""
    place, last = np.int64(lists.place_of[row, table]), lists.starts[old] + lists.lengths[old] - 1
    other = lists.held_rows[last]
    lists.held_rows[place], lists.place_of[other, table] = other, place
    if len(lists.held_words):
        move_copy(lists, last, place)
    lists.lengths[old] -= 1


@part
def put_word(row, table, new, lists):
    """Moves a word to a list, which is not the one where it is; returns whether there was room."""
    old = np.int64(lists.list_of[row, table])
    if lists.lengths[new] == lists.rooms[new] and not change_piece(
        new, 1 + spare_room(lists.lengths[new]), table, lists
    ):
        return False
    if old >= 0:
        _take_out(row, old, table, lists)
    place = lists.starts[new] + lists.lengths[new]
    lists.lengths[new] += 1
    lists.held_rows[place] = row
    lists.list_of[row, table], lists.place_of[row, table] = new, place
    if len(lists.held_words):
        keep_copy(lists.words[row], lists, place)
    return True


@lean_inline
def move_word(b, row, table, new, lists):
    """Puts a word of a memory into a list, which may be its own; returns whether there was room."""
    old = np.int64(lists.list_of[row, table])
    if old != new:
        if not put_word(row, table, new, lists):
            return False
        lists.totals[b] += np.int64(old < 0 and table == 0)
    elif len(lists.held_words):
        keep_copy(lists.words[row], lists, np.int64(lists.place_of[row, table]))
    return True


@lean_jit
def put_words(slots, homes, lists, begin):
    """Moves words to their lists: `InvertedLists.move`.

    Args:
        slots: int64 [B, M], each at most once in a row; -1 is skipped.
        homes: the list of each word in each table, 0 .. n - 1, int64 [B, M, L].
        lists: `ListArrays`, changed.
        begin: the words before it are in their lists, of all B M.

    Returns:
        How many of the B M words are in their lists: fewer than all if there is no place left.
        Then the lists have to be packed, and the rest goes on from there.
    """
    tables, most = homes.shape[2], slots.shape[1]
    many, stride = len(lists.starts) // (len(slots) * tables), len(lists.list_of) // len(slots)
    for at in range(begin, slots.size):
        b, i = at // most, at % most
        if slots[b, i] < 0:
            continue
        row = b * stride + 1 + slots[b, i]
        for t in range(tables):
            if not move_word(b, row, t, (b * tables + t) * many + homes[b, i, t], lists):
                return at
    return slots.size
