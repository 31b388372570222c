"""How the lists of a base are made: learned from a sample, then filled word by word."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from index.base.coded_words import CodeWriter
from index.base.exact_scan import scan_words
from index.base.grouped_lists import GroupedLists
from index.base.list_search import needed_words
from index.base.list_tables import HASHES, SQUARES, STARTS
from index.base.row_file import RowsWritten, RowWriter, write_array
from index.base.words import BaseWords, Encoder
from index.compiled import is_compiled
from index.errors import ShapeError
from index.hashing import Hash, LearnInputs, Size
from index.kmeans import SCORES_AT_ONCE
from index.list_copies import BLOCK
from index.metric import unit

Progress = Callable[[str, int, int | None], None]

_MOST_SQUARE = 1e30  # of a length that is far from the end of the range of float32
MOST = 2**31 - 1  # words; slots and rows are kept as int32
_WORD_SCORES = 512
_SORTED_BYTES = 8 * 2**20  # of words that are sorted at a time
# Queries, near words, that tell how many words a query has to meet; neighbors of each, and how far
# a query is from its word, times the length of that.
LOOKS, NEIGHBORS, NOISE = 256, 4, 0.3
_WORDS_A_LOOK, _MOST_LOOKS = 1000, 1024


def build_lists(
    folder: Path, unsorted: BaseWords, plan: Any, progress: Progress
) -> tuple[dict[str, RowsWritten], dict[str, int | float | str]]:
    """Writes words list by list, and the tables of their lists.

    Args:
        folder: where the files go.
        unsorted: all words, in the order of slots.
        plan: the `BuildPlan`.
        progress: as `BaseMemory.create`.

    Returns:
        The files beside the words, and the tables of the header.

    Cost: O(n sqrt(n) W) time for "ivf", some 20 n bytes of memory.
    """
    count, width = len(unsorted), unsorted.word_size
    if count > MOST:
        raise ShapeError(f"words: expected at most {MOST} for index {plan.index!r}, got {count}")
    generator = np.random.default_rng(plan.seed)
    hashed = _learned(unsorted, plan, generator, progress)
    homes = _homes(unsorted, hashed, plan, progress)
    lists = hashed.lists
    lengths = np.bincount(homes, minlength=lists)
    starts = np.concatenate(([0], lengths.cumsum()))
    order = homes.argsort(kind="stable").astype(np.int32)
    files = {STARTS: write_array(folder / STARTS, starts)}
    files["slot_of.npy"] = write_array(folder / "slot_of.npy", order)
    row_of = np.empty(count, np.int32)
    row_of[order] = np.arange(count, dtype=np.int32)
    files["row_of.npy"] = write_array(folder / "row_of.npy", row_of)
    budget = _budget(unsorted, hashed, torch.from_numpy(lengths), homes, plan, generator)
    for name, part in hashed.content().items():
        files[f"hash_{name}.npy"] = write_array(folder / f"hash_{name}.npy", part.numpy())
    del homes, row_of
    with CodeWriter(folder, plan.metric, width) as codes:
        given = folder, unsorted, order, plan, width
        files["words.npy"], squares = _write_sorted(*given, codes, progress)
        files |= codes.finish()
    if plan.metric == "cosine":
        files[SQUARES] = write_array(folder / SQUARES, _least_squares(squares, lengths))
    return files, {"lists": lists, "budget": budget, "recall": float(plan.recall)}


def sample_rows(count: int, most: int, generator: np.random.Generator) -> Tensor:
    """At most so many of n rows, each once, in random order, int64."""
    if count <= most:
        return torch.from_numpy(generator.permutation(count))
    rows = np.unique(generator.integers(0, count, most))
    return torch.from_numpy(generator.permutation(rows))


def near_queries(
    words: BaseWords, metric: str, count: int, generator: np.random.Generator
) -> Tensor:
    """Queries near words, scaled for the metric, float32 [Q, W]."""
    found = words.at_rows(sample_rows(len(words), count, generator), torch.float32)
    noise = torch.from_numpy(generator.standard_normal(found.shape).astype(np.float32))
    length = torch.linalg.vector_norm(found, dim=1, keepdim=True)
    queries = found + NOISE * length / found.shape[1] ** 0.5 * noise
    return unit(queries, torch.zeros(())) if metric == "cosine" else queries


def scaled_words(words: Tensor, metric: str) -> Tensor:
    """Words as an index compares them."""
    return unit(words, torch.zeros(())) if metric == "cosine" else words


def _learned(
    words: BaseWords, plan: Any, generator: np.random.Generator, progress: Progress
) -> Hash:
    kind, slots = HASHES[plan.index], 1 << max(5, (len(words) - 1).bit_length())
    size = Size(*kind.rule(len(words) if kind is GroupedLists else slots))
    progress("learning", 0, None)
    rows = sample_rows(len(words), kind.sample_size(size, plan.metric), generator)
    sample = scaled_words(words.at_rows(rows, torch.float32), plan.metric).unsqueeze(0)
    random = torch.Generator().manual_seed(plan.seed)
    real = torch.ones(sample.shape[:2], dtype=torch.bool)
    pieces = (scaled_words(piece, plan.metric)[None] for _, piece in words.pieces(torch.float32))
    return kind.learn(size, LearnInputs(plan.metric, sample, real, lambda: pieces, random))


def _homes(words: BaseWords, hashed: Hash, plan: Any, progress: Progress) -> np.ndarray:
    """The list of each word, int32 [n]."""
    compiled = is_compiled(None, torch.device("cpu"), torch.float32)
    choose = hashed.assigned if compiled else hashed.choices
    at_once = max(1, SCORES_AT_ONCE // min(hashed.scores, _WORD_SCORES if compiled else 2**31))
    homes = np.empty(len(words), np.int32)
    for start, piece in words.pieces(torch.float32):
        for first, part in zip(
            range(start, len(words), at_once),
            scaled_words(piece, plan.metric).split(at_once),
            strict=False,
        ):
            homes[first : first + len(part)] = choose(part.unsqueeze(0)).lists[0, :, 0].numpy()
        progress("lists", start + len(piece), len(words))
    return homes


def _budget(
    words: BaseWords,
    hashed: Hash,
    lengths: Tensor,
    homes: np.ndarray,
    plan: Any,
    generator: np.random.Generator,
) -> int:
    """How many words a query has to meet for the recall that is wanted."""
    # Of many words a few lists are all that is needed, if they are found: so look more often.
    looks = min(max(LOOKS, len(words) // _WORDS_A_LOOK), _MOST_LOOKS)
    queries, k = near_queries(words, plan.metric, looks, generator), min(NEIGHBORS, len(words))
    _, rows = scan_words(words, queries, k, plan.metric, torch.zeros(()))
    own = torch.from_numpy(homes)
    each = zip(queries, (own[mine].long() for mine in rows), strict=True)

    def enough(needed: Tensor) -> int:
        return budget_for(needed.view(len(queries), k), plan.recall, len(words))

    if isinstance(hashed, GroupedLists):
        return hashed.tuned(
            torch.cat([hashed.needed_words(query, mine, lengths) for query, mine in each]), enough
        )
    return enough(torch.cat([needed_words(hashed, lengths, query, mine) for query, mine in each]))


def budget_for(needed: Tensor, recall: float, most: int) -> int:
    """The least number, at most `most`, that is enough for a share of the needed ones.

    Args:
        needed: of some neighbors of each of some queries, [Q, k].
        recall: the share; a standard error more is taken, as the queries are a sample, and for all
            of them, 1.0, what is the most.
        most: the highest number there is.
    """
    if recall == 1.0:
        return most
    share = recall + math.sqrt(recall * (1 - recall) / len(needed))
    ordered = needed.flatten().sort().values
    place = min(len(ordered) - 1, int(share * len(ordered)))
    return int(min(ordered[place].item(), most))


def _write_sorted(
    folder: Path,
    unsorted: BaseWords,
    order: np.ndarray,
    plan: Any,
    width: int,
    codes: CodeWriter,
    progress: Progress,
) -> tuple[RowsWritten, np.ndarray]:
    """Writes words in an order; returns the squared lengths of the words as they are kept, [n]."""
    encoder, rows = Encoder(plan.dtype, width), torch.from_numpy(order)
    decode, squares = unsorted.storage(torch.float32).decode, np.empty(len(order), np.float32)
    with RowWriter(folder / "words.npy", encoder.width, encoder.disk) as writer:
        done, at_once = 0, max(1, _SORTED_BYTES // (4 * width) // BLOCK) * BLOCK
        for part in rows.split(at_once):
            kept = unsorted.file.gather(part.long(), unsorted.kept.dtype)
            writer.write(kept.view(torch.uint8).numpy().view(encoder.disk))
            words = decode(kept)
            squares[done : done + len(part)] = words.square().sum(1).numpy()
            codes.write(words)
            done += len(part)
            progress("sorting", done, len(unsorted))
        return writer.finish(), squares


def _least_squares(squares: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The least squared length of a word in each list, 0 where that says nothing; float32 [L]."""
    least, full = np.zeros(len(lengths), np.float32), lengths > 0
    begins = (lengths.cumsum() - lengths)[full]
    least[full] = np.minimum.reduceat(squares, begins)
    least[~(least < _MOST_SQUARE)] = 0
    return least
