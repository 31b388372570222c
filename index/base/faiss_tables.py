"""A FAISS index beside the words of a base, in FAISS's own file, which it maps where it can."""

import math
import mmap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from index.base.build_lists import (
    LOOKS,
    NEIGHBORS,
    budget_for,
    near_queries,
    sample_rows,
    scaled_words,
)
from index.base.exact_scan import best_rows, scan_words, score_rows
from index.base.header import Header
from index.base.row_file import resident_bytes
from index.base.tables import Tables
from index.base.words import BaseWords
from index.errors import FileFormatError, ShapeError
from index.faiss_factory import (
    Recipe,
    graph_of,
    import_faiss,
    innermost,
    lists_of,
    through,
    transforms_of,
)

NAME = "index.faiss"
_FETCH = 8  # words fetched for each that is asked for, where FAISS approximates them
_SAMPLES = 64  # words to learn from, for each centroid
_LEAST_SAMPLE = 2**14
_GRAPH_EFFORT, _MOST_EFFORT = 64, 1024  # words that a search in a graph keeps in view
# See `index.faiss_backend`: sums of squares must not overflow.
_LARGEST = 1e15


class FaissTables(Tables):
    """Asks FAISS for candidates, and scores them by the true words.

    Args:
        folder: of the base.
        header: of it.

    Raises:
        BackendMissingError: FAISS is not installed.
        FileFormatError: FAISS cannot read the file, or it is of other words.
    """

    def __init__(self, folder: Path, header: Header) -> None:
        faiss, path = import_faiss(), folder / NAME
        recipe = recipe_of(header, header.word_size)
        try:  # by the flag that maps lists, and codes that are one array, too
            self._index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
        except RuntimeError as error:
            what = str(error).splitlines()[-1].strip()
            raise FileFormatError(f"{path}: expected a file of FAISS, got {what}") from error
        got = type(innermost(self._index)), self._index.ntotal, self._index.d
        made = recipe.make(header.num_words)  # owns what is looked at
        wanted = type(innermost(made))
        if got != (wanted, header.num_words, header.word_size):
            words = f"{header.num_words} words of {header.word_size} numbers"
            raise FileFormatError(
                f"{path}: expected {wanted.__name__} of {words}, got {got[0].__name__} of {got[1:]}"
            )
        set_probes(self._index, header.tables.get("probes"))
        self._fetch = _FETCH if recipe.lossy() else 1
        with path.open("rb") as file:  # only to be asked how much of it is in memory
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def nearest(
        self, words: BaseWords, queries: Tensor, k: int, metric: Any, root_eps: Tensor
    ) -> tuple[Tensor, Tensor]:
        count = min(k * self._fetch, len(words))
        rows = torch.from_numpy(self._candidates(for_faiss(queries, metric), count, k))
        scores, rows = best_rows(score_rows(words, rows, queries, metric, root_eps), rows, k)
        short = rows[:, -1] < 0
        if bool(short.any()):  # a graph need not lead to all words
            scores[short], rows[short] = scan_words(words, queries[short], k, metric, root_eps)
        return scores, rows

    def _candidates(self, queries: np.ndarray, count: int, least: int) -> np.ndarray:
        """Rows that FAISS finds, [Q, count], -1 where there are fewer.

        If the lists that a query looks into hold fewer than `least` words, it looks into four times
        as many, until there are enough.
        """
        _, found = self._index.search(queries, count)
        lists = lists_of(self._index)
        probes, most = (1, 1) if lists is None else (lists.nprobe, lists.nlist)
        short = np.flatnonzero(found[:, least - 1] < 0)
        while len(short) and probes < most:
            probes *= 4
            params = through(self._index, import_faiss().SearchParametersIVF(nprobe=probes))
            found[short] = self._index.search(queries[short], count, params=params)[1]
            short = short[found[short, least - 1] < 0]
        return found

    @property
    def nbytes_held(self) -> int:
        return resident_bytes(self._map)


def recipe_of(plan: Any, word_size: int) -> Recipe:
    """How the index of a plan or header is made.

    Raises:
        BackendMissingError: FAISS is not installed.
        ValueError: the factory string is none of FAISS's, or does not fit.
    """
    _, colon, factory = plan.index.partition(":")
    return Recipe(
        factory=factory if colon else None,
        metric=plan.metric,
        word_size=word_size,
        probes=None,
        seed=0,
    )


def bytes_a_word(recipe: Recipe) -> int:
    """About how many bytes a word takes in the file of FAISS."""
    made = recipe.make(2**16)  # owns what is looked at
    index, graph = innermost(made), graph_of(made)
    links = 0 if graph is None else 8 + 4 * graph.cum_nneighbor_per_level.at(1)
    code = index.code_size if hasattr(index, "code_size") else 4 * index.d
    return int(max(code, 0 if graph is None else 4 * index.d) + 8 + links)


def build_faiss(
    folder: Path,
    words: BaseWords,
    plan: Any,
    recipe: Recipe,
    progress: Callable[[str, int, int | None], None],
) -> dict[str, int | float | str]:
    """Writes the index of a base, and returns the tables of its header.

    Args:
        folder: of the base.
        words: all of them, in the order of slots.
        plan: the `BuildPlan`.
        recipe: how the index is made.
        progress: as `BaseMemory.create`.

    Raises:
        ShapeError: there are fewer words than FAISS needs to learn from.

    Cost: that of FAISS, which has all of the index in memory while it is built.
    """
    faiss, count = import_faiss(), len(words)
    least = recipe.least()
    if count < least:
        raise ShapeError(f"words: expected at least {least} for index {plan.index!r}, got {count}")
    generator = np.random.default_rng(plan.seed)
    index = recipe.make(count)
    if not index.is_trained:
        progress("learning", 0, None)
        lists = lists_of(index)
        centroids = max(least, 0 if lists is None else lists.nlist)
        rows = sample_rows(count, max(_LEAST_SAMPLE, _SAMPLES * centroids), generator)
        sample = scaled_words(words.at_rows(rows, torch.float32), plan.metric)
        index.train(for_faiss(sample, plan.metric))
    for start, piece in words.pieces(torch.float32):
        index.add(for_faiss(scaled_words(piece, plan.metric), plan.metric))
        progress("index", start + len(piece), count)
    tables: dict[str, int | float | str] = {"recall": float(plan.recall)}
    if lists_of(index) is not None:
        tables["probes"] = _probes(index, words, plan, generator)
    elif graph_of(index) is not None:
        tables["probes"] = _graph_effort(index, words, plan, generator)
    faiss.write_index(index, str(folder / NAME))
    return tables


def _probes(index: Any, words: BaseWords, plan: Any, generator: np.random.Generator) -> int:
    """How many lists a query has to look into for the recall that is wanted."""
    queries = near_queries(words, plan.metric, LOOKS, generator)
    k = min(NEIGHBORS, len(words))
    _, rows = scan_words(words, queries, k, plan.metric, torch.zeros(()))
    near = scaled_words(words.at_rows(rows.flatten(), torch.float32), plan.metric)
    inverted, asked = lists_of(index), for_faiss(queries, plan.metric)
    given = for_faiss(near, plan.metric)
    for transform in transforms_of(index):
        asked, given = transform.apply(asked), transform.apply(given)
    order = inverted.quantizer.search(asked, inverted.nlist)[1]
    homes = inverted.quantizer.search(given, 1)[1].reshape(rows.shape)
    needed = (order[:, None, :] == homes[:, :, None]).argmax(2) + 1
    return budget_for(torch.from_numpy(needed).double(), plan.recall, inverted.nlist)


def _graph_effort(index: Any, words: BaseWords, plan: Any, generator: np.random.Generator) -> int:
    """How many words of a graph a query has to keep in view for the recall that is wanted."""
    queries = near_queries(words, plan.metric, LOOKS, generator)
    k = min(NEIGHBORS, len(words))
    _, true = scan_words(words, queries, k, plan.metric, torch.zeros(()))
    asked, effort = for_faiss(queries, plan.metric), NEIGHBORS
    wanted = plan.recall + math.sqrt(plan.recall * (1 - plan.recall) / len(queries))
    while True:
        set_probes(index, effort)
        _, found = index.search(asked, k)
        hits = (torch.from_numpy(found).unsqueeze(2) == true.unsqueeze(1)).sum().item()
        if hits >= wanted * true.numel() or effort >= _MOST_EFFORT:
            return effort
        effort *= 2


def set_probes(index: Any, probes: Any) -> None:
    """How many lists an inverted file looks into, or how many words of a graph are kept in view."""
    inverted, graph = lists_of(index), graph_of(index)
    if inverted is not None and type(probes) is int:
        inverted.nprobe = min(max(1, probes), inverted.nlist)
    if graph is not None:
        graph.efSearch = min(max(1, probes), _MOST_EFFORT) if type(probes) is int else _GRAPH_EFFORT


def for_faiss(vectors: Tensor, metric: str) -> np.ndarray:
    """Vectors as FAISS takes them: float32, and none too large."""
    if metric != "cosine":  # of the cosine they are divided by their lengths
        vectors = vectors.clamp(-_LARGEST, _LARGEST)
    return vectors.to(torch.float32).contiguous().numpy()
