"""Tables of an index with lists, made from all of its words at once."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from index.drift import Drift
from index.hashing import Hash, LearnInputs, Size
from index.inverted_lists import InvertedLists
from index.kmeans import SCORES_AT_ONCE

# Centroids that a word is compared with, at most, for the cost of an update.
WORD_SCORES = 512
_CODES_FROM = 16  # numbers of a word


class BuiltTables(NamedTuple):
    """What `learned_tables` makes."""

    lists: InvertedLists
    hash: Hash
    drift: Drift


def learned_tables(index: Any, slots: int, *, alike: bool) -> BuiltTables:
    """Learns a hash from the words in use and puts all of them into lists.

    Args:
        index: a `HashedIndex`, which stays as it is.
        slots: for how many words the tables are sized.
        alike: whether all memories have the same words; then it is learned from those of one.

    Cost: O(n) with the hash's cost, for n words in use.
    """
    memories, used = 1 if alike else index.batch_size, index._in_use
    hashed, occupied = _learned(index, index.size(slots), memories), index._penalty[:memories] == 0
    pieces = _words_in_pieces(index, memories, hashed.scores_of_words)
    numbers, drift = _assigned(index, hashed, pieces, occupied[:, 1 : 1 + used])
    if memories < index.batch_size:
        hashed = hashed.repeated(index.batch_size)
        numbers = numbers.repeat(index.batch_size, 1, 1)
    lists = filled_lists(index, hashed, numbers, index._penalty[:, 1 : 1 + used] == 0)
    return BuiltTables(lists, hashed, drift)


def begun_tables(index: Any, slots: int) -> BuiltTables:
    """Learns a hash from a few words, as if no more than so many slots were in use; empty lists.

    Args:
        index: a `HashedIndex` whose hash grows with the words; it stays as it is.
        slots: at most those in use.

    Cost: O(slots) with the hash's cost.
    """
    hashed = _learned(index, index.size(slots), index.batch_size)
    words = int((index._penalty[:, 1 : 1 + index._in_use] == 0).sum())
    return BuiltTables(_no_words(index, hashed), hashed, Drift(None, words, None))


def _learned(index: Any, size: Size, memories: int) -> Hash:
    """A hash for tables of this size, from the words of the first memories."""
    metric, generator = index.config.metric, torch.Generator().manual_seed(index.config.seed)
    most = index.hash_type.sample_size(size, metric)
    chosen = (torch.randperm(index._in_use, generator=generator)[:most] + 1).to(index.device)
    sample = index._storage.decode(index._words[:memories].index_select(1, chosen))
    real = index._penalty[:memories].index_select(1, chosen) == 0

    def pieces() -> Iterator[Tensor]:
        return _words_in_pieces(index, memories, WORD_SCORES)

    return index.hash_type.learn(size, LearnInputs(metric, sample, real, pieces, generator))


def filled_lists(index: Any, hashed: Hash, numbers: Tensor, real: Tensor) -> InvertedLists:
    """Tables of an index whose words are in given lists.

    Args:
        index: a `HashedIndex`.
        hashed: by which they were chosen.
        numbers: lists 0 .. n - 1 of the words at all slots in use, int64 [B, slots in use, L].
        real: which slots hold a word, bool [B, slots in use].
    """
    lists = _no_words(index, hashed)
    lists.fill(rows_in_use(index)[real], lists.number(numbers)[real], index._flat)
    return lists


def _no_words(index: Any, hashed: Hash) -> InvertedLists:
    """Empty tables."""
    sizes = index.batch_size, hashed.tables, hashed.lists
    copies = hashed.tables == 1 and index.config.copies is not False
    # Codes are of words whose length is known; narrow ones they make hardly shorter.
    unit = index.config.metric == "cosine" and not index._storage.rounds
    codes = copies and unit and index.device.type == "cpu" and index.word_size >= _CODES_FROM
    return InvertedLists(*sizes, index._flat, index._storage, copies=copies, codes=codes)


def rows_in_use(index: Any) -> Tensor:
    """Rows of all slots in use, int64 [B, slots in use]."""
    slots = torch.arange(index._in_use, device=index.device)
    return index._rows(slots.expand(index.batch_size, -1)).view(index.batch_size, -1)


def _words_in_pieces(index: Any, memories: int, scores: int) -> Iterator[Tensor]:
    """The words of all slots in use, some at a time, for so many scores of each."""
    step = max(1, SCORES_AT_ONCE // (memories * scores))
    pieces = index._words[:memories, 1 : 1 + index._in_use].split(step, 1)
    return map(index._storage.decode, pieces)


def _assigned(
    index: Any, hashed: Hash, pieces: Iterator[Tensor], real: Tensor
) -> tuple[Tensor, Drift]:
    """Lists of all words in use, int64 [B, n, L], and how they fit; only some are real."""
    choose, (memories, used) = index._choose(hashed), real.shape
    # Places for all answers: see `index.kmeans.nearest_centroids`.
    lists = torch.empty((memories, used, hashed.tables), dtype=torch.int64, device=real.device)
    errors, has_errors, start = index._flat.new_empty(real.shape, dtype=index.dtype), False, 0
    for piece in pieces:
        found, end = choose(piece), start + piece.shape[1]
        lists[:, start:end] = found.lists
        if found.error is not None:
            errors[:, start:end], has_errors = found.error, True
        start = end
    fit, count = None, int(real.sum()) * (index.batch_size // max(1, memories))
    if has_errors:
        fit = float((errors * real).sum() / real.sum().clamp_min(1))
    return lists, Drift(fit, count, index.config.refresh_after)
