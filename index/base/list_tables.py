"""Lists of a base: words lie list by list in their file, and a hash chooses lists for queries."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from index.base.coded_search import CodedSearch
from index.base.coded_words import CodedWords
from index.base.grouped_lists import GroupedLists
from index.base.header import Header
from index.base.list_search import best_in_lists, choose_lists
from index.base.row_file import MappedRows
from index.base.tables import Tables
from index.base.words import BaseWords
from index.compiled import is_compiled
from index.config import IndexConfig
from index.contents import Contents
from index.errors import FileFormatError
from index.hashing import Hash, Size
from index.inverted_lists import ListSizes
from index.metric import Metric
from index.product import Cells
from index.storage import as_array

HASHES: dict[str, type[Hash]] = {"ivf": GroupedLists, "product": Cells}
STARTS, SQUARES = "starts.npy", "squares.npy"
MOST_CODED = 32  # neighbors that codes are looked at for; of more the best are kept as a heap
_KINDS = {"cosine": 0, "dot": 1, "l2": 2}


class ListTables(Tables):
    """Looks into one list after another, nearest first, until `budget` words were met.

    Args:
        folder: of the base.
        header: of it; `tables` has the budget.
        files: mapped; those of the hash, whose names begin with "hash_", are copied.

    Raises:
        FileFormatError: a table is not as it should be.
    """

    def __init__(self, folder: Path, header: Header, files: dict[str, MappedRows]) -> None:
        self._folder, self._header = folder, header
        self._hash_files = {n: f for n, f in files.items() if n.startswith("hash_")}
        budget = header.tables.get("budget")
        if STARTS not in files or type(budget) is not int or budget < 1:
            raise FileFormatError(f"{folder}: expected {STARTS} and a budget, got others")
        self.budget, self._file = budget, files[STARTS]
        for file in (self._file, *self._hash_files.values()):
            file.check()  # small, and all of them are used
        starts = self._file.rows
        if starts.dim() != 1 or starts.dtype != torch.int64 or len(starts) < 2:
            raise FileFormatError(f"{folder / STARTS}: expected int64 [L + 1], got another")
        self.starts = starts.clone()
        self.lengths = self.starts[1:] - self.starts[:-1]
        whole = int(self.starts[0]) == 0 and int(self.starts[-1]) == header.num_words
        if not whole or bool((self.lengths < 0).any()):
            raise FileFormatError(f"{folder / STARTS}: expected where lists begin, got another")
        totals = torch.tensor([header.num_words])
        self._sizes: Any = SimpleNamespace(sizes=ListSizes(self.lengths.numpy(), totals.numpy()))
        self.hashed = self._read_hash()
        self._codes = CodedWords.of(folder, header, files)
        self._whole_search: CodedSearch | None = None
        self._squares_file = files.get(SQUARES)
        self._least_squares = self._read_squares(self._squares_file)

    def _read_squares(self, file: MappedRows | None) -> np.ndarray:
        """The least squared length of a word in each list; zeros say nothing."""
        least = torch.zeros(len(self.lengths))
        if file is not None:
            file.check()
            least = file.rows.clone()
            fits = least.dtype == torch.float32 and least.shape == self.lengths.shape
            if not fits or not bool((least >= 0).all()):
                what = f"{self._folder / SQUARES}: expected a squared length of each list"
                raise FileFormatError(f"{what}, got others")
        return least.numpy()

    def _read_hash(self) -> Hash:
        header, lists = self._header, len(self.lengths)
        tensors = {
            name.removesuffix(".npy"): file.rows.clone() for name, file in self._hash_files.items()
        }
        given = Contents(self._folder, tensors, {})
        restored = HASHES[header.index].restored(given, hash_owner(header, lists), 1, lists)
        given.finish()
        return restored

    def nearest(
        self, words: BaseWords, queries: Tensor, k: int, metric: Metric, root_eps: Tensor
    ) -> tuple[Tensor, Tensor]:
        budget, asked = max(k, self.budget), queries.float().contiguous()
        if not is_compiled(None, queries.device, torch.float32):
            lists = choose_lists(self.hashed, self.lengths, asked, budget)
            self._announce(words, lists)
            given = words, self.starts, queries, lists, k, metric, root_eps
            return best_in_lists(*given)
        from index.kernels import base_codes, base_lists
        from index.llvm.dots import WORDS

        chosen = self.hashed.chosen(asked.unsqueeze(0), self._sizes, budget)
        lists, counts, starts = chosen.lists[0], chosen.counts[0], self.starts.numpy()
        codes = self._codes if self._codes is not None and k <= MOST_CODED else None
        for file, many in [(words.file, 1), *(() if codes is None else codes.read)]:
            given: Any = starts, lists, counts, many, *file.layout()
            if not file.all_asked and not base_lists.are_asked_for(*given):
                within = np.arange(lists.shape[1]) < counts[:, None]
                self._announce(words, torch.from_numpy(np.where(within, lists, -1)))
                break
        scores = queries.new_empty(len(queries), k)
        rows = torch.empty(len(queries), k, dtype=torch.int64)
        eps, found = float(root_eps) ** 2, (scores.numpy(), rows.numpy())
        numbers = queries.contiguous().numpy()
        if codes is not None:
            given = words.for_loops()[0], *codes.arrays, starts, self._least_squares
            tables = base_codes.CodedLists(*given)
            room = base_codes.Room.of(found[0].dtype, queries.shape[1], k)
            how: Any = numbers, lists, counts, eps, room, np.full((1, 1), -1), *found
            base_codes.best_in_coded_lists(tables, *how)
        else:
            held = np.empty((2, 2 * WORDS), found[0].dtype)
            how = numbers, lists, counts, _KINDS[metric], eps, held, *found
            base_lists.best_in_lists(as_array(words.kept), starts, self._least_squares, *how)
        return scores, rows

    def nearest_slots(
        self, words: BaseWords, queries: Tensor, k: int, metric: Metric, root_eps: Tensor
    ) -> tuple[Tensor, Tensor]:
        whole = self.whole_search(words, k) if queries.dtype is torch.float32 else None
        found = None if whole is None else whole.nearest(queries, k, float(root_eps) ** 2)
        if found is None:
            found = super().nearest_slots(words, queries, k, metric, root_eps)
        return found

    def whole_search(self, words: BaseWords, k: int) -> CodedSearch | None:
        """What searches in one compiled call, for k float32 neighbors, where that is used."""
        compiled = is_compiled(None, torch.device("cpu"), torch.float32)
        if self._codes is None or k > MOST_CODED or not compiled:
            return None
        if self._whole_search is None and isinstance(self.hashed, GroupedLists):
            sizes = self._sizes.sizes, self.starts.numpy(), self._least_squares
            given = self.hashed, words, self._codes, *sizes, self.budget
            self._whole_search = CodedSearch(*given)
        return self._whole_search

    def _announce(self, words: BaseWords, lists: Tensor) -> None:
        """Has the system read the lists that are looked into next."""
        some = lists[lists >= 0]
        words.file.will_need_runs(self.starts[some], self.lengths[some])
        if self._codes is not None:
            self._codes.will_need_runs(self.starts[some], self.starts[some + 1])

    @property
    def files(self) -> dict[str, MappedRows]:
        squares = {} if self._squares_file is None else {SQUARES: self._squares_file}
        codes = {} if self._codes is None else self._codes.files
        return {STARTS: self._file, **self._hash_files, **squares, **codes}

    @property
    def nbytes_held(self) -> int:
        return (
            self.hashed.nbytes
            + self.starts.nbytes
            + self.lengths.nbytes
            + self._least_squares.nbytes
        )


def hash_owner(header: Any, lists: int) -> Any:
    """What a hash looks at of the index that it is for."""
    return SimpleNamespace(
        batch_size=1,
        word_size=header.word_size,
        dtype=torch.float32,
        device=torch.device("cpu"),
        config=IndexConfig(metric=header.metric),
        size=lambda slots: Size(1, lists),
        _in_use=header.num_words,
    )
