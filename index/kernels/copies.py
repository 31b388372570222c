"""Copies of words that lists hold: as the words are kept, or as int8 codes with a scale.

The types of the two arrays say which. A code takes a quarter of the bytes, and tells within which
bounds a score lies; see `index.kernels.code_loops`.
"""

from typing import Any

import numpy as np
from numba.extending import overload

from index.compiled import INLINE_OPTIONS
from index.list_copies import BLOCK

_TINY = np.float32(2.0**-126)


def keep_copy(word: Any, lists: Any, place: Any) -> None:
    """Writes a copy of a word to its place in the lists; inside compiled code only."""
    raise NotImplementedError


@overload(keep_copy, jit_options=INLINE_OPTIONS, strict=False)
def _keep_copy(word: Any, lists: Any, place: Any) -> Any:
    if are_codes(lists):
        return _encode

    def copy(word: Any, lists: Any, place: Any) -> None:
        held = lists.held_words[place]
        for w in range(len(held)):
            held[w] = word[w]

    return copy


def _encode(word: Any, lists: Any, place: Any) -> None:
    """As `index.storage.ByteStorage.encode`: off by at most half of the scale."""
    most = word.dtype.type(0)
    for w in range(len(word)):
        most = max(most, abs(word[w]))
    scale = max(np.float32(most) / np.float32(127), _TINY)
    times, block, lane = word.dtype.type(1) / scale, place // BLOCK, place % BLOCK
    for w in range(len(word)):
        one = word[w] * times
        code = np.int32(one + (0.5 if one > 0 else -0.5))
        lists.held_words[block, w // 2, lane, w % 2] = code
    lists.held_scales[place] = scale


def move_copy(lists: Any, start: Any, end: Any) -> None:
    """Copies what lists hold from one place to another; inside compiled code only."""
    raise NotImplementedError


@overload(move_copy, jit_options=INLINE_OPTIONS, strict=False)
def _move_copy(lists: Any, start: Any, end: Any) -> Any:
    if are_codes(lists):
        return _move_code

    def copy(lists: Any, start: Any, end: Any) -> None:
        given, held = lists.held_words[start], lists.held_words[end]
        for w in range(len(held)):
            held[w] = given[w]

    return copy


def _move_code(lists: Any, start: Any, end: Any) -> None:
    given, lane = lists.held_words[start // BLOCK], start % BLOCK
    held, other = lists.held_words[end // BLOCK], end % BLOCK
    for pair in range(len(held)):
        held[pair, other, 0], held[pair, other, 1] = given[pair, lane, 0], given[pair, lane, 1]
    lists.held_scales[end] = lists.held_scales[start]


def exact_word(lists: Any, place: Any, row: Any) -> Any:
    """A word as it is kept, from where it is read fastest: its copy, unless there is a code."""
    raise NotImplementedError


@overload(exact_word, jit_options=INLINE_OPTIONS, strict=False)
def _exact_word(lists: Any, place: Any, row: Any) -> Any:
    if are_codes(lists):
        return lambda lists, place, row: lists.words[row]
    return lambda lists, place, row: (
        lists.held_words[place] if len(lists.held_words) else lists.words[row]
    )


def are_codes(lists: Any) -> bool:
    """Whether lists of this type of numba hold codes."""
    kinds = dict(zip(lists.fields, lists.types, strict=True))
    return kinds["held_words"].ndim == 4
